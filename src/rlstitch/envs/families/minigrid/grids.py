"""The symbolic state of many MiniGrids, kept in arrays while the environments step.

Each cell is one number: its tile index with no agent and no highlight, plus a bit where it blocks sight. The grids are
padded with grey walls, which is what MiniGrid shows beyond the edge, so that no window leaves the array.

Which cells an agent sees is MiniGrid's shadow casting for a whole batch at once. MiniGrid (`Grid.process_vis`) walks
the view row by row from the agent upwards. In a row, sight runs to the right and then to the left through transparent
cells, and each cell it runs through opens the cells above it. So what a row lets through depends on two bit strings
alone: the cells where sight enters, and the transparent ones. For views up to seven cells wide, every pair of them is
worked out once and looked up.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from minigrid.core.world_object import Ball, Box, Door, Floor, Goal, Key, Lava, Wall

from rlstitch.envs.families.minigrid.tiles import (
    AGENT_STRIDE,
    CELL_STRIDE,
    COLOURS,
    EMPTY_CODE,
    NO_AGENT,
    NUM_TILES,
    STATES,
)
from rlstitch.errors import InvalidInputError

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


Index = npt.NDArray[np.intp]

_NOBODY = NO_AGENT * AGENT_STRIDE
_EMPTY_CELL = EMPTY_CODE * CELL_STRIDE + _NOBODY
_OPAQUE = 1 << (NUM_TILES - 1).bit_length()
_TILE_BITS = _OPAQUE - 1
_UP = 3  # the agent's direction in its own view
# The look of these follows from class and colour; anything else (a door, a user's own object) is read at every step.
_STATELESS = frozenset({Wall, Floor, Goal, Lava, Key, Ball, Box})
_FORWARD = ((1, 0), (0, 1), (-1, 0), (0, -1))  # (x, y) of direction 0..3: right, down, left, up


def _read_cell(obj: Any) -> int:
    kind, colour, state = obj.encode()
    code = (int(kind) * COLOURS + int(colour)) * STATES + int(state)
    return code * CELL_STRIDE + _NOBODY + (0 if obj.see_behind() else _OPAQUE)


class _Cells(dict[tuple[Any, ...], int]):
    """The cells of MiniGrid's own objects by class, colour and state, read from the first object of each sort."""

    def of(self, obj: Any) -> int:
        """The cell that shows an object, or nothing."""
        if obj is None:
            return _EMPTY_CELL
        kind = type(obj)
        if kind is Door:
            key: tuple[Any, ...] = (kind, obj.color, obj.is_open, obj.is_locked)
        elif kind in _STATELESS:
            key = (kind, obj.color)
        else:
            return _read_cell(obj)
        if key not in self:
            self[key] = _read_cell(obj)
        return self[key]


def window_offsets(view_size: int, row_length: int) -> Index:
    """Where the agent's view lies, as flat offsets from its cell, `(4, v, v)`: direction, row, column of the view.

    The view is turned so that the agent stands in the middle of its last row and looks up (MiniGrid's
    `get_view_coords`).
    """
    offsets = np.empty((4, view_size, view_size), dtype=np.intp)
    ahead = np.arange(view_size - 1, -1, -1)[:, None]
    aside = np.arange(view_size)[None, :] - view_size // 2
    for direction, (dx, dy) in enumerate(_FORWARD):
        x, y = dx * ahead - dy * aside, dy * ahead + dx * aside  # the agent's right is (-dy, dx)
        offsets[direction] = y * row_length + x
    return offsets


