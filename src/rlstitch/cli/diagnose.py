"""`rlstitch diagnose`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from rlstitch.cli.console import say
from rlstitch.cli.options import EncoderAndPolicy, EnvironmentOptions, Threads


@dataclass(frozen=True, kw_only=True)
class Diagnose(EncoderAndPolicy, EnvironmentOptions):
    """Predict whether a stitch will work, and why not, before the stitched agent plays."""

    method: Annotated[str, arg(metavar="METHOD")] = "affine"
    """What is put between the two: see rlstitch stitch."""
    pairs: Annotated[
        int | Path | None, arg(metavar="NUMBER|FILE", help_behavior_hint="(default: 1,024, or 4,096 by coverage)")
    ] = None
    """Paired observations that a translation is fitted on: how many to collect, or an .npz file."""
    seed: Annotated[int, arg(metavar="NUMBER")] = 0
    """Random seed of pairs, states and episodes."""
    episodes: Annotated[int, arg(metavar="NUMBER")] = 32
    """Episodes of the native agent and of random actions, at most: without a gain over random there is no verdict."""
    json: bool = False
    """Print all metrics as JSON."""
    threads: Threads = None

    def run(self) -> int:
        """Print the verdict, its reasons, and the metrics behind it."""
        from rlstitch.api.diagnose import diagnose
        from rlstitch.jobs.progress import ProgressReporter

        encoder, policy = self.names()
        with ProgressReporter() as progress:
            diagnosis = diagnose(
                encoder,
                policy,
                env=self.environment(),
                method=self.method,
                pairs=self.pairs,
                episodes=self.episodes,
                seed=self.seed,
                progress=progress,
            )
        say(diagnosis.to_json() if self.json else diagnosis)
        return 0
