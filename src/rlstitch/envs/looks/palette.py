"""Looks that an environment draws itself: the floor under MiniGrid's objects, and the colours of the objects.

MiniGrid's own drawing code is run with another table of colours; the table of its module stays as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import FunctionType, MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from rlstitch.envs.looks.text import Colour

TINTS: MappingProxyType[str, Colour] = MappingProxyType(
    {"red": (150, 40, 40), "green": (40, 130, 40), "blue": (40, 40, 150), "yellow": (150, 150, 40)}
)
"""Floors that have a name."""
OBJECTS = ("red", "green", "blue", "purple", "yellow", "grey")
"""The names of MiniGrid's colours; walls are grey, goals green."""
AGENT, LAVA = (255, 0, 0), (255, 128, 0)
"""Colours of MiniGrid that stand in no table."""
PALETTE_NAMES = (*OBJECTS, "agent", "lava")

Palette = tuple[tuple[str, Colour], ...]
Canvas = npt.NDArray[np.uint8]


def palette_of(**colours: Colour | None) -> Palette:
    """The colours that are given, ordered by name."""
    return tuple(sorted((name, colour) for name, colour in colours.items() if colour is not None))


def merge_palettes(first: Palette, second: Palette) -> Palette:
    """Both; where they name the same object, the second."""
    return tuple(sorted({**dict(first), **dict(second)}.items()))


def draw_object(obj: Any, canvas: Canvas, palette: Palette) -> None:
    """Draws a MiniGrid object on the canvas `(S, S, 3)`, its colours taken from `palette` where that names them."""
    if not palette:
        obj.render(canvas)
        return
    _render_with(type(obj).render, palette)(obj, canvas)
    chosen = dict(palette)
    if obj.type == "lava" and "lava" in chosen:
        canvas[(canvas == LAVA).all(axis=-1)] = chosen["lava"]


def agent_colour(palette: Palette) -> Colour:
    """The colour of the triangle that is the agent."""
    return dict(palette).get("agent", AGENT)


@functools.lru_cache(maxsize=256)
def _render_with(render: FunctionType, palette: Palette) -> Callable[[Any, Canvas], None]:
    own: Mapping[str, Any] = render.__globals__
    colours = {**own["COLORS"], **{name: np.array(colour) for name, colour in palette if name in OBJECTS}}
    return FunctionType(
        render.__code__, {**own, "COLORS": colours}, render.__name__, render.__defaults__, render.__closure__
    )
