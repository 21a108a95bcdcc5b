"""`rlstitch list`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg

from rlstitch.cli.console import say


@dataclass(frozen=True, kw_only=True)
class List:
    """List agents and presets."""

    env: Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="(default: any)")] = None
    """Only agents whose environment holds this text."""
    look: Annotated[str | None, arg(metavar="TEXT", aliases=("--variation",), help_behavior_hint="(default: any)")] = (
        None
    )
    """Only agents whose look holds this text."""
    task: Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="(default: any)")] = None
    """Only agents whose task holds this text."""

    def run(self) -> int:
        """Print one line an agent, broken ones with the reason, then one line a preset."""
        from rlstitch.api.listing import list_everything

        say(list_everything(environment=self.env, look=self.look, task=self.task))
        return 0
