"""`rlstitch stitch`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from rlstitch.cli.console import say


@dataclass(frozen=True, kw_only=True)
class Stitch:
    """Join the encoder of one agent to the controller of another, and evaluate the agent that this makes."""

    encoder: Annotated[str, arg(metavar="AGENT")]
    """Agent that gives the encoder, and the look of the world."""
    policy: Annotated[str, arg(metavar="AGENT")]
    """Agent that gives the controller, and the task."""
    method: Annotated[str, arg(metavar="METHOD")] = "affine"
    """What stands between the two: naive (nothing), relative (one anchor set), a map (orthogonal, linear, affine,
    balanced, scaled_orthogonal, ridge; robust: where pairs may be wrong; task_matched: fitted through the controller,
    for the least change of its actions), or auto: of the first four maps the one that changes actions least on held-out
    pairs."""
    pairs: Annotated[int | Path, arg(metavar="NUMBER|FILE")] = 1024
    """Paired observations that a translation is fitted on: how many to collect, or an .npz file of your own (see
    rlstitch pairs)."""
    episodes: Annotated[int, arg(metavar="NUMBER")] = 100
    """Episodes to evaluate."""
    seed: Annotated[int, arg(metavar="NUMBER")] = 0
    """Seed of pairs and episodes."""
    greedy: bool = False
    """Take the most likely action instead of drawing one."""
    video: bool = False
    """Film the agent beside its parents."""
    name: Annotated[str | None, arg(metavar="NAME")] = None
    """Name of the stitched agent; made of its parents and the method where not given."""
    save: bool = True
    """Keep the stitched agent."""
    force: bool = False
    """Replace an agent of the same name."""

    def run(self) -> int:
        """Stitch, and print how the stitched agent does beside its parents."""
        from rlstitch.api.stitch import stitch

        result = stitch(
            self.encoder,
            self.policy,
            method=self.method,
            pairs=self.pairs,
            episodes=self.episodes,
            seed=self.seed,
            deterministic=self.greedy,
            video=self.video,
            name=self.name,
            save=self.save,
            force=self.force,
        )
        say(result)
        return 0
