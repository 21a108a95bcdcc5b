"""Progress of a training, with rate and time left: a bar on a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

from stable_baselines3.common.callbacks import BaseCallback

from rlstitch.training.callbacks import EvaluationCallback

Style = Literal["auto", "bar", "lines", "none"]
Listener = Callable[[int, int], None]
"""Takes the environment steps done and those wanted, once a rollout."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell `listener` of every training in the block that shows its progress: whoever runs many draws one picture."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


class ProgressCallback(BaseCallback):
    """Shows how far a training is: `bar`, `lines` (one an evaluation), or `auto` (a bar where there is a terminal)."""

    def __init__(self, total_steps: int, evaluation: EvaluationCallback, style: Style = "auto") -> None:
        super().__init__()
        self.total_steps = total_steps
        self.evaluation = evaluation
        self.style = ("bar" if sys.stderr.isatty() else "lines") if style == "auto" else style
        self._bar: Any = None
        self._told = 0
        self._started = 0.0
        self._first_step = 0

    def _on_training_start(self) -> None:
        self._started, self._first_step = time.perf_counter(), self.num_timesteps
        self._told = len(self.evaluation.progress.history)
        if self.style == "bar":
            from tqdm import tqdm

            self._bar = tqdm(
                total=self.total_steps,
                initial=self.num_timesteps,
                unit=" steps",
                desc=self.evaluation.card.name,
                mininterval=0.5,
                dynamic_ncols=True,
            )

    def _on_step(self) -> bool:
        if self._bar is not None:
            self._bar.update(self.num_timesteps - self._bar.n)
        return True

    def _on_rollout_start(self) -> None:
        listener = _listener.get()
        if listener is not None:
            listener(self.num_timesteps, self.total_steps)
        history = self.evaluation.progress.history
        if len(history) == self._told:
            return
        self._told = len(history)
        if self._bar is not None:
            self._bar.set_postfix(_words(history[-1]), refresh=False)
        elif self.style == "lines":
            self._line(history[-1])

    def _line(self, row: dict[str, float | None]) -> None:
        rate = (self.num_timesteps - self._first_step) / max(time.perf_counter() - self._started, 1e-9)
        left = (self.total_steps - self.num_timesteps) / max(rate, 1e-9)
        sys.stderr.write(
            f"{self.evaluation.card.name}: {self.num_timesteps:,} of {self.total_steps:,} steps, "
            f"{', '.join(f'{name} {value}' for name, value in _words(row).items())}, "
            f"{rate:,.0f} steps/s, at most {left:.0f} s left\n"
        )
        sys.stderr.flush()

    def _on_training_end(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _words(row: dict[str, float | None]) -> dict[str, str]:
    """What is said of an evaluation: no success where the world knows none."""
    told = {} if row["success"] is None else {"success": f"{row['success']:.0%}"}
    return told | {"return": f"{row['return']:.3f}"}
