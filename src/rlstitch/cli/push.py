"""`rlstitch push`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from rlstitch.cli.console import say
from rlstitch.cli.options import GymPackages, Threads


@dataclass(frozen=True, kw_only=True)
class Push:
    """Publish an agent on the Hugging Face Hub, with a model card."""

    agent: Annotated[Positional[str], arg(metavar="AGENT")]
    """Name or folder of the agent."""
    repo: Annotated[Positional[str], arg(metavar="OWNER/NAME")]
    """Repository on the Hub; it is made where it does not exist."""
    episodes: Annotated[
        int | None,
        arg(metavar="NUMBER", help_behavior_hint="(default: the evaluation that the agent states, else 100)"),
    ] = None
    """Evaluation episodes for the model card; 0: no evaluation."""
    video: bool = False
    """Record some episodes as replay.mp4, which the Hub shows."""
    private: bool = False
    """Make the repository private, where it is made."""
    gym_packages: GymPackages = ()
    """Modules of your own to import, which register environments."""
    threads: Threads = None

    def run(self) -> int:
        """Push, and print what was pushed and where it is."""
        from rlstitch.api.hub.push import push
        from rlstitch.jobs.progress import ProgressReporter

        with ProgressReporter() as progress:
            result = push(
                self.agent,
                self.repo,
                episodes=self.episodes,
                video=self.video,
                private=self.private,
                progress=progress,
            )
        say(result)
        return 0
