"""Write the report of a matrix: one page to open in a browser, tables, plots, and TensorBoard events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.evaluation.matrix.plan import CELL
from rlstitch.jobs.progress import ProgressReporter
from rlstitch.reporting.matrix.data import MatrixData, place_of, read_matrix
from rlstitch.reporting.matrix.latents import LatentScatter, choose_rows, find_rows, scatter_cells
from rlstitch.reporting.matrix.matrix_plots import diagnostic_plots, latents_plot, matrix_heat_plot, profile_plots
from rlstitch.reporting.matrix.page import Video, render_matrix
from rlstitch.reporting.matrix.tables import headline, undefined_texts, uneven_texts, write_tables
from rlstitch.reporting.plots import Plot
from rlstitch.reporting.tensorboard import write_events
from rlstitch.storage import limits, read_bytes, write_bytes
from rlstitch.storage.files import is_file_of
from rlstitch.storage.folders import staged_files
from rlstitch.storage.validation import show
from rlstitch.storage.workspace import RUNS, VIDEOS, file_name, is_name


@dataclass(frozen=True)
class MatrixReport:
    """The files of a report and what they show. Its text is what the command prints."""

    data: MatrixData
    page: Path
    tables: tuple[Path, ...]
    events: Path | None
    videos: tuple[Video, ...]
    latents: tuple[LatentScatter, ...]
    notes: tuple[str, ...]
    """What was left out, and why."""
    plots: tuple[Path, ...] = ()

    def __str__(self) -> str:
        folder = self.page.parent
        lines = [headline(self.data), f"page     {self.page}", f"tables   {folder / 'report.md'}, {folder / 'tables'}"]
        if self.plots:
            lines.append(f"plots    {folder / 'plots'}")
        if self.events is not None:
            lines.append(f"metrics  tensorboard --logdir {self.events.parent}")
        lines += [f"{len(self.videos)} videos, latents of {len(self.latents)} cells", *self.notes]
        lines += undefined_texts(self.data)
        return "\n".join(lines)


def report(
    folder: str | Path,
    *,
    latents: int = 3,
    cells: Sequence[str] = (),
    videos: bool = True,
    films: bool = True,
    tensorboard: bool = True,
    plots: bool = False,
    progress: ProgressReporter | None = None,
) -> MatrixReport:
    """Write `report.html`, `report.md`, `report.json`, `tables/` and `tensorboard/` into the folder of a matrix.

    Args:
        folder: of the matrix, or its name under `runs`.
        latents: number of cells whose latents before and after stitching are shown, spread from the lowest recovery to
            the highest; their agents must still exist.
        cells: cells whose latents are shown instead, as `ENCODER--CONTROLLER--METHOD`.
        videos: embed `<encoder>--<controller>--<method>.mp4` from the folder's `videos` or from `./videos`.
        films: alias of `videos`.
        tensorboard: write TensorBoard events, too.
        plots: write the plots as PDF and PNG, too, into `plots/`.
        progress: shows how far each stage of the work is; None: nothing is shown.

    Raises:
        ArtefactError: if the folder is no matrix, or a file cannot be read or written.
        InvalidInputError: for a number below 0, an unknown cell, or a link where a folder or file should be written.
    """
    if latents < 0:
        raise InvalidInputError(f"latents: expected 0 or more, found {latents}")
    progress = progress or ProgressReporter(style="none")
    progress.stage("reading the matrix")
    data = read_matrix(_folder(folder))
    _check_names(data)
    progress.stage("latents")
    shown, notes = scatter_cells(data, find_rows(data.rows, cells) if cells else choose_rows(data.rows, latents))
    embedded, left_out = find_videos(data) if videos and films else ([], [])
    page = data.folder / "report.html"
    progress.stage("page, tables and plots")
    drawn = _plots(data, shown) if plots or tensorboard else {}
    with staged_files(data.folder) as stage:
        write_bytes(stage / page.name, render_matrix(data, videos=embedded, latents=shown).encode())
        tables = [data.folder / path.relative_to(stage) for path in write_tables(data, stage)]
        written = _write_plots(drawn, stage / "plots") if plots else []
        files = [data.folder / path.relative_to(stage) for path in written]
    events = None
    if tensorboard:
        images: dict[str, bytes | npt.NDArray[np.uint8]] = {name: plot.array() for name, plot in drawn.items()}
        for video in embedded:
            if is_file_of(animation := video.path.with_suffix(".gif"), b"GIF8"):
                images[f"videos/{video.path.stem}"] = read_bytes(animation, max_bytes=limits.VIDEO_BYTES)
        progress.stage("TensorBoard events")
        sentences = {"matrix/undefined": undefined_texts(data), "matrix/different-cells": uneven_texts(data)}
        texts = {tag: "\n\n".join(lines) for tag, lines in sentences.items() if lines}
        events = write_events(data.folder / "tensorboard", scalars=_scalars(data), images=images, texts=texts)
    return MatrixReport(
        data, page, tuple(tables), events, tuple(embedded), tuple(shown), (*notes, *left_out), tuple(files)
    )


def _folder(folder: str | Path) -> Path:
    path = Path(folder)
    under = RUNS / path
    return under if not path.exists() and under.is_dir() else path


def _check_names(data: MatrixData) -> None:
    """Refuse names that no agent and no method has: they become names of files, and agents are looked for by them."""
    methods = {*data.methods, *(row["method"] for row in data.rows)}
    for what, names in (("agent", {*data.agents, *data.members}), ("method", methods)):
        if wrong := sorted(name for name in names if not is_name(name)):
            raise ArtefactError(
                f"{data.folder}: expected the name of {what}s as rlstitch makes them, found {show(wrong[0])}"
            )


def _plots(data: MatrixData, latents: Sequence[LatentScatter]) -> dict[str, Plot]:
    """Return the plots by name, as they are called in TensorBoard and in `plots/`."""
    plots = {
        f"{metric.stem}/{_named(method, place)}": matrix_heat_plot(data, method, metric, place)
        for metric, place, method in product(data.outcomes, data.places, data.methods)
    }
    for (place, fit), plot in diagnostic_plots(data).items():
        plots[f"diagnostics/{_named(fit, place)}"] = plot
    for scatter in latents:
        plots[f"latents/{scatter.encoder}--{scatter.controller}--{scatter.method}"] = latents_plot(scatter)
    return plots | dict(zip(("profiles/episodes", "profiles/cells"), profile_plots(data).values(), strict=False))


def _named(name: str, place: str) -> str:
    return name if place == CELL else f"{name}/{place}"


def _write_plots(plots: dict[str, Plot], folder: Path) -> list[Path]:
    paths = []
    for name, plot in plots.items():
        for suffix, content in ((".pdf", plot.pdf()), (".png", plot.png())):
            paths.append(folder / (file_name(name) + suffix))
            write_bytes(paths[-1], content)
    return paths


def _scalars(data: MatrixData) -> Iterator[tuple[str, float, int]]:
    """Yield tag, value and step: the summary of each method at step 0, its profile with the level as the step."""
    for entry in data.summary:
        method = _named(entry["method"], entry.get("place", CELL))
        for name in ("mean", "iqm"):
            for end, value in (entry.get(name) or {}).items():
                yield f"matrix/recovery-{name}-{end}/{method}", value, 0
        for name in ("recovered", "success", "cells"):
            if entry.get(name) is not None:
                yield f"matrix/{name}/{method}", entry[name], 0
        profile = entry.get("profile") or {"levels": (), "share": ()}
        for level, share in zip(profile["levels"], profile["share"], strict=True):
            if level >= 0:
                yield f"profile/{method}", share, round(level)


def find_videos(data: MatrixData) -> tuple[list[Video], list[str]]:
    """Return the existing videos of cells that are done, and a note for each that is left out."""
    from rlstitch.stitching.stitch import joined_name

    own = data.folder / "videos"
    folders = (VIDEOS,) if own.is_symlink() else (VIDEOS, own)
    paths = {path.stem: path for folder in folders for path in sorted(folder.glob("*.mp4"))}
    videos: list[Video] = []
    left_out: list[str] = []
    total = 0
    for index, row in enumerate(data.rows if paths else ()):
        path = paths.get(joined_name(row["encoder"], row["controller"], row["method"]))
        if path is None or row["state"] != "done" or place_of(row) != CELL:  # a video shows the cell's own world
            continue
        if not is_file_of(path, b"ftyp", start=4):
            left_out.append(f"video left out, a link or no MP4: {path}")
            continue
        size = path.stat().st_size
        if size > limits.VIDEO_BYTES or total + size > limits.VIDEOS_BYTES:
            left_out.append(f"video left out, too large: {path}")
            continue
        total += size
        videos.append(Video(index, path, f"{row['encoder']} → {row['controller']}, {row['method']}"))
    return videos, left_out
