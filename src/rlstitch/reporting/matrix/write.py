"""The report of a matrix: one page to open in a browser, tables, and the same figures for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlstitch.errors import InvalidInputError
from rlstitch.evaluation.matrix.worlds import CELL
from rlstitch.reporting.matrix.data import MatrixData, Row, place_of, read_matrix
from rlstitch.reporting.matrix.latents import LatentScatter, choose_rows, find_rows, scatter_cells
from rlstitch.reporting.matrix.page import MAX_FILM_BYTES, Film, render
from rlstitch.reporting.matrix.tables import headline, write_tables
from rlstitch.reporting.matrix.tensorboard import write_matrix_events
from rlstitch.storage import write_bytes
from rlstitch.storage.workspace import RUNS, VIDEOS

FILMS_BYTES = 128 * 2**20
"""Films are embedded up to so much in all."""


@dataclass(frozen=True)
class MatrixReport:
    """What a report was written of, and where it lies. Its text is what the command prints."""

    data: MatrixData
    page: Path
    tables: tuple[Path, ...]
    events: Path | None
    films: tuple[Film, ...]
    latents: tuple[LatentScatter, ...]
    notes: tuple[str, ...]
    """What was left out, and why."""

    def __str__(self) -> str:
        folder = self.page.parent
        lines = [headline(self.data), f"page     {self.page}", f"tables   {folder / 'report.md'}, {folder / 'tables'}"]
        if self.events is not None:
            lines.append(f"figures  tensorboard --logdir {self.events.parent}")
        lines += [f"{len(self.films)} films, latents of {len(self.latents)} cells", *self.notes]
        return "\n".join(lines)


def report_matrix(
    folder: str | Path,
    *,
    latents: int = 3,
    cells: Sequence[str] = (),
    films: bool = True,
    tensorboard: bool = True,
) -> MatrixReport:
    """Write `report.html`, `report.md`, `report.json`, `tables/` and `tensorboard/` into the folder of a matrix.

    Args:
        folder: of the matrix, or its name under `runs`.
        latents: of how many cells to draw latents before and after stitching, spread from the lowest recovery to the
            highest; their agents must still be there. 0: of none.
        cells: cells to draw instead, `ENCODER--CONTROLLER--METHOD`.
        films: embed `<encoder>--<controller>--<method>.mp4` from the folder's `videos` or from `./videos`.
        tensorboard: write the figures as TensorBoard events, too.

    Raises:
        ArtefactError: where the folder is no matrix, or a file cannot be read or written.
        InvalidInputError: for a number below 0, or a cell that is not there.
    """
    if latents < 0:
        raise InvalidInputError(f"latents: expected 0 or more, found {latents}")
    data = read_matrix(_folder(folder))
    shown, notes = scatter_cells(data, find_rows(data.rows, cells) if cells else choose_rows(data.rows, latents))
    found, left = find_films(data) if films else ([], [])
    page = data.folder / "report.html"
    write_bytes(page, render(data, films=found, latents=shown).encode())
    tables = write_tables(data, data.folder)
    events = write_matrix_events(data, data.folder / "tensorboard", films=found, latents=shown) if tensorboard else None
    return MatrixReport(data, page, tuple(tables), events, tuple(found), tuple(shown), (*notes, *left))


def _folder(folder: str | Path) -> Path:
    path = Path(folder)
    under = RUNS / path
    return under if not path.exists() and under.is_dir() else path


def find_films(data: MatrixData) -> tuple[list[Film], list[str]]:
    """Return the films that lie there for cells that are done, and what was left out for its size."""
    there = {path.stem: path for place in (VIDEOS, data.folder / "videos") for path in sorted(place.glob("*.mp4"))}
    found: list[Film] = []
    left: list[str] = []
    total = 0
    for index, row in enumerate(data.rows if there else ()):
        path = there.get(film_name(row))
        if path is None or row["state"] != "done" or place_of(row) != CELL:  # films show a cell's own world
            continue
        size = path.stat().st_size
        if size > MAX_FILM_BYTES or total + size > FILMS_BYTES:
            left.append(f"film left out, too large: {path}")
            continue
        total += size
        found.append(Film(index, path, f"{row['encoder']} → {row['controller']}, {row['method']}"))
    return found, left


def film_name(row: Row) -> str:
    """Return how `rlstitch stitch --video` names the film of a cell, without suffix."""
    from rlstitch.stitching.stitch import joined_name

    return joined_name(row["encoder"], row["controller"], row["method"])
