"""Drawing one tile with MiniGrid's own code, on a floor of another colour and with other colours of objects.

MiniGrid's drawing code is run with another table of colours; the table of its module stays as it is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import numpy as np
from minigrid.core.constants import COLORS, IDX_TO_COLOR, IDX_TO_OBJECT
from minigrid.core.grid import Grid
from minigrid.core.world_object import WorldObj
from minigrid.utils import rendering

from rlstitch.envs.looks.drawn import OBJECTS, Palette
from rlstitch.envs.looks.pixels import Images
from rlstitch.envs.looks.text import Colour

_AGENT, _LAVA = (255, 0, 0), (255, 128, 0)  # colours of MiniGrid that stand in no table
_SUPERSAMPLING, _LINE = 3, 0.031


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
    colours = {**COLORS, **{name: np.array(colour) for name, colour in palette if name in OBJECTS}}
    constants = {**render.__globals__, "COLORS": colours}
    return FunctionType(render.__code__, constants, render.__name__, render.__defaults__, render.__closure__)
