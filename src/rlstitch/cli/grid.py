"""`rlstitch grid`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from rlstitch.cli.console import complain, say


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Train every run of a grid that is not there yet."""

    grid: Annotated[Positional[str], arg(metavar="GRID")]
    """YAML file (configs/grids/minigrid.yaml) or its name (minigrid)."""
    workers: Annotated[int | None, arg(metavar="NUMBER")] = None
    """Trainings at once; the grid's own number, else as many as there are processors (at most 8)."""
    threads: Annotated[int | None, arg(metavar="NUMBER")] = None
    """Threads of each training whose config names none; the processors are shared out where not given."""
    dry_run: bool = False
    """Show the runs and what they would cost; train nothing."""
    retry: bool = False
    """Train runs again that failed before."""
    ray: Annotated[str | None, arg(metavar="ADDRESS")] = None
    """Train on a Ray cluster: auto, local (starts one here), or an address."""

    def run(self) -> int:
        """Train, and print a summary; 1 where runs failed, 130 where the grid was interrupted."""
        from rlstitch.config.sweep import load_grid

        grid = load_grid(self.grid)
        from rlstitch.api.sweep.plan import plan_grid
        from rlstitch.api.sweep.progress import Reporter
        from rlstitch.api.sweep.run import PENDING, grid_states, run_grid
        from rlstitch.jobs.resources import available_cores

        workers = self.workers or grid.config.workers or min(available_cores(), 8)
        states = grid_states(grid)
        if self.dry_run:
            say(plan_grid(states, workers=workers, retry=self.retry))
            return 0
        budgets = {
            entry.run.key: entry.run.config.total_steps
            for entry in states
            if entry.state in PENDING or (self.retry and entry.state == "failed")
        }
        reporter = Reporter(states, budgets)
        result = run_grid(
            grid,
            workers=workers,
            threads=self.threads,
            retry=self.retry,
            ray=self.ray,
            on_state=reporter.ended_run,
            on_progress=reporter.progress,
        )
        reporter.close(result)
        done = sum(entry.state == "done" for entry in result.states)
        say(f"{done} of {len(result.states)} runs done, {result.trained} of them now, {len(result.failed)} failed")
        if result.interrupted:
            complain("interrupted; the same command goes on")
            return 130
        return 1 if result.failed else 0
