"""The benchmark: the committed suite of cells and methods, measured on this machine, and a leaderboard."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlstitch.api.report import report
from rlstitch.config.suite import load_suite
from rlstitch.evaluation.matrix.run import Execution, MatrixOutcome, measure_matrix
from rlstitch.evaluation.matrix.suite import plan_suite
from rlstitch.evaluation.matrix.text import ranking_texts
from rlstitch.jobs.progress import OnProgress
from rlstitch.jobs.resources import available_cores, torch_threads
from rlstitch.reporting.matrix.data import read_matrix
from rlstitch.reporting.matrix.leaderboard import Standing, leaderboard_rows, write_leaderboard
from rlstitch.storage.text import fitted
from rlstitch.storage.workspace import RUNS
from rlstitch.version import __version__

STANDARD, QUICK = "standard", "quick"


@dataclass(frozen=True)
class Benchmark:
    """A leaderboard and what it is made of. Its text is what the command prints."""

    matrix: MatrixOutcome
    standings: tuple[Standing, ...]
    """One a method, the best first; see `rlstitch.reporting.matrix.leaderboard`."""
    left_out: tuple[str, ...]
    """Groups of the suite whose agents are not here."""
    page: Path

    def __str__(self) -> str:
        folder = self.page.parent
        lines = fitted(leaderboard_rows(self.standings), left=1, where=folder / "leaderboard.md")
        lines += ranking_texts(self.matrix.results.counted_cells(self.matrix.plan.places[0]))
        lines += ["", f"leaderboard  {folder / 'leaderboard.md'}, {folder / 'leaderboard.csv'}"]
        lines += [f"page         {self.page}"]
        if self.left_out:
            lines.append(f"left out: {', '.join(self.left_out)}, whose agents come with a clone")
        refused = {cell.reason: cell.method for cell in self.matrix.results.refused}
        return "\n".join([*lines, *(f"refused: {method}: {reason}" for reason, method in refused.items())])


@torch_threads()
def benchmark(
    suite: str | Path = STANDARD,
    *,
    methods: Sequence[str] = (),
    workers: int | None = None,
    out: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Benchmark:
    """Measure the cells of a suite that are not on the disk yet, and write a leaderboard of its methods.

    Args:
        suite: name of a suite (`standard`, `quick`), or path of a YAML file.
        methods: further methods, by name or `module:name`; those of installed packages take part by themselves.
        workers: processes; None: one a processor.
        out: folder of the results; None: `runs/benchmark-<hash8>`.
        on_progress: called with the number of results measured and to be measured.

    Returns:
        The leaderboard; the folder has it as `leaderboard.md`, `leaderboard.csv` and `report.html`, and what
        `rlstitch.matrix` writes.

    Raises:
        UnknownNameError: for an unknown suite or method.
        InvalidInputError: where a suite or method is wrong, or no group of agents is here.
        BusyError: another process is working on the same folder.
    """
    from rlstitch.stitching.methods import BUILT_IN, all_methods

    installed = [name for name in all_methods() if name not in BUILT_IN]
    plan, left_out = plan_suite(load_suite(suite), (*installed, *methods))
    folder = RUNS / f"benchmark-{plan.hash8}" if out is None else Path(out)
    execution = Execution(workers=available_cores() if workers is None else workers)
    outcome = measure_matrix(plan, folder, execution=execution, on_progress=on_progress)
    facts = {
        "suite": f"{suite}, {plan.options.episodes} episodes a cell, at most {plan.options.pairs} pairs, "
        f"seed {plan.options.seed}, {'greedy' if plan.options.greedy else 'sampled'} actions",
        "agents": ", ".join(member.name for member in plan.members),
        "machine": f"{platform.system()} {platform.machine()}, {available_cores()} cores",
        "version": f"rlstitch {__version__}, Python {platform.python_version()}",
    }
    standings = write_leaderboard(read_matrix(folder), facts)
    page = report(folder, latents=0, tensorboard=False).page
    return Benchmark(outcome, tuple(standings), tuple(left_out), page)
