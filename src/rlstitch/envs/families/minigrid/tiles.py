"""Rendering MiniGrid by look-up: each distinct tile is rendered once, a frame is a gather.

A symbolic view holds five numbers a cell: object, colour, state, direction of the agent (4: no agent here),
highlighted (0 or 1). Together they make one *tile index*, the key of the atlas. Tiles are drawn by MiniGrid's own code,
for other colours with another table of them; the table of its module stays as it is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import numpy as np
import numpy.typing as npt
from minigrid.core.constants import COLORS, IDX_TO_COLOR, IDX_TO_OBJECT
from minigrid.core.grid import Grid
from minigrid.core.world_object import WorldObj
from minigrid.utils import rendering

from rlstitch.envs.looks.drawn import OBJECTS as OBJECT_COLOURS
from rlstitch.envs.looks.drawn import Palette
from rlstitch.envs.looks.look import Look, get_look
from rlstitch.envs.looks.pixels import Images
from rlstitch.envs.looks.text import Colour
from rlstitch.errors import InvalidInputError

CHANNELS = 5
OBJECTS, COLOURS, STATES, DIRECTIONS = 11, 6, 3, 5
NO_AGENT = DIRECTIONS - 1
AGENT_STRIDE = 2  # tile index = cell code * CELL_STRIDE + direction * AGENT_STRIDE + highlighted
CELL_STRIDE = DIRECTIONS * AGENT_STRIDE
NUM_CELLS = OBJECTS * COLOURS * STATES
NUM_TILES = NUM_CELLS * CELL_STRIDE
EMPTY_CODE = 1 * COLOURS * STATES  # object 1 is MiniGrid's "empty"

Index = npt.NDArray[np.intp]
Views = npt.NDArray[np.uint8]
_AGENT, _LAVA = (255, 0, 0), (255, 128, 0)  # colours of MiniGrid that stand in no table
_SUPERSAMPLING, _LINE = 3, 0.031


_LIMITS = np.array([OBJECTS, COLOURS, STATES, DIRECTIONS, 2])
_STRIDES = np.array([COLOURS * STATES * CELL_STRIDE, STATES * CELL_STRIDE, CELL_STRIDE, AGENT_STRIDE, 1], dtype=np.intp)
# The symbolic view of every tile index, (NUM_TILES, 5).
_SYMBOLS = np.stack(np.unravel_index(np.arange(NUM_TILES), tuple(_LIMITS)), axis=-1).astype(np.uint8)
# The five one-hot codes of every tile index, side by side.
_ONE_HOT = np.concatenate([np.eye(n, dtype=np.float32)[codes] for n, codes in zip(_LIMITS, _SYMBOLS.T, strict=True)], 1)
CODE_WIDTH = _ONE_HOT.shape[1]
"""Numbers of one cell in `code_index`."""


def encode_views(views: Views) -> Index:
    """Return tile indices `(N, h, w)` of symbolic views `(N, h, w, 5)`.

    Raises:
        InvalidInputError: for another shape or dtype, or numbers that no tile has.
    """
    if views.ndim != 4 or views.shape[-1] != CHANNELS or views.dtype != np.uint8:
        raise InvalidInputError(f"views: expected uint8 (N, h, w, {CHANNELS}), found {views.dtype} {views.shape}")
    if views.size and (views.reshape(-1, CHANNELS).max(axis=0) >= _LIMITS).any():
        largest = tuple(views.reshape(-1, CHANNELS).max(axis=0).tolist())
        raise InvalidInputError(f"views: expected numbers below {tuple(_LIMITS.tolist())}, found up to {largest}")
    return np.asarray(views @ _STRIDES)


def decode_index(index: Index) -> Views:
    """Return symbolic views `(..., 5)` of tile indices `(...)`: the inverse of `encode_views`."""
    return _SYMBOLS[index]


def code_index(index: Index) -> npt.NDArray[np.float32]:
    """Return tile indices `(N, h, w)` as vectors `(N, h * w * CODE_WIDTH)`, row by row of cells: the sensor `symbolic`.

    Of each cell one-hot codes of object, colour, state, direction of the agent (4: no agent), and highlighted.
    """
    return _ONE_HOT[index].reshape(len(index), math.prod(index.shape[1:]) * CODE_WIDTH)


class TileAtlas:
    """The tiles of one look at one size, rendered when they are first needed.

    `render` gathers rows of tiles, so that a frame is written once and in order.
    """

    def __init__(self, look: Look, tile_size: int) -> None:
        """Raise InvalidInputError where `tile_size` is not positive."""
        if tile_size < 1:
            raise InvalidInputError(f"tile_size: expected at least 1, found {tile_size}")
        self.look, self.tile_size = look, tile_size
        self._on_tiles, self._on_frames = look.split_pixels()
        self._row_of_tile: Index = np.full(NUM_TILES, -1, dtype=np.intp)  # first pixel row in the atlas
        self._rows: Images = np.zeros((0, tile_size * 3), dtype=np.uint8)
        self._offsets: Index = np.arange(tile_size, dtype=np.intp)[:, None]

    def render(self, index: Index, out: Images | None = None) -> Images:
        """Return frames uint8 `(N, h*t, w*t, 3)` of tile indices `(N, h, w)`, in `out` where that is given."""
        count, height, width = index.shape
        size = self.tile_size
        shape = (count, height * size, width * size, 3)
        if out is None:
            out = np.empty(shape, dtype=np.uint8)
        elif out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise InvalidInputError(f"out: expected contiguous uint8 {shape}, found {out.dtype} {out.shape}")
        first = self._row_of_tile.take(index)
        if first.size and first.min() < 0:
            self._draw_missing(index)
            first = self._row_of_tile.take(index)
        rows = first[:, :, None, :] + self._offsets
        # mode "clip" lets NumPy write into `out` directly ("raise" goes through a buffer); rows are in range.
        self._rows.take(rows, axis=0, out=out.reshape(count, height, size, width, size * 3), mode="clip")
        if self._on_frames is not None:
            out[...] = self._on_frames(out)
        return out

    def _draw_missing(self, index: Index) -> None:
        met = np.unique(index)
        missing = met[self._row_of_tile[met] < 0]
        floor, palette = self.look.floor, self.look.palette
        tiles = np.stack([draw_tile(symbols, self.tile_size, floor, palette) for symbols in _SYMBOLS[missing].tolist()])
        if self._on_tiles is not None:
            tiles = self._on_tiles(tiles)
        start = len(self._rows)
        self._rows = np.concatenate([self._rows, tiles.reshape(-1, self.tile_size * 3)])
        self._row_of_tile[missing] = start + np.arange(len(missing)) * self.tile_size


@functools.lru_cache(maxsize=32)
def get_atlas(look: str, tile_size: int) -> TileAtlas:
    """Return the atlas of a look and size, shared by the whole process. Raises as `get_look` and `TileAtlas`."""
    get_look(look).check_camera()
    return TileAtlas(get_look(look), tile_size)


def render_views(views: Views, *, variation: str = "standard", tile_size: int = 8, out: Images | None = None) -> Images:
    """Render symbolic views uint8 `(N, h, w, 5)` as images uint8 `(N, h*tile_size, w*tile_size, 3)` under a look.

    Equal, pixel by pixel, to MiniGrid's own drawing under the standard look.
    Raises:
        UnknownNameError: for an unknown look.
        InvalidInputError: for views that cannot be rendered.
    """
    return get_atlas(variation, tile_size).render(encode_views(views), out)


def success_infos(rewards: npt.NDArray[np.float64], terminations: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return infos that say which episodes ended just now with a reward above zero."""
    return {"success": terminations & (rewards > 0), "_success": np.ones(len(rewards), dtype=np.bool_)}


