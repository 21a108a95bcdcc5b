"""`rlstitch pull`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from rlstitch.cli.console import say


@dataclass(frozen=True, kw_only=True)
class Pull:
    """Fetch an agent from the Hugging Face Hub and check it, without running code from it."""

    repo: Annotated[Positional[str], arg(metavar="OWNER/NAME")]
    """Repository on the Hub."""
    name: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the repository's name)")] = None
    """Name of the agent here."""
    revision: Annotated[str | None, arg(metavar="REVISION", help_behavior_hint="(default: the newest commit)")] = None
    """Branch, tag or commit."""
    force: bool = False
    """Replace an agent of the same name."""

    def run(self) -> int:
        """Pull, and print the agent's world and folder."""
        from rlstitch.api.hub.pull import pull
        from rlstitch.jobs.progress import ProgressReporter

        with ProgressReporter() as progress:
            result = pull(self.repo, name=self.name, revision=self.revision, force=self.force, progress=progress)
        say(result)
        return 0
