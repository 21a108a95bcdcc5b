"""`rlstitch stitch`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from rlstitch.cli.console import say
from rlstitch.cli.options import EncoderAndPolicy, EnvironmentOptions, Threads
from rlstitch.stitching.methods import DEFAULT, method_help


@dataclass(frozen=True, kw_only=True)
class Stitch(EncoderAndPolicy, EnvironmentOptions):
    """Join the encoder of one agent to the controller of another, and evaluate the agent that this makes."""

    method: Annotated[str, arg(metavar="METHOD", help=f"What is put between the two: {method_help()}.")] = DEFAULT
    pairs: Annotated[
        int | Path | None, arg(metavar="NUMBER|FILE", help_behavior_hint="(default: 1,024, or 4,096 by coverage)")
    ] = None
    """Paired observations that a translation is fitted on: how many, or an .npz file (see rlstitch pairs)."""
    episodes: Annotated[int, arg(metavar="NUMBER")] = 100
    """Episodes to evaluate."""
    seed: Annotated[int, arg(metavar="NUMBER")] = 0
    """Random seed of pairs and episodes."""
    refine: Annotated[int, arg(metavar="ROUNDS")] = 0
    """Rounds in which the map is fitted again on states that the stitched agent meets."""
    perturb: Annotated[float, arg(metavar="SHARE")] = 0.0
    """Share of random actions where the two agents play to collect pairs: states beside their paths."""
    controls: bool = False
    """Measure the method on shuffled pairs, with an untrained encoder and with the controller's own, too."""
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

        encoder, policy = self.names()
        with ProgressReporter() as progress:
            result = stitch(
                encoder,
                policy,
                env=self.environment(),
                method=self.method,
                pairs=self.pairs,
                episodes=self.episodes,
                seed=self.seed,
                refine=self.refine,
                perturb=self.perturb,
                controls=self.controls,
                deterministic=self.greedy,
                video=self.video,
                name=self.name,
                save=self.save,
                force=self.force,
                progress=progress,
            )
        say(result)
        return 1 if result.video_problem else 0
