"""Drawing MiniGrid by look-up: each distinct tile is drawn once, a frame is a gather.

A symbolic view holds five numbers a cell: object, colour, state, direction of the agent (4: no agent here),
highlighted (0 or 1). Together they make one *tile index*, the key of the atlas.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from rlstitch.envs.looks.look import Variation, get_variation
from rlstitch.envs.looks.palette import Palette, agent_colour, draw_object
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


_LIMITS = np.array([OBJECTS, COLOURS, STATES, DIRECTIONS, 2])
_STRIDES = np.array([COLOURS * STATES * CELL_STRIDE, STATES * CELL_STRIDE, CELL_STRIDE, AGENT_STRIDE, 1], dtype=np.intp)
# The symbolic view of every tile index, (NUM_TILES, 5).
_SYMBOLS = np.stack(np.unravel_index(np.arange(NUM_TILES), tuple(_LIMITS)), axis=-1).astype(np.uint8)


def encode_views(views: Views) -> Index:
    """Tile indices `(N, h, w)` of symbolic views `(N, h, w, 5)`.

    Raises InvalidInputError for another shape or dtype, or numbers that no tile has.
    """
    if views.ndim != 4 or views.shape[-1] != CHANNELS or views.dtype != np.uint8:
        raise InvalidInputError(f"views: expected uint8 (N, h, w, {CHANNELS}), found {views.dtype} {views.shape}")
    if views.size and (views.reshape(-1, CHANNELS).max(axis=0) >= _LIMITS).any():
        found = tuple(views.reshape(-1, CHANNELS).max(axis=0).tolist())
        raise InvalidInputError(f"views: expected numbers below {tuple(_LIMITS.tolist())}, found up to {found}")
    return np.asarray(views @ _STRIDES)


def decode_index(index: Index) -> Views:
    """Symbolic views `(..., 5)` of tile indices `(...)`: the inverse of `encode_views`."""
    return _SYMBOLS[index]


class TileAtlas:
    """The tiles of one look at one size, drawn when they are first met.

    `render` gathers rows of tiles, so that a frame is written once and in order.
    """

    def __init__(self, variation: Variation, tile_size: int) -> None:
        """Raises InvalidInputError where `tile_size` is not positive."""
        if tile_size < 1:
            raise InvalidInputError(f"tile_size: expected at least 1, found {tile_size}")
        self.variation = variation
        self.tile_size = tile_size
        self._on_tiles, self._on_frames = variation.split_pixels()
        self._row_of_tile: Index = np.full(NUM_TILES, -1, dtype=np.intp)  # first pixel row in the atlas
        self._rows: Images = np.zeros((0, tile_size * 3), dtype=np.uint8)
        self._offsets: Index = np.arange(tile_size, dtype=np.intp)[:, None]

    def render(self, index: Index, out: Images | None = None) -> Images:
        """Frames uint8 `(N, h*t, w*t, 3)` of tile indices `(N, h, w)`; written into `out` where that is given."""
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
        wanted = np.unique(index)
        missing = wanted[self._row_of_tile[wanted] < 0]
        floor, palette = self.variation.floor, self.variation.palette
        tiles = np.stack([draw_tile(int(tile), self.tile_size, floor, palette) for tile in missing])
        if self._on_tiles is not None:
            tiles = self._on_tiles(tiles)
        start = len(self._rows)
        self._rows = np.concatenate([self._rows, tiles.reshape(-1, self.tile_size * 3)])
        self._row_of_tile[missing] = start + np.arange(len(missing)) * self.tile_size


@functools.lru_cache(maxsize=32)
def _atlas(name: str, tile_size: int) -> TileAtlas:
    variation = get_variation(name)
    variation.check_camera()
    return TileAtlas(variation, tile_size)


def get_atlas(variation: str, tile_size: int) -> TileAtlas:
    """The atlas of a look and size, shared by the whole process. Raises as `get_variation` and `TileAtlas`."""
    return _atlas(variation, tile_size)


def render_views(views: Views, *, variation: str = "standard", tile_size: int = 8, out: Images | None = None) -> Images:
    """Draws symbolic views uint8 `(N, h, w, 5)` as images uint8 `(N, h*tile_size, w*tile_size, 3)` under a look.

    Equal, pixel by pixel, to MiniGrid's own drawing under the standard look.
    Raises UnknownNameError for an unknown look, InvalidInputError for views that cannot be drawn.
    """
    return get_atlas(variation, tile_size).render(encode_views(views), out)


def draw_tile(tile: int, tile_size: int, floor: Colour | None = None, palette: Palette = ()) -> Images:
    """One tile, uint8 `(t, t, 3)`: MiniGrid's own, or on a floor of that colour, with objects in others."""
    from minigrid.core.grid import Grid

    obj_index, colour, state, direction, highlighted = (int(number) for number in _SYMBOLS[tile])
    obj = make_object(obj_index, colour, state)
    agent = None if direction == NO_AGENT else direction
    if floor is None and not palette:
        # A copy: MiniGrid hands out the array of its own cache. Its frames cut fractions off in the same way.
        return np.array(Grid.render_tile(obj, agent, bool(highlighted), tile_size)).astype(np.uint8)
    return _draw_on_floor(obj, agent, bool(highlighted), tile_size, floor or (0, 0, 0), palette)


def make_object(obj_index: int, colour: int, state: int) -> Any:
    """The MiniGrid object of an encoding, or None for a cell that shows none (empty, unseen, agent)."""
    from minigrid.core.constants import IDX_TO_COLOR, IDX_TO_OBJECT
    from minigrid.core.world_object import WorldObj

    obj = WorldObj.decode(obj_index, colour, state)
    # Goals and lava forget their colour in MiniGrid's decoding.
    if obj is not None and IDX_TO_OBJECT[obj_index] in ("goal", "lava"):
        obj.color = IDX_TO_COLOR[colour]
    return obj


def _draw_on_floor(
    obj: Any, agent: int | None, highlighted: bool, tile_size: int, floor: Colour, palette: Palette
) -> Images:
    """MiniGrid's order of drawing (lines, object, agent, highlight, shrinking) on a canvas of the floor's colour."""
    from minigrid.utils import rendering

    supersampling = 3
    canvas = np.empty((tile_size * supersampling, tile_size * supersampling, 3), dtype=np.uint8)
    canvas[:] = floor
    line = 0.031
    rendering.fill_coords(canvas, rendering.point_in_rect(0, line, 0, 1), (100, 100, 100))
    rendering.fill_coords(canvas, rendering.point_in_rect(0, 1, 0, line), (100, 100, 100))
    if obj is not None:
        draw_object(obj, canvas, palette)
    if agent is not None:
        triangle = rendering.point_in_triangle((0.12, 0.19), (0.87, 0.50), (0.12, 0.81))
        turned = rendering.rotate_fn(triangle, cx=0.5, cy=0.5, theta=0.5 * math.pi * agent)
        rendering.fill_coords(canvas, turned, agent_colour(palette))
    if highlighted:
        rendering.highlight_img(canvas)
    return np.asarray(rendering.downsample(canvas, supersampling)).astype(np.uint8)
