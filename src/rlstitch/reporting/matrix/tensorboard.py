"""The figures of a matrix as TensorBoard events, for `tensorboard --logdir runs`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rlstitch.evaluation.matrix.worlds import CELL
from rlstitch.reporting.matrix.data import MatrixData
from rlstitch.reporting.matrix.latents import LatentScatter
from rlstitch.reporting.matrix.pictures import heat_picture, latents_picture, scatter_picture
from rlstitch.reporting.tensorboard import write_events
from rlstitch.storage import read_bytes

if TYPE_CHECKING:
    from rlstitch.reporting.matrix.page import Film

_GIF_BYTES = 32 * 2**20


def write_matrix_events(
    data: MatrixData, folder: Path, *, films: Sequence[Film] = (), latents: Sequence[LatentScatter] = ()
) -> Path:
    """Write one events file; those of an earlier report in this folder go.

    A world that is not the cell's own stands behind the method, as `/<method>/<world>`.

    Scalars: `matrix/<figure>/<method>` at step 0, and `profile/<method>`, the share of episodes above each level of
    recovery, with the level (0 and above) as its step. Images: heat maps, diagnostics against outcomes, latents, and
    films of which a GIF lies beside the MP4.

    Raises:
        ArtefactError: where the folder cannot be written.
    """
    images: dict[str, bytes | npt.NDArray[np.uint8]] = {}
    for figure in data.figures:
        if figure.key in ("recovery", "return_mean", "success"):
            for place, method in product(data.places, data.methods):
                name = f"{figure.key.removesuffix('_mean')}/{_named(method, place)}"
                images[name] = heat_picture(data, method, figure, place)
    outcomes = [figure for figure in data.figures if figure.key == "recovery"]
    for outcome in outcomes:
        for fit in (figure for figure in data.figures if figure.fit):
            drawn = scatter_picture(data, fit, outcome)
            if drawn is not None:
                images[f"diagnostics/{fit.key}"] = drawn
    for scatter in latents:
        images[f"latents/{scatter.encoder}--{scatter.controller}--{scatter.method}"] = latents_picture(scatter)
    for film in films:
        animation = film.path.with_suffix(".gif")
        if animation.is_file():
            images[f"films/{film.path.stem}"] = read_bytes(animation, max_bytes=_GIF_BYTES)
    return write_events(folder, scalars=_scalars(data), images=images)


def _named(method: str, place: str) -> str:
    return method if place == CELL else f"{method}/{place}"


def _scalars(data: MatrixData) -> Iterator[tuple[str, float, int]]:
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
