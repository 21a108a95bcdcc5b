"""`rlstitch stitch`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from rlstitch.cli.console import fill, say
from rlstitch.cli.options import Threads
from rlstitch.stitching.methods import method_help


@dataclass(frozen=True, kw_only=True)
class Stitch:
    """Join the encoder of one agent to the controller of another, and evaluate the agent that this makes."""

    agents: Annotated[
        Positional[tuple[str, ...]], arg(metavar="ENCODER POLICY", help_behavior_hint="(or those options)")
    ] = ()
    """Two agents, instead of --encoder and --policy."""
    encoder: Annotated[str | None, arg(metavar="AGENT", help_behavior_hint="(or the first argument)")] = None
    """Agent that gives the encoder, and the look of the world."""
    policy: Annotated[
        str | None, arg(metavar="AGENT", aliases=("--controller",), help_behavior_hint="(or the second argument)")
    ] = None
    """Agent that gives the controller, and the task."""
    method: Annotated[str, arg(metavar="METHOD", help=f"What is put between the two: {method_help()}.")] = "affine"
    pairs: Annotated[int | Path, arg(metavar="NUMBER|FILE")] = 1024
    """Paired observations that a translation is fitted on: how many to collect, or an .npz file of your own (see
    rlstitch pairs)."""
    episodes: Annotated[int, arg(metavar="NUMBER")] = 100
    """Episodes to evaluate."""
    seed: Annotated[int, arg(metavar="NUMBER")] = 0
    """Random seed of pairs and episodes."""
    greedy: bool = False
    """Take the most likely action instead of a sampled one."""
    video: bool = False
    """Write a video of the agent beside its parents."""
    name: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: ENCODER--POLICY--METHOD)")] = None
    """Name of the stitched agent."""
    save: bool = True
    """Save the stitched agent."""
    force: bool = False
    """Replace an agent of the same name."""
    threads: Threads = None

    def run(self) -> int:
        """Stitch, and print how the stitched agent does beside its parents."""
        from rlstitch.api.stitch import stitch
        from rlstitch.jobs.progress import ProgressReporter

        encoder, policy = fill(self.agents, encoder=self.encoder, policy=self.policy)
        with ProgressReporter() as progress:
            result = stitch(
                encoder,
                policy,
                method=self.method,
                pairs=self.pairs,
                episodes=self.episodes,
                seed=self.seed,
                deterministic=self.greedy,
                video=self.video,
                name=self.name,
                save=self.save,
                force=self.force,
                progress=progress,
            )
        say(result)
        return 1 if result.video_problem else 0
