"""`rlstitch pairs`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from rlstitch.cli.console import say


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Collect what two agents see of the same states into a file that rlstitch stitch --pairs takes."""

    encoder: Annotated[str, arg(metavar="AGENT")]
    """Agent that gives the encoder: it sees x."""
    policy: Annotated[str, arg(metavar="AGENT")]
    """Agent that gives the controller: it sees y."""
    out: Annotated[Path, arg(metavar="FILE", aliases=["-o"])]
    """File to write, .npz: images x and y, row by row the same state."""
    count: Annotated[int, arg(metavar="NUMBER")] = 1024
    """Distinct views, at most."""
    seed: Annotated[int, arg(metavar="NUMBER")] = 0
    """Seed of the episodes that the views come from."""
    force: bool = False
    """Replace a file of that name."""

    def run(self) -> int:
        """Collect, and print what was written."""
        from rlstitch.api.pairs import collect_pairs

        say(collect_pairs(self.encoder, self.policy, self.out, count=self.count, seed=self.seed, force=self.force))
        return 0
