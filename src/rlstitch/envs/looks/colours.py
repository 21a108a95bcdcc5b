"""Looks that map each pixel by itself: tables, channel orders, mixtures of channels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from rlstitch.envs.looks.pixels import Images, pixel_fields
from rlstitch.envs.looks.text import LookKind, Parameter, factor

Row = tuple[int, int, int]

UNIT = 1 << 16
LUMA: Row = (19595, 38470, 7471)
"""Shares of red, green and blue in brightness (ITU-R BT.601), in 1 / 65536."""
_ORDERS = ("rbg", "grb", "gbr", "brg", "bgr")


@dataclass(frozen=True)
class Table:
    """Every level of every channel is looked up in 256 new ones."""

    levels: bytes
    pointwise: ClassVar[bool] = True

    def __call__(self, images: Images) -> Images:
        """Return images uint8 of the same shape."""
        replaced = bytearray(np.ascontiguousarray(images)).translate(self.levels)  # twice as fast as a gather
        return np.frombuffer(replaced, dtype=np.uint8).reshape(images.shape)


@dataclass(frozen=True)
class Order:
    """Channels in another order; `channels[i]` is where channel i is taken from. Grey images stay."""

    channels: Row
    pointwise: ClassVar[bool] = True

    def __call__(self, images: Images) -> Images:
        """Return images uint8 of the same shape."""
        if images.shape[-1] % 3:
            return images.copy()
        out = np.empty_like(images)
        for channel, source in enumerate(self.channels):
            out[..., channel::3] = images[..., source::3]
        return out


@dataclass(frozen=True)
class Mix:
    """Channel i becomes the sum of row i times (R, G, B), in 1 / 65536, rounded and cut to 0..255. Grey images stay.

    Each row sums to 65536, so grey pixels stay what they are.
    """

    rows: tuple[Row, Row, Row]
    pointwise: ClassVar[bool] = True

    def __call__(self, images: Images) -> Images:
        """Return images uint8 of the same shape."""
        if images.shape[-1] % 3:
            return images.copy()
        out = np.empty_like(images)
        planes = [images[..., channel::3].astype(np.int32) for channel in range(3)]
        made: dict[Row, Images] = {}
        for channel, row in enumerate(self.rows):
            if row not in made:
                total = np.full_like(planes[0], UNIT // 2)
                for plane, weight in zip(planes, row, strict=True):
                    if weight:
                        total += plane * np.int32(weight)
                total >>= 16
                made[row] = np.clip(total, 0, 255, out=total).astype(np.uint8)
            out[..., channel::3] = made[row]
        return out


INVERT = Table(bytes(range(255, -1, -1)))
"""255 - x."""


def brightness(factor: float) -> Table:
    """Return x times `factor`."""
    return _table(np.arange(256) * factor)


def contrast(factor: float) -> Table:
    """Return 127.5 + (x - 127.5) times `factor`: the distance from mid grey, which is the same for every image."""
    return _table(127.5 + (np.arange(256) - 127.5) * factor)


def gamma(exponent: float) -> Table:
    """Return 255 (x / 255) ** `exponent`: below 1 brightens dark levels."""
    return _table(255 * (np.arange(256) / 255) ** exponent)


def solarize(threshold: int) -> Table:
    """Return 255 - x for levels x of `threshold` and above."""
    levels = np.arange(256)
    return _table(np.where(levels < threshold, levels, 255.0 - levels))


def saturation(factor: float) -> Mix:
    """Return brightness plus `factor` times the distance from it: 0 is grey, 1 the image itself."""
    return _mix([[(1 - factor) * share / UNIT + factor * (i == j) for j, share in enumerate(LUMA)] for i in range(3)])


def hue(degrees: float) -> Mix | Order:
    """Return colours turned about the axis of greys in RGB: 120 degrees take red to green, green to blue, blue to red.

    The rotation keeps the mean of the channels and the distance from grey, but for what is cut to 0..255.
    """
    if degrees % 120 == 0:
        turns = int(degrees // 120) % 3
        return Order(tuple((channel - turns) % 3 for channel in range(3)))  # type: ignore[arg-type]
    angle = math.radians(degrees)
    same = (1 + 2 * math.cos(angle)) / 3
    third, side = (1 - math.cos(angle)) / 3, math.sin(angle) / math.sqrt(3)
    before, after = third + side, third - side
    return _mix([[same, after, before], [before, same, after], [after, before, same]])


def _table(levels: npt.NDArray[np.floating[Any]]) -> Table:
    return Table(np.clip(np.floor(levels + 0.5), 0, 255).astype(np.uint8).tobytes())


def _mix(matrix: list[list[float]]) -> Mix:
    rows: list[Row] = []
    for channel, weights in enumerate(matrix):
        whole = [round(weight * UNIT) for weight in weights]
        whole[channel] += UNIT - sum(whole)
        rows.append((whole[0], whole[1], whole[2]))
    return Mix((rows[0], rows[1], rows[2]))


def _order(order: str) -> dict[str, Any]:
    first, second, third = ("rgb".index(letter) for letter in order)
    return pixel_fields(Order((first, second, third)))


LOOKS = (
    LookKind("inverted", "pixels", "negative", lambda: pixel_fields(INVERT), aliases=("invert",), example="inverted"),
    LookKind(
        "greyscale",
        "pixels",
        "brightness in all channels",
        lambda: pixel_fields(saturation(0.0)),
        aliases=("grayscale",),
        example="greyscale",
    ),
    LookKind(
        "brightness",
        "pixels",
        "levels times the factor",
        lambda factor: pixel_fields(brightness(factor)),
        factor(),
        example="brightness:1.5",
    ),
    LookKind(
        "contrast",
        "pixels",
        "distance from mid grey times the factor",
        lambda factor: pixel_fields(contrast(factor)),
        factor(),
        example="contrast:0.4",
    ),
    LookKind(
        "gamma",
        "pixels",
        "power of the level; below 1 brightens dark levels",
        lambda exponent: pixel_fields(gamma(exponent)),
        factor(0.05, 10.0, "exponent"),
        example="gamma:0.4",
    ),
    LookKind(
        "solarize",
        "pixels",
        "negative of the levels from the threshold on",
        lambda threshold: pixel_fields(solarize(threshold)),
        (Parameter("threshold", "whole", low=0, high=255),),
        aliases=("solarise",),
        example="solarize:128",
    ),
    LookKind(
        "saturation",
        "pixels",
        "distance of colours from grey times the factor",
        lambda factor: pixel_fields(saturation(factor)),
        factor(),
        example="saturation:0.3",
    ),
    LookKind(
        "hue",
        "pixels",
        "colours turned by degrees about the grey axis",
        lambda degrees: pixel_fields(hue(degrees)),
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
