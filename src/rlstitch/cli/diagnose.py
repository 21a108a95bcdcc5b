"""`rlstitch diagnose`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from rlstitch.cli.console import say


@dataclass(frozen=True, kw_only=True)
class Diagnose:
    """Say whether a stitch will work, and why not, before it plays a step."""

    encoder: Annotated[str, arg(metavar="AGENT")]
    """Agent that gives the encoder."""
    policy: Annotated[str, arg(metavar="AGENT")]
    """Agent that gives the controller."""
    method: Annotated[str, arg(metavar="METHOD")] = "affine"
    """What stands between the two: see rlstitch stitch."""
    pairs: Annotated[int | Path, arg(metavar="NUMBER|FILE")] = 1024
    """Paired observations that a translation is fitted on: how many to collect, or an .npz file."""
    seed: Annotated[int, arg(metavar="NUMBER")] = 0
    """Seed of pairs and states."""
    json: bool = False
    """Print all figures as JSON."""

    def run(self) -> int:
        """Print the verdict, its reasons, and the figures behind it."""
        from rlstitch.api.diagnose import diagnose

        found = diagnose(self.encoder, self.policy, method=self.method, pairs=self.pairs, seed=self.seed)
        say(found.to_json() if self.json else found)
        return 0
