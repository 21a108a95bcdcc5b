"""Every look that has a name, with its parameters and what it does."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from rlstitch.envs.looks import geometry, noise, pixels
from rlstitch.envs.looks.palette import PALETTE_NAMES, TINTS, palette_of
from rlstitch.envs.looks.pixels import Chain, Step
from rlstitch.envs.looks.text import Colour, LookKind, Parameter
from rlstitch.errors import InvalidInputError

MAX_SEED = 2**31 - 1
_BLACK: Colour = (0, 0, 0)
_ORDERS = ("rbg", "grb", "gbr", "brg", "bgr")
_FILL = Parameter("fill", "colour", _BLACK, optional=True, named=True)
_SEED = Parameter("seed", "whole", 0, optional=True, named=True, high=MAX_SEED)


def _fields(*steps: Step) -> dict[str, Any]:
    chain = Chain(steps)
    return {"pixels": chain, "pointwise": chain.pointwise}


def _factor(low: float = 0.0, high: float = 10.0, name: str = "factor") -> tuple[Parameter, ...]:
    return (Parameter(name, "number", low=low, high=high),)


def _tint(name: str) -> LookKind:
    return LookKind(name, "tint", f"{name} floor", lambda: {"floor": TINTS[name], "tint": name}, example=name)


def _own_tint(red: int, green: int, blue: int) -> dict[str, Any]:
    return {"floor": (red, green, blue), "tint": f"tint:{red},{green},{blue}"}


def _recolour(**colours: Colour | None) -> dict[str, Any]:
    palette = palette_of(**colours)
    if not palette:
        raise InvalidInputError(f"variation: recolour: expected one or more of {', '.join(PALETTE_NAMES)}, found none")
    return {"palette": palette}


def _order(order: str) -> dict[str, Any]:
    first, second, third = ("rgb".index(letter) for letter in order)
    return _fields(pixels.Order((first, second, third)))


def _zoom(factor: float, filter: str, fill: Colour) -> dict[str, Any]:
    return _fields(geometry.Zoom(factor, filter == "smooth", fill))


def _shift(right: int, down: int, edge: str, fill: Colour) -> dict[str, Any]:
    return _fields(geometry.Shift(right, down, edge == "wrap", fill))


def _texture(kind: noise.Kind, bg: Colour, tol: int, size: int, ink: Colour, seed: int) -> dict[str, Any]:
    return _fields(noise.Texture(kind, bg, tol, size, ink, seed))


_DRAWN = (
    LookKind("standard", "none", "as the environment draws itself", dict, example="standard"),
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
)
_COLOURS = (
    LookKind("inverted", "pixels", "negative", lambda: _fields(pixels.INVERT), aliases=("invert",), example="inverted"),
    LookKind(
        "greyscale",
        "pixels",
        "brightness in all channels",
        lambda: _fields(pixels.saturation(0.0)),
        aliases=("grayscale",),
        example="greyscale",
    ),
    LookKind(
        "brightness",
        "pixels",
        "levels times the factor",
        lambda factor: _fields(pixels.brightness(factor)),
        _factor(),
        example="brightness:1.5",
    ),
    LookKind(
        "contrast",
        "pixels",
        "distance from mid grey times the factor",
        lambda factor: _fields(pixels.contrast(factor)),
        _factor(),
        example="contrast:0.4",
    ),
    LookKind(
        "gamma",
        "pixels",
        "power of the level; below 1 brightens the dark",
        lambda exponent: _fields(pixels.gamma(exponent)),
        _factor(0.05, 10.0, "exponent"),
        example="gamma:0.4",
    ),
    LookKind(
        "saturation",
        "pixels",
        "distance of colours from grey times the factor",
        lambda factor: _fields(pixels.saturation(factor)),
        _factor(),
        example="saturation:0.3",
    ),
    LookKind(
        "hue",
        "pixels",
        "colours turned by degrees about the grey axis",
        lambda degrees: _fields(pixels.hue(degrees)),
        (Parameter("degrees", "number", low=-360, high=360, period=360),),
        example="hue:120",
    ),
    LookKind(
        "channels",
        "pixels",
        "red, green and blue in another order",
        _order,
        (Parameter("order", "choice", choices=_ORDERS),),
        example="channels:bgr",
    ),
)
_MOVED = (
    LookKind(
        "blur",
        "pixels",
        "Gaussian blur, sigma in pixels",
        lambda sigma: _fields(geometry.Blur(sigma)),
        _factor(0.1, 20.0, "sigma"),
        example="blur:1.5",
    ),
    LookKind(
        "zoom",
        "pixels",
        "larger about the centre; below 1 smaller, on a ground of the colour fill",
        _zoom,
        (
            Parameter("factor", "number", low=0.1, high=10),
            Parameter("filter", "choice", "smooth", optional=True, named=True, choices=("smooth", "nearest")),
            _FILL,
        ),
        example="zoom:1.5",
    ),
    LookKind(
        "shift",
        "pixels",
        "moved right and down by pixels; the other edge enters, or the colour fill",
        _shift,
        (
            Parameter("right", "whole", low=-4096, high=4096),
            Parameter("down", "whole", 0, optional=True, low=-4096, high=4096),
            Parameter("edge", "choice", "pad", optional=True, named=True, choices=("pad", "wrap")),
            _FILL,
        ),
        example="shift:8,4",
    ),
    LookKind(
        "crop",
        "pixels",
        "the middle share of each side in its place, the colour fill around it",
        lambda share, fill: _fields(geometry.Crop(share, fill)),
        (Parameter("share", "number", low=0.01, high=1), _FILL),
        example="crop:0.8",
    ),
    LookKind(
        "noise",
        "pixels",
        "Gaussian noise, sigma as a share of 255; the same picture gets the same noise",
        lambda sigma, seed: _fields(noise.Noise(sigma, seed)),
        (Parameter("sigma", "number", low=0, high=1), _SEED),
        example="noise:0.05",
    ),
    LookKind(
        "texture",
        "pixels",
        "a pattern of the colour ink where the picture has the colour bg, within tol levels",
        _texture,
        (
            Parameter("kind", "choice", choices=noise.KINDS),
            Parameter("bg", "colour", named=True),
            Parameter("tol", "whole", 0, optional=True, named=True, high=255),
            Parameter("size", "whole", 4, optional=True, named=True, low=1, high=4096),
            Parameter("ink", "colour", (128, 128, 128), optional=True, named=True),
            _SEED,
        ),
        example="texture:checks,bg=000000",
    ),
)

LOOKS: MappingProxyType[str, LookKind] = MappingProxyType({kind.name: kind for kind in (*_DRAWN, *_COLOURS, *_MOVED)})
"""The kinds of looks by their names."""
NAMES: MappingProxyType[str, LookKind] = MappingProxyType(
    {name: kind for kind in LOOKS.values() for name in (kind.name, *kind.aliases)}
)
"""The kinds of looks by their names and aliases."""
