"""Options that several functions share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rlstitch.evaluation.options import CellOptions
from rlstitch.jobs.progress import ProgressReporter


@dataclass(frozen=True, kw_only=True)
class PlayOptions:
    """Where agents play, how often, and by which actions."""

    env: Any = None
    episodes: int = 100
    seed: int = 0
    deterministic: bool = False

    @property
    def cells(self) -> CellOptions:
        """How a cell is measured; raises as `CellOptions`."""
        return CellOptions(episodes=self.episodes, seed=self.seed, greedy=self.deterministic)


@dataclass(frozen=True, kw_only=True)
class ProgressOptions:
    """Who is shown how far the work is."""

    progress: ProgressReporter | None = None

    @property
    def reporter(self) -> ProgressReporter:
        """The reporter that was given, or one that shows nothing."""
        return self.progress or ProgressReporter(style="none")


@dataclass(frozen=True, kw_only=True)
class SaveOptions:
    """How the agent that is made is saved."""

    name: str | None = None
    save: bool = True
    force: bool = False
