"""`rlstitch report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from rlstitch.cli.console import say, split_names
from rlstitch.cli.options import GymPackages


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write the report of a matrix: a page for the browser, tables, plots, and TensorBoard events."""

    folder: Annotated[Positional[Path], arg(metavar="MATRIX")]
    """Folder of the matrix, or its name under runs."""
    latents: Annotated[int, arg(metavar="NUMBER")] = 3
    """Number of cells whose latents before and after stitching are shown."""
    cells: Annotated[str, arg(metavar="CELL,...", help_behavior_hint="(default: none)")] = ""
    """Cells whose latents are shown instead: ENCODER--CONTROLLER--METHOD, separated by commas."""
    videos: Annotated[bool, arg(aliases=["--films"])] = True
    """Embed the videos of cells from the matrix's videos or from ./videos."""
    tensorboard: bool = True
    """Write TensorBoard events."""
    plots: bool = False
    """Write the plots as PDF and PNG, for papers."""
    gym_packages: GymPackages = ()
    """Modules of your own to import, which register environments."""

    def run(self) -> int:
        """Write the report and print its paths."""
        from rlstitch.api.report import report
        from rlstitch.jobs.progress import ProgressReporter

        with ProgressReporter() as progress:
            outcome = report(
                self.folder,
                latents=self.latents,
                cells=split_names(self.cells),
                videos=self.videos,
                tensorboard=self.tensorboard,
                plots=self.plots,
                progress=progress,
            )
        say(outcome)
        return 0
