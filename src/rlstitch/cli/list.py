"""`rlstitch list`."""

from __future__ import annotations

from dataclasses import dataclass

from rlstitch.cli.console import say


@dataclass(frozen=True, kw_only=True)
class List:
    """List agents and presets."""

    def run(self) -> int:
        """Print one line an agent, broken ones with the reason, then one line a preset."""
        from rlstitch.api.listing import list_everything

        say(list_everything())
        return 0
