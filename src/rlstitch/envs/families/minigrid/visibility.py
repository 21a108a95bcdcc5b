"""Which cells of its view an agent sees: MiniGrid's shadow casting for a whole batch at once.

MiniGrid (`Grid.process_vis`) walks the view row by row from the agent upwards. In a row, sight runs to the right and
then to the left through transparent cells, and each cell it runs through opens the cells above it. So what a row lets
through depends on two bit strings alone: the cells where sight enters, and the transparent ones. For views up to
seven cells wide, every pair of them is worked out once and looked up.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

_TABLE_LIMIT = 7  # 2 ** 14 entries; two cells more would make 2 ** 18


def cast_row(entered: Bits, transparent: Bits, width: int) -> tuple[Bits, Bits]:
    """One row of the walk, on bit strings (bit i: column i) of any shape.

    Returns:
        The cells seen in this row, and the cells where sight enters the row above.
    """
    seen = entered.copy()
    above = np.zeros_like(entered)
    for column, towards in [(i, 1) for i in range(width - 1)] + [(i, -1) for i in range(width - 1, 0, -1)]:
        passes = (seen & transparent) >> column & 1
        seen |= passes << (column + towards)
        above |= (passes << (column + towards)) | (passes << column)
    return seen, above


@functools.cache
def _row_table(width: int) -> tuple[Bits, Bits]:
    pairs = np.arange(1 << (2 * width), dtype=np.intp)
    return cast_row(pairs >> width, pairs & ((1 << width) - 1), width)


@functools.cache
def _columns(width: int) -> Mask:
    """The mask `(2**width, width)` of every bit string."""
    numbers = np.arange(1 << width, dtype=np.intp)[:, None]
    return (numbers >> np.arange(width, dtype=np.intp) & 1).astype(np.bool_)


def visible_cells(transparent: Mask) -> Mask:
    """Return the cells that are seen, bool `(N, v, v)`, of the transparent ones, bool `(N, v, v)`.

    Rows first, turned so that the agent looks up from the middle of the last row; v is odd.
    """
    count, height, width = transparent.shape
    powers = np.left_shift(1, np.arange(width, dtype=np.intp))
    rows = np.ascontiguousarray((transparent @ powers).T)  # (v, N): bit strings
    seen = np.empty((height, count), dtype=np.intp)
    entered = np.full(count, 1 << (width // 2), dtype=np.intp)
    if width > _TABLE_LIMIT:
        for row in range(height - 1, -1, -1):
            seen[row], entered = cast_row(entered, rows[row], width)
        return (seen.T[:, :, None] >> np.arange(width, dtype=np.intp) & 1).astype(np.bool_)
    table_seen, table_above = _row_table(width)
    for row in range(height - 1, -1, -1):
        pair = (entered << width) | rows[row]
        table_seen.take(pair, out=seen[row], mode="clip")
        entered = table_above.take(pair)
    return np.asarray(_columns(width).take(seen.T, axis=0))
