"""Evaluate one agent in its own world, or under another look or task."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any

from rlstitch.agents import Agent
from rlstitch.api.called_with import called_with
from rlstitch.api.environment import AgentLike, placed
from rlstitch.api.options import PlayOptions, ProgressOptions
from rlstitch.api.run_folder import open_run
from rlstitch.api.videos import try_video, video_lines
from rlstitch.envs import Backend, get_variation
from rlstitch.evaluation.baselines import Baselines
from rlstitch.evaluation.row import describe
from rlstitch.jobs.resources import torch_threads
from rlstitch.rollouts.evaluation import Evaluation
from rlstitch.rollouts.statistics import why_no_recovery
from rlstitch.rollouts.video import require_recordable
from rlstitch.storage import file_name, write_table


@dataclass(frozen=True)
class EvaluationOutcome:
    """One evaluation, the random baseline, and the paths of what was written. Its text is what the command prints."""

    name: str
    evaluation: Evaluation
    random: Evaluation
    table: Path
    videos: list[Path]
    video_problem: str = ""
    """Why there is no video where one was asked for."""

    def __str__(self) -> str:
        reason = why_no_recovery(self.random.returns, self.evaluation.returns, who="agent")
        kind = "greedy" if self.evaluation.deterministic else "sampled"
        lines = [
            f"{self.name} in {describe(self.evaluation.world)}: {self.evaluation.episodes} episodes, {kind} actions",
            _line("agent", self.evaluation),
            _line("random", self.random),
            *([f"({reason})"] if reason else []),
            f"table    {self.table}",
        ]
        return "\n".join(lines + video_lines(self.videos, self.video_problem))


@dataclass(frozen=True)
class EvaluateOptions(PlayOptions, ProgressOptions):
    """Arguments of `evaluate`."""

    agent: AgentLike
    _: KW_ONLY
    look: str | None = None
    task: str | None = None
    backend: Backend | None = None
    video: bool = False
    variation: str | None = None


@torch_threads()
@called_with(EvaluateOptions)
def evaluate(options: EvaluateOptions) -> EvaluationOutcome:
    """Play episodes with an agent and summarise them beside random actions.

    The table is `runs/evaluate-<name>-<hash8>/episodes.csv`; the hash covers every option that changes it.

    Args:
        agent: name, folder or value.
        env: another environment than the agent's own: its id (`module:Id` imports the module), or an object, see
            `rlstitch.envs.as_world`.
        look: another look than the agent's own.
        task: another task than the agent's own.
        backend: another environment backend than the agent's own; there, a seed gives other episodes.
        episodes: exactly this number is played, and all count.
        seed: random seed of the episodes.
        deterministic: greedy actions instead of sampled ones.
        video: write a video of the first three episodes.
        variation: alias of `look`.
        progress: shows how far each stage of the work is; None: nothing is shown.

    Raises:
        UnknownNameError: for an unknown agent, look or task.
        InvalidInputError: for an option out of range, or a video of images that cannot be shown.
    """
    player = placed(options.agent, options.env)
    look = options.variation if options.look is None else options.look
    if look is not None:
        get_variation(look)
    changes: dict[str, Any] = {"look": look, "task": options.task, "backend": options.backend}
    changes = {key: value for key, value in changes.items() if value is not None}
    world = replace(player.card.world, **changes)
    if options.video:
        require_recordable(world, player.card.observation_shape)
    cells, progress = options.cells, options.reporter
    baselines = Baselines(progress.stage("playing", "episodes"), 2)
    outcome = cells.evaluate(player, world, on_progress=baselines.next_part())
    random = baselines.random(world, cells)
    name = player.card.name
    stem = file_name("-".join([name, *changes.values()]), longest=100)
    run_folder = open_run(
        f"evaluate-{stem}",
        {"agent": player},
        {"world": world.to_dict(), "episodes": cells.episodes, "seed": cells.seed, "greedy": cells.greedy},
    )
    table, _ = write_table(outcome.to_rows(), run_folder / "episodes")
    videos: list[Path] = []
    problem = ""
    if options.video:
        moved = Agent(player.encoder, player.controller, player.card.model_copy(update={"world": world}))
        videos, problem = try_video(
            [(name, moved)], stem, seed=cells.seed, deterministic=cells.greedy, progress=progress
        )
    return EvaluationOutcome(name, outcome, random, table, videos, problem)


def _line(name: str, evaluation: Evaluation) -> str:
    s = evaluation.summary()
    text = (
        f"{name:<8} return {s.mean.estimate:.3f} [{s.mean.low:.3f}, {s.mean.high:.3f}]"
        f"  IQM {s.iqm.estimate:.3f} [{s.iqm.low:.3f}, {s.iqm.high:.3f}]  length {evaluation.lengths.mean():.1f}"
    )
    if s.success is not None:
        text += f"  success {s.success.estimate:.1%} [{s.success.low:.1%}, {s.success.high:.1%}]"
    return text
