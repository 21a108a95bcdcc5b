"""`rlstitch relativize`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from rlstitch.cli.console import say, split_names
from rlstitch.cli.options import EnvironmentOptions, Threads


@dataclass(frozen=True, kw_only=True)
class Relativize(EnvironmentOptions):
    """Make a trained agent relative: keep its encoder, let its controller act on similarities to anchors."""

    agent: Annotated[Positional[str], arg(metavar="AGENT")]
    """Name or folder of the agent."""
    anchors: Annotated[
        str | None,
        arg(metavar="SET|NUMBER", help_behavior_hint="(default: 512, or 4096 where they leave views unseen)"),
    ] = None
    """An anchor set (identity or folder), or how many anchors to choose."""
    drivers: Annotated[str, arg(metavar="AGENT,...", help_behavior_hint="(default: none)")] = ""
    """Agents that play, beside random actions, to collect the anchors; the same ones for both agents of a stitch."""
    similarity: Annotated[
        str | None,
        arg(
            metavar="NAME",
            help_behavior_hint="(default: kernel_ridge on 2048 anchors or more, gaussian from 256 on, else cosine)",
        ),
    ] = None
    """Similarity of latents and anchors, several joined by +; by kernel_ridge the controller is kept."""
    episodes: Annotated[int, arg(metavar="NUMBER")] = 100
    """Episodes of the evaluations before and after."""
    seed: Annotated[int, arg(metavar="NUMBER")] = 0
    """Random seed of the states, the distillation and the episodes."""
    greedy: bool = False
    """Evaluate the most likely action instead of a sampled one."""
    name: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: AGENT-relativized)")] = None
    """Name of the relative agent."""
    save: bool = True
    """Save the relative agent and its anchor set."""
    force: bool = False
    """Replace an agent of the same name."""
    threads: Threads = None

    def run(self) -> int:
        """Relativize, and print how the relative agent does beside the one it came from."""
        from rlstitch.api.relativize import relativize
        from rlstitch.jobs.progress import ProgressReporter

        with ProgressReporter() as progress:
            result = relativize(
                self.agent,
                env=self.environment(),
                anchors=self.anchors,
                drivers=split_names(self.drivers),
                similarity=self.similarity,
                episodes=self.episodes,
                seed=self.seed,
                deterministic=self.greedy,
                name=self.name,
                save=self.save,
                force=self.force,
                progress=progress,
            )
        say(result)
        return 0
