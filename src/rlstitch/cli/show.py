"""`rlstitch show`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from rlstitch.cli.console import say


@dataclass(frozen=True, kw_only=True)
class Show:
    """Show an agent (its world, parts, origin and results), or a preset with its defaults."""

    agent: Annotated[Positional[str], arg(metavar="AGENT|PRESET")]
    """Name or folder of the agent, or a preset, or a config file that ends in .yaml."""

    def run(self) -> int:
        """Print the agent's card, or the preset as YAML."""
        from rlstitch.api.listing import show

        say(show(self.agent))
        return 0
