"""`rlstitch sweep`, and its older name `rlstitch grid`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from rlstitch.cli.console import complain, say
from rlstitch.cli.options import GymPackages
from rlstitch.errors import InvalidInputError


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Train every run of a sweep that is not done yet."""

    config: Annotated[Positional[str], arg(metavar="CONFIG")]
    """YAML file (configs/grids/minigrid.yaml), or the name of one in configs/sweeps or configs/grids (minigrid)."""
    workers: Annotated[
        int | None,
        arg(metavar="NUMBER", help_behavior_hint="(default: as CONFIG says, else the number of processors, at most 8)"),
    ] = None
    """Trainings at once."""
    threads: Annotated[int | None, arg(metavar="NUMBER", help_behavior_hint="(default: one)")] = None
    """Threads of each training whose config gives none."""
    dry_run: bool = False
    """Show the runs and an estimate of time and disk space; train nothing."""
    retry: bool = False
    """Train runs again that failed before."""
    ray: Annotated[str | None, arg(metavar="ADDRESS", help_behavior_hint="(default: processes on this machine)")] = None
    """Train on a Ray cluster: auto, local (starts one here), or an address."""

    gym_packages: GymPackages = ()
    """Modules of your own to import, which register environments."""

    def run(self) -> int:
        """Train, and print a summary; 1 if runs failed, 130 if the sweep was interrupted."""
        from rlstitch.config.sweep import load_sweep

        definition = load_sweep(self.config)
        from rlstitch.api.sweeps.plan_sweep import plan_sweep
        from rlstitch.api.sweeps.sweep import SweepProgress, sweep, sweep_states
        from rlstitch.jobs.resources import available_cores

        workers = self.workers
        if workers is None:
            workers = definition.config.workers or min(available_cores(), 8)
        if workers < 1:
            raise InvalidInputError(f"workers: expected 1 or more, found {workers}")
        states = sweep_states(definition)
        if self.dry_run:
            say(plan_sweep(states, workers=workers, retry=self.retry))
            return 0
        progress = SweepProgress(states, retry=self.retry)
        result = sweep(
            definition,
            workers=workers,
            threads=self.threads,
            retry=self.retry,
            ray=self.ray,
            on_state=progress.ended,
            on_progress=progress,
        )
        progress.close(result)
        done = sum(entry.state == "done" for entry in result.states)
        say(f"{done} of {len(result.states)} runs done, {result.trained} of them now, {len(result.failed)} failed")
        if result.interrupted:
            complain("interrupted; the same command continues")
            return 130
        return 1 if result.failed else 0
