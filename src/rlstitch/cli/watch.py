"""`rlstitch watch`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from rlstitch.cli.console import say
from rlstitch.cli.options import EnvironmentOptions, Threads
from rlstitch.stitching.methods import DEFAULT, method_help


@dataclass(frozen=True, kw_only=True)
class Watch(EnvironmentOptions):
    """Watch an agent play in a page of the browser, and change its look, encoder and method meanwhile."""

    agent: Annotated[Positional[str], arg(metavar="AGENT")]
    """Name or folder of the agent; its controller plays."""
    encoder: Annotated[str | None, arg(metavar="AGENT", help_behavior_hint="(default: the agent's own)")] = None
    """Another agent, whose encoder is used."""
    method: Annotated[str, arg(metavar="NAME", help=f"Joins that encoder to the controller: {method_help()}.")] = (
        DEFAULT
    )
    look: Annotated[
        str | None, arg(metavar="NAME", aliases=("--variation",), help_behavior_hint="(default: the encoder's own)")
    ] = None
    """Another look than that of the encoder's agent."""
    seed: Annotated[int, arg(metavar="NUMBER")] = 0
    """Random seed of the episodes, which are those of rlstitch evaluate."""
    greedy: bool = False
    """Take the most likely action instead of a sampled one."""
    port: Annotated[int, arg(metavar="NUMBER", help_behavior_hint="(default: any that is free)")] = 0
    """Port of the page."""
    threads: Threads = None

    def run(self) -> int:
        """Print the address of the page, and serve it until Ctrl-C."""
        from rlstitch.api.watch.watch import watch
        from rlstitch.jobs.progress import ProgressReporter

        with ProgressReporter() as progress:
            watch(
                self.agent,
                encoder=self.encoder,
                env=self.environment(),
                method=self.method,
                look=self.look,
                seed=self.seed,
                deterministic=self.greedy,
                port=self.port,
                on_ready=lambda address: say(f"page     {address}\n(Ctrl-C ends)"),
                progress=progress,
            )
        return 0