def draw_tile(symbols: Sequence[int], tile_size: int, floor: Colour | None = None, palette: Palette = ()) -> Images:
    """Return one tile, uint8 `(t, t, 3)`: MiniGrid's own, or on a floor of that colour, with objects in others.

    Args:
        symbols: object, colour, state, direction of the agent (4: no agent here), highlighted (0 or 1).
        tile_size: pixels of a side.
        floor: None: MiniGrid's own.
        palette: other colours.
    """
    kind, colour, state, direction, highlighted = (int(number) for number in symbols)
    obj = make_object(kind, colour, state)
    agent = direction if direction < 4 else None
    if floor is None and not palette:
        # A copy: MiniGrid hands out the array of its own cache. Its frames cut fractions off in the same way.
        return np.array(Grid.render_tile(obj, agent, bool(highlighted), tile_size)).astype(np.uint8)
    # MiniGrid's order of drawing: lines, object, agent, highlight, shrinking.
    canvas = np.empty((tile_size * _SUPERSAMPLING, tile_size * _SUPERSAMPLING, 3), dtype=np.uint8)
    canvas[:] = floor or (0, 0, 0)
    rendering.fill_coords(canvas, rendering.point_in_rect(0, _LINE, 0, 1), (100, 100, 100))
    rendering.fill_coords(canvas, rendering.point_in_rect(0, 1, 0, _LINE), (100, 100, 100))
    if obj is not None:
        _draw_object(obj, canvas, palette)
    if agent is not None:
        triangle = rendering.point_in_triangle((0.12, 0.19), (0.87, 0.50), (0.12, 0.81))
        turned = rendering.rotate_fn(triangle, cx=0.5, cy=0.5, theta=0.5 * math.pi * agent)
        rendering.fill_coords(canvas, turned, dict(palette).get("agent", _AGENT))
    if highlighted:
        rendering.highlight_img(canvas)
    return np.asarray(rendering.downsample(canvas, _SUPERSAMPLING)).astype(np.uint8)


def make_object(kind: int, colour: int, state: int) -> Any:
    """Return the MiniGrid object of an encoding, or None for a cell that shows none (empty, unseen, agent)."""
    obj = WorldObj.decode(kind, colour, state)
    # Goals and lava forget their colour in MiniGrid's decoding.
    if obj is not None and IDX_TO_OBJECT[kind] in ("goal", "lava"):
        obj.color = IDX_TO_COLOR[colour]
    return obj


def _draw_object(obj: Any, canvas: Images, palette: Palette) -> None:
    """Draw a MiniGrid object on a canvas `(S, S, 3)`, with the colours of `palette` where it names them."""
    _render_with(type(obj).render, palette)(obj, canvas)
    if obj.type == "lava" and "lava" in (chosen := dict(palette)):
        canvas[(canvas == _LAVA).all(axis=-1)] = chosen["lava"]


@functools.lru_cache(maxsize=256)
def _render_with(render: FunctionType, palette: Palette) -> Callable[[Any, Images], None]:
    colours = {**COLORS, **{name: np.array(colour) for name, colour in palette if name in OBJECT_COLOURS}}
    constants = {**render.__globals__, "COLORS": colours}
    return FunctionType(render.__code__, constants, render.__name__, render.__defaults__, render.__closure__)
