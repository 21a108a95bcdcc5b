"""`rlstitch report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from rlstitch.cli.console import say, split_names


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write a matrix as one page for the browser, tables, and figures for TensorBoard."""

    folder: Annotated[Positional[Path], arg(metavar="MATRIX")]
    """Folder of the matrix, or its name under runs."""
    latents: Annotated[int, arg(metavar="NUMBER")] = 3
    """Draw the latents of so many cells before and after stitching; 0: none."""
    cells: Annotated[str, arg(metavar="CELL,...")] = ""
    """Draw those of these cells instead: ENCODER--CONTROLLER--METHOD, separated by commas."""
    films: bool = True
    """Embed the films of cells that lie in the matrix's videos or in ./videos."""
    tensorboard: bool = True
    """Write TensorBoard events."""

    def run(self) -> int:
        """Write the report and say where it lies."""
        from rlstitch.reporting.matrix.write import report_matrix

        say(
            report_matrix(
                self.folder,
                latents=self.latents,
                cells=split_names(self.cells),
                films=self.films,
                tensorboard=self.tensorboard,
            )
        )
        return 0