class SymbolicGrids:
    """Symbolic arrays of MiniGrid environments of one size, brought up to date by `refresh`."""

    def __init__(self, environments: Sequence[Any]) -> None:
        first = environments[0]
        self.environments = environments
        self.height, self.width, self.view_size = int(first.height), int(first.width), int(first.agent_view_size)
        self.see_through_walls, self.highlight = bool(first.see_through_walls), bool(first.highlight)
        self._pad = self.view_size - 1
        padded = (self.height + 2 * self._pad, self.width + 2 * self._pad)
        self._row_length = padded[1]
        self._known = _Cells()
        self._grids = np.full((len(environments), *padded), self._known.of(Wall()), dtype=np.intp)
        self._flat = self._grids.reshape(len(environments), -1)
        self._offsets = window_offsets(self.view_size, self._row_length).reshape(4, -1)
        inner = np.arange(self._flat.shape[1]).reshape(padded)[self._inside]
        self._places: list[int] = inner.reshape(-1).tolist()
        nothing_yet: list[Any] = [object()] * len(self._places)
        self._last = [nothing_yet] * len(environments)
        self._stateful: list[dict[int, Any]] = [{} for _ in environments]

    @property
    def _inside(self) -> tuple[slice, slice]:
        pad = self._pad
        return slice(pad, pad + self.height), slice(pad, pad + self.width)

    def refresh(self, row: int) -> None:
        """Read what has changed in one environment.

        Raises:
            InvalidInputError: where its grid has another size than at the start.
        """
        cells = self.environments[row].grid.grid
        last = self._last[row]
        stateful = self._stateful[row]
        flat = self._flat[row]
        # Objects compare by identity, so this is one pass in C; most steps change no cell.
        if cells != last:
            grid = self.environments[row].grid
            if (grid.width, grid.height) != (self.width, self.height):
                raise InvalidInputError(
                    f"environment: expected grids of {self.width} x {self.height}, found {grid.width} x {grid.height}"
                )
            for place, obj, old in zip(self._places, cells, last, strict=True):
                if obj is not old:
                    flat[place] = self._known.of(obj)
                    stateful.pop(place, None)
                    if obj is not None and type(obj) not in _STATELESS:
                        stateful[place] = obj
            self._last[row] = cells.copy()
        for place, obj in stateful.items():
            flat[place] = self._known.of(obj)

    def _agents(self, rows: Index) -> tuple[Index, Index, Index]:
        """Flat positions, directions and carried cells of the agents."""
        environments = [self.environments[row] for row in rows]
        positions = np.array([environment.agent_pos for environment in environments], dtype=np.intp)
        positions += self._pad
        directions = np.array([environment.agent_dir for environment in environments], dtype=np.intp)
        carried = [self._known.of(environment.carrying) for environment in environments]
        return positions[:, 1] * self._row_length + positions[:, 0], directions, np.array(carried, dtype=np.intp)

    def _windows(self, rows: Index, positions: Index, directions: Index) -> tuple[Index, npt.NDArray[np.bool_], Index]:
        """Each agent's view: its cells, which of them are seen, and where they lie, each `(n, v, v)`."""
        shape = (len(rows), self.view_size, self.view_size)
        places = self._offsets[directions] + positions[:, None]
        window = self._flat.reshape(-1).take(places + (rows * self._flat.shape[1])[:, None]).reshape(shape)
        seen = np.ones(shape, np.bool_) if self.see_through_walls else visible_cells(window < _OPAQUE)
        return window, seen, places

    def agent_views(self, rows: Index) -> Index:
        """Tile indices `(n, v, v)` of what the agents of these environments see, turned their way."""
        positions, directions, carried = self._agents(rows)
        window, seen, _ = self._windows(rows, positions, directions)
        index = np.where(seen, (window & _TILE_BITS) + 1, _EMPTY_CELL)
        # An agent shows what it carries in place of what it stands on, and always sees its own cell.
        index[:, -1, self.view_size // 2] = (carried & _TILE_BITS) - _NOBODY + _UP * AGENT_STRIDE + 1
        return index

    def full_views(self, rows: Index) -> Index:
        """Tile indices `(n, height, width)` of the whole grids, with what the agents see highlighted."""
        positions, directions, _ = self._agents(rows)
        index = self._flat[rows] & _TILE_BITS
        each = np.arange(len(rows))
        index[each, positions] += directions * AGENT_STRIDE - _NOBODY
        if self.highlight:
            _, seen, places = self._windows(rows, positions, directions)
            index[each[:, None], places] += seen.reshape(places.shape)
        return index.reshape(len(rows), *self._grids.shape[1:])[:, *self._inside]
