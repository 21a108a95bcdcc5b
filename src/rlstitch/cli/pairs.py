"""`rlstitch pairs`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from rlstitch.cli.console import fill, say
from rlstitch.cli.options import Threads


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Write the observations of two agents for the same states to a file for rlstitch stitch --pairs."""

    agents: Annotated[
        Positional[tuple[str, ...]], arg(metavar="ENCODER POLICY", help_behavior_hint="(or those options)")
    ] = ()
    """Two agents, instead of --encoder and --policy."""
    encoder: Annotated[str | None, arg(metavar="AGENT", help_behavior_hint="(or the first argument)")] = None
    """Agent that gives the encoder; x are its observations."""
    policy: Annotated[
        str | None, arg(metavar="AGENT", aliases=("--controller",), help_behavior_hint="(or the second argument)")
    ] = None
    """Agent that gives the controller; y are its observations."""
    out: Annotated[Path, arg(metavar="FILE", aliases=["-o"])]
    """File to write, .npz: images x and y, row by row the same state."""
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

        encoder, policy = fill(self.agents, encoder=self.encoder, policy=self.policy)
        with ProgressReporter() as progress:
            outcome = collect_pairs(
                encoder,
                policy,
                self.out,
                count=self.count,
                seed=self.seed,
                force=self.force,
                progress=progress,
            )
        say(outcome)
        return 0
