"""`rlstitch info`."""

from __future__ import annotations

from dataclasses import dataclass

from rlstitch.cli.console import say


@dataclass(frozen=True, kw_only=True)
class Info:
    """Show versions, processors, GPUs and optional packages, for a report of a bug."""

    def run(self) -> int:
        """Print one line for each."""
        from rlstitch.api.info import info

        say(info())
        return 0
