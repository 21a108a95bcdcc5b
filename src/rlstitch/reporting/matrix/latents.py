"""Latents of matched states before and after stitching, in two dimensions, for cells whose agents still exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rlstitch.agents.artefact import load_agent
from rlstitch.errors import ArtefactError, InvalidInputError, RlstitchError
from rlstitch.evaluation.matrix.plan import NATIVE, plan_matrix
from rlstitch.evaluation.matrix.tasks import join_cell
from rlstitch.evaluation.options import CellOptions
from rlstitch.reporting.matrix.data import CellRow, MatrixData, place_of
from rlstitch.stitching.controls import split_control

POINTS = 160
"""Largest number of matched states that are shown."""
UNMAPPED = ("naive", "relative")
"""Methods without a map between encoder and controller."""
Places = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class LatentScatter:
    """Matched states of one cell on two principal components of the controller's own latents; places are `(n, 2)`."""

    encoder: str
    controller: str
    method: str
    target: Places
    """Of the controller's own encoder."""
    before: Places | None
    """Of the other encoder, as they are; None where the widths differ."""
    after: Places
    """Of the other encoder, through the map."""
    explained: tuple[float, float]
    """Shares of the target's variance along the two."""


def choose_rows(rows: Sequence[CellRow], count: int) -> list[CellRow]:
    """Return at most `count` cells, spread from the lowest to the highest recovery.

    They are cells of the first world that count in the means, under methods with a map.
    """
    first = [row for row in rows if place_of(row) == place_of(rows[0]) and row["method"] not in (*UNMAPPED, NATIVE)]
    known = [row for row in first if row.get("counted") and row.get("recovery") is not None]
    known = [row for row in known if not split_control(row["method"])[1]]
    known.sort(key=lambda row: (row["recovery"], row["encoder"], row["controller"], row["method"]))
    count = min(count, len(known))
    return [known[round((len(known) - 1) * step / max(1, count - 1))] for step in range(count)]


def find_rows(rows: Sequence[CellRow], names: Sequence[str]) -> list[CellRow]:
    """Return the cells of these names, `encoder--controller--method`.

    Raises:
        InvalidInputError: for a name that no measured cell has.
    """
    done = (row for row in reversed(rows) if row["state"] == "done")  # of several worlds the first stays
    known = {f"{row['encoder']}--{row['controller']}--{row['method']}": row for row in done}
    for name in names:
        if name not in known:
            raise InvalidInputError(
                f"cells: expected ENCODER--CONTROLLER--METHOD of a cell that is done, found {name!r}"
            )
    return [known[name] for name in dict.fromkeys(names)]


def scatter_cell(data: MatrixData, row: CellRow, *, points: int = POINTS) -> LatentScatter:
    """Gather the pairs of a cell and fit its map again, and return both sides in two dimensions.

    Raises:
        RlstitchError: if an agent is missing, was trained again, or cannot be stitched.
    """
    if row["method"] == NATIVE:
        raise InvalidInputError("a native agent has no map")
    names = (row["encoder"], row["controller"])
    members = {member.name: member for member in plan_matrix(names, [row["method"]], CellOptions()).members}
    for name in names:
        if name not in members or members[name].identity != data.members.get(name, {}).get("identity"):
            raise ArtefactError(f"agent {name!r} is another than it was when the matrix was measured")
    encoder, policy = (load_agent(members[name].folder) for name in names)
    options = CellOptions(pairs=int(data.options.get("pairs", 1024)), seed=int(data.options.get("seed", 0)))
    stitch, pairs = join_cell(encoder, policy, row["method"], options)
    x, y = (torch.cat(sides)[:points] for sides in ((pairs.x_held, pairs.x), (pairs.y_held, pairs.y)))
    return lay_out(row, x, x if stitch.translation is None else stitch.translation(x), y)


def lay_out(row: CellRow, x: torch.Tensor, mapped: torch.Tensor, y: torch.Tensor) -> LatentScatter:
    """Return the latents of a cell on the first two principal components of `y`.

    Args:
        row: of the cell.
        x: latents of its encoder `(n, d_x)`.
        mapped: the same through the map `(n, d_y)`.
        y: latents of the controller's own encoder `(n, d_y)`, of the same states.

    Raises:
        InvalidInputError: for fewer than two dimensions or states.
    """
    from sklearn.decomposition import PCA

    source, joined, target = (side.detach().double().cpu().numpy() for side in (x, mapped, y))
    if min(target.shape) < 2:
        raise InvalidInputError(f"latents: expected two dimensions and two states or more, found {target.shape}")
    components = PCA(2, svd_solver="full").fit(target)

    def places(side: NDArray[np.float64]) -> Places:
        return tuple((float(u), float(v)) for u, v in components.transform(side))

    before = places(source) if source.shape[1] == target.shape[1] else None
    first, second = components.explained_variance_ratio_
    names = (row["encoder"], row["controller"], row["method"])
    return LatentScatter(*names, places(target), before, places(joined), (float(first), float(second)))


def scatter_cells(data: MatrixData, rows: Sequence[CellRow]) -> tuple[list[LatentScatter], list[str]]:
    """Return the scatters of these cells, and why the others have none."""
    scatters, reasons = [], []
    for row in rows:
        try:
            scatters.append(scatter_cell(data, row))
        except RlstitchError as error:
            reasons.append(f"no latents of {row['encoder']} → {row['controller']}, {row['method']}: {error}")
    return scatters, reasons
