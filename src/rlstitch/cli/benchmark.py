"""`rlstitch benchmark`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from rlstitch.cli.console import complain, say, split_names
from rlstitch.cli.options import GymPackages, Threads


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Measure the committed suite of cells and methods on this machine, and write a leaderboard."""

    quick: bool = False
    """A small suite that takes some two minutes on two cores."""
    suite: Annotated[str, arg(metavar="SUITE")] = "standard"
    """A suite of configs/benchmarks, or a YAML file."""
    methods: Annotated[str, arg(metavar="METHOD,...", help_behavior_hint="(default: none)")] = ""
    """Further methods, by name or MODULE:NAME; those of installed packages take part by themselves."""
    workers: Annotated[int | None, arg(metavar="NUMBER", help_behavior_hint="(default: one a processor)")] = None
    """Processes that measure cells at once."""
    out: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="(default: runs/benchmark-HASH)")] = None
    """Folder of cells, leaderboard and page."""
    gym_packages: GymPackages = ()
    """Modules of your own to import, which register environments."""
    threads: Threads = None

    def run(self) -> int:
        """Measure what is missing and print the leaderboard; 1 where tasks failed, 130 where it was interrupted."""
        from rlstitch.api.benchmark import QUICK, STANDARD, benchmark
        from rlstitch.errors import InvalidInputError
        from rlstitch.jobs.progress import ProgressReporter

        if self.quick and self.suite not in (STANDARD, QUICK):
            raise InvalidInputError(f"--quick is a suite: expected no other, found --suite {self.suite}")
        with ProgressReporter("results") as reporter:
            result = benchmark(
                QUICK if self.quick else self.suite,
                methods=split_names(self.methods),
                workers=self.workers,
                out=self.out,
                on_progress=reporter,
            )
        say(result)
        for outcome in result.matrix.failed:
            complain(f"failed: {outcome.error}")
        if result.matrix.interrupted:
            complain("interrupted; the same command goes on")
            return 130
        return 1 if result.matrix.failed else 0
