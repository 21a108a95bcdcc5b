"""Looks that an environment draws itself: the colour of the floor, colours of objects, the camera.

Which of them an environment has is for its family to say.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from rlstitch.envs.looks.text import Colour, LookKind, Parameter
from rlstitch.errors import InvalidInputError

TINTS: MappingProxyType[str, Colour] = MappingProxyType(
    {
        "red": (150, 40, 40),
        "green": (40, 130, 40),
        "blue": (40, 40, 150),
        "yellow": (150, 150, 40),
        "white": (255, 255, 255),
        "black": (0, 0, 0),
        "violet": (110, 40, 150),
    }
)
"""Floors that have a name."""
OBJECTS = ("red", "green", "blue", "purple", "yellow", "grey")
"""Names of colours of objects, in MiniGrid: walls are grey, goals green."""
PALETTE_NAMES = (*OBJECTS, "agent", "lava")

Palette = tuple[tuple[str, Colour], ...]
"""Colours by what they replace, ordered by name."""


def merge_palettes(first: Palette, second: Palette) -> Palette:
    """Return both; where they name the same object, the second."""
    return tuple(sorted({**dict(first), **dict(second)}.items()))


def _own_tint(red: int, green: int, blue: int) -> dict[str, Any]:
    return {"floor": (red, green, blue), "tint": f"tint:{red},{green},{blue}"}


def _recolour(**colours: Colour | None) -> dict[str, Any]:
    palette = tuple(sorted((name, colour) for name, colour in colours.items() if colour is not None))
    if not palette:
        raise InvalidInputError(f"look: recolour: expected one or more of {', '.join(PALETTE_NAMES)}, found none")
    return {"palette": palette}


def _tint(name: str) -> LookKind:
    return LookKind(name, "tint", f"{name} floor", lambda: {"floor": TINTS[name], "tint": name}, example=name)


LOOKS = (
    LookKind("standard", "none", "the environment's own look", dict, example="standard"),
    *(_tint(name) for name in TINTS),
    LookKind(
        "tint",
        "tint",
        "floor of your own colour, 0 to 255 each",
        _own_tint,
        tuple(Parameter(name, "whole", high=255) for name in ("red", "green", "blue")),
        example="tint:90,60,110",
    ),
    LookKind(
        "recolour",
        "recolour",
        "other colours for MiniGrid's objects, agent and lava",
        _recolour,
        tuple(Parameter(name, "colour", optional=True, named=True) for name in PALETTE_NAMES),
        aliases=("recolor", "palette"),
        example="recolour:yellow=ff69b4,grey=805030",
    ),
    LookKind("far", "camera", "camera far away (CarRacing)", lambda: {"camera": "far"}, example="far"),
    LookKind(
        "multicolour",
        "camera",
        "a ground of another colour in each episode (CarRacing)",
        lambda: {"camera": "multicolour"},
        aliases=("multicolor",),
        example="multicolour",
    ),
)
