"""`rlstitch evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from rlstitch.cli.console import say
from rlstitch.cli.options import EnvironmentOptions, Threads


@dataclass(frozen=True, kw_only=True)
class Evaluate(EnvironmentOptions):
    """Play episodes with an agent and summarise them."""

    agent: Annotated[Positional[str], arg(metavar="AGENT")]
    """Name or folder of the agent."""
    look: Annotated[
        str | None, arg(metavar="NAME", aliases=("--variation",), help_behavior_hint="(default: the agent's own)")
    ] = None
    """Another look than the agent's own."""
    task: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the agent's own)")] = None
    """Another task than the agent's own."""
    backend: Annotated[
        Literal["gymnasium", "envpool"] | None,
        arg(metavar="gymnasium|envpool", help_behavior_hint="(default: the agent's own)"),
    ] = None
    """Another environment backend than the agent's own; there, a seed gives other episodes."""
    episodes: Annotated[int, arg(metavar="NUMBER")] = 100
    """Episodes to play."""
    seed: Annotated[int, arg(metavar="NUMBER")] = 0
    """Random seed of the episodes."""
    greedy: bool = False
    """Take the most likely action instead of a sampled one."""
    video: bool = False
    """Write a video of some episodes."""
    threads: Threads = None

    def run(self) -> int:
        """Evaluate, and print the summary."""
        from rlstitch.api.evaluate import evaluate
        from rlstitch.jobs.progress import ProgressReporter

        with ProgressReporter() as progress:
            result = evaluate(
                self.agent,
                env=self.environment(),
                look=self.look,
                task=self.task,
                backend=self.backend,
                episodes=self.episodes,
                seed=self.seed,
                deterministic=self.greedy,
                video=self.video,
                progress=progress,
            )
        say(result)
        return 1 if result.video_problem else 0
