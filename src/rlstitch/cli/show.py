"""`rlstitch show`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from rlstitch.cli.console import say


@dataclass(frozen=True, kw_only=True)
class Show:
    """Show an agent: its world, its parts, its origin and its results."""

    agent: Annotated[Positional[str], arg(metavar="AGENT")]
    """Name or folder of the agent."""

    def run(self) -> int:
        """Print the agent's card."""
        from rlstitch.api.listing import show_agent

        say(show_agent(self.agent))
        return 0
