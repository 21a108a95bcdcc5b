"""`rlstitch pairs`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from rlstitch.cli.console import say
from rlstitch.cli.options import EncoderAndPolicy, EnvironmentOptions, Threads


@dataclass(frozen=True, kw_only=True)
class Pairs(EncoderAndPolicy, EnvironmentOptions):
    """Write the observations of two agents for the same states to a file for rlstitch stitch --pairs."""

    out: Annotated[Path, arg(metavar="FILE", aliases=["-o"])]
    """File to write, .npz: images x and y, as the agents of encoder and controller see the same states, row by row."""
    count: Annotated[int, arg(metavar="NUMBER")] = 1024
    """Maximum number of distinct observations."""
    seed: Annotated[int, arg(metavar="NUMBER")] = 0
    """Random seed of the episodes."""
    force: bool = False
    """Overwrite an existing file."""
    threads: Threads = None

    def run(self) -> int:
        """Collect, and print what was written."""
        from rlstitch.api.pairs import collect_pairs
        from rlstitch.jobs.progress import ProgressReporter

        encoder, policy = self.names()
        with ProgressReporter() as progress:
            outcome = collect_pairs(
                encoder,
                policy,
                self.out,
                env=self.environment(),
                count=self.count,
                seed=self.seed,
                force=self.force,
                progress=progress,
            )
        say(outcome)
        return 0
