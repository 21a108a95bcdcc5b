"""`rlstitch demo`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from rlstitch.cli.console import say


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Stitch the ready-trained agents, and write a table, videos and a report: a tour of what rlstitch does."""

    seed: Annotated[int, arg(metavar="NUMBER")] = 0
    """Seed of pairs and episodes."""
    out: Annotated[Path, arg(metavar="FOLDER")] = Path("runs/demo")
    """Where the demo writes."""

    def run(self) -> int:
        """Run the demo, and print the table and where the report lies."""
        from rlstitch.pipelines.demo import demo

        say(demo(seed=self.seed, out=self.out))
        return 0
