"""`rlstitch demo`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from rlstitch.cli.console import say
from rlstitch.cli.options import Threads


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Train two agents independently, stitch them both ways, and write a table, videos and a report."""

    seed: Annotated[int, arg(metavar="NUMBER")] = 0
    """Random seed."""
    out: Annotated[Path, arg(metavar="FOLDER")] = Path("runs/demo")
    """Folder to write; an older demo there is replaced."""
    preset: Annotated[str, arg(metavar="CONFIG")] = "minigrid-lavagap"
    """What to train on: a preset or a config file."""
    threads: Threads = None

    def run(self) -> int:
        """Run the demo, and print the table and the path of the report."""
        from rlstitch.api.demo import demo
        from rlstitch.jobs.progress import ProgressReporter

        with ProgressReporter() as progress:
            outcome = demo(seed=self.seed, out=self.out, preset=self.preset, progress=progress)
        say(outcome)
        return 0
