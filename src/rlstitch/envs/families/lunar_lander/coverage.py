"""Exact area coverage: how much of each cell of a grid a polygon covers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
_FLAT = np.float32(1e-4)
"""Edges that rise less than that in a column count as rising so much: the area changes by no more."""


def cover(corners: Floats, rows: int, columns: int) -> Floats:
    """Return how much of each cell polygons cover, in 0..1.

    The area between an edge and the bottom of the grid, in a column and below a line between two rows, is a closed
    form; what two lines have between them is a cell's, and edges that run right and left cancel where neither is one
    of the polygon (Green's theorem).

    Args:
        corners: `(..., V, 2)` x to the right and y down, in cells, in one sense of rotation; no edge crosses another.
        rows, columns: of the grid, whose upper left corner is (0, 0). Polygons may reach beyond it.

    Returns:
        `(..., rows, columns)`.
    """
    x, y = corners[..., 0], corners[..., 1]
    x_end, y_end = np.roll(x, -1, axis=-1), np.roll(y, -1, axis=-1)
    run = x_end - x
    slope = (y_end - y) / np.where(run == 0, 1, run)
    lines = np.arange(columns + 1, dtype=np.float32)
    low, high = np.minimum(x, x_end)[..., None], np.maximum(x, x_end)[..., None]
    at = np.clip(lines, low, high)  # (..., V, columns + 1)
    height = y[..., None] + (at - x[..., None]) * slope[..., None]
    above, below = height[..., :-1], height[..., 1:]
    below = np.where(np.abs(below - above) > _FLAT, below, above + _FLAT)
    widths = np.diff(at, axis=-1) * np.sign(run)[..., None]
    weights = widths / (2 * (below - above))
    depth = np.arange(rows + 1, dtype=np.float32)[:, None]
    up = np.maximum(above[..., None, :] - depth, 0)
    down = np.maximum(below[..., None, :] - depth, 0)
    # The mean of max(y - depth, 0) on the way from `above` to `below`, times the width of that way.
    areas = np.einsum("...vc,...vrc->...rc", weights, (down - up) * (down + up))
    return np.abs(np.diff(areas, axis=-2))
