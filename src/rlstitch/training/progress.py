"""Progress of a training, with rate and time left: a bar on a terminal, a line for each evaluation in a log."""

from __future__ import annotations

from collections.abc import Callable

from stable_baselines3.common.callbacks import BaseCallback

from rlstitch.jobs.progress import ProgressReporter, Style
from rlstitch.training.callbacks import EvaluationCallback


class ProgressCallback(BaseCallback):
    """Reports how far a training is: on standard error as `style` says, and to `on_progress` once a rollout."""

    def __init__(
        self,
        total_steps: int,
        evaluation: EvaluationCallback,
        style: Style = "auto",
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        super().__init__()
        self.total_steps = total_steps
        self.evaluation = evaluation
        self.on_progress = on_progress
        self._reporter = ProgressReporter("steps", name=evaluation.card.name, style=style, interval=0)
        self._evaluations = 0

    def _on_training_start(self) -> None:
        self._evaluations = len(self.evaluation.progress.history)
        self._report()

    def _on_step(self) -> bool:
        if self._reporter.style == "bar":
            self._report()
        return True

    def _on_rollout_start(self) -> None:
        if self.on_progress is not None:
            self.on_progress(self.num_timesteps, self.total_steps)
        if len(self.evaluation.progress.history) > self._evaluations:
            self._evaluations = len(self.evaluation.progress.history)
            self._report()

    def _report(self) -> None:
        history = self.evaluation.progress.history
        self._reporter(self.num_timesteps, self.total_steps, _note(history[-1]) if history else "")

    def _on_training_end(self) -> None:
        self._reporter.close()


def _note(row: dict[str, float | None]) -> str:
    """Return an evaluation in words, without success in a world that has none."""
    success = "" if row["success"] is None else f"success {row['success']:.0%}, "
    return f"{success}return {row['return']:.3f}"
