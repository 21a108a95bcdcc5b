"""Steps of pixel looks that move pixels or mix neighbours: blur, zoom, shift, crop. The size is kept.

Each is separable: a weighted sum along each row, then along each column, with whole weights that sum to 2048. After the
first sum twelve bits are kept. Every partial sum is a whole number below 2^24, which float32 holds exactly: a matrix
product gives the same result in whatever order it is summed, on any machine.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from rlstitch.envs.looks.pixels import Images, pixel_fields
from rlstitch.envs.looks.text import Colour, LookKind, Parameter, factor

SUM = 2048
"""What the weights of one new row or column add up to."""
FIRST_BITS, SECOND_BITS = 7, 15
"""Bits that are cut after each sum: 8 + 11 - 7 = 12 bits are left after the first, 8 after the second."""

Weights = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]


class Side(NamedTuple):
    """How one side of length L is made: each place from one old place, from a weighted sum of all, or unchanged."""

    inside: slice
    """The part inside the old image; the rest is filled."""
    places: Index | None = None
    """`(L,)`, where each new one is copied from an old one."""
    weights: Weights | None = None
    """`(L, L)`, whole numbers, each row with the sum 2048."""


class Geometry(ABC):
    """A step that is separable into rows and columns, with a fill colour for what lies outside the old image."""

    pointwise: ClassVar[bool] = False
    fill: Colour = (0, 0, 0)

    @abstractmethod
    def sides(self, height: int, width: int) -> tuple[Side, Side]:
        """Return how rows and columns of an image of that size are made."""

    def __call__(self, images: Images) -> Images:
        """Return images uint8 of the same shape."""
        height, width, channels = images.shape[-3:]
        rows, columns = self.sides(height, width)
        out = images.reshape(-1, height, width, channels)
        if rows.places is not None and columns.places is not None:
            out = out.take(rows.places, axis=1).take(columns.places, axis=2)
        elif rows.weights is not None and columns.weights is not None:
            out = np.concatenate([_weighted(part, rows.weights, columns.weights) for part in _parts(out)])
        else:
            out = out.copy()
        values = fill_values(self.fill, channels)
        out[:, : rows.inside.start] = out[:, rows.inside.stop :] = values
        out[:, :, : columns.inside.start] = out[:, :, columns.inside.stop :] = values
        return out.reshape(images.shape)


@dataclass(frozen=True)
class Blur(Geometry):
    """Gaussian of standard deviation `sigma` pixels, cut at three of them; the image's edge goes on outside."""

    sigma: float

    def sides(self, height: int, width: int) -> tuple[Side, Side]:
        """Return how rows and columns are made."""
        return _blurred(height, self.sigma), _blurred(width, self.sigma)


@dataclass(frozen=True)
class Zoom(Geometry):
    """The image `factor` times as large about its centre.

    Above 1 its edges leave the frame, below 1 it is surrounded by `fill`. `smooth` weighs neighbours by a triangle as
    wide as the coarser of the two grids; else the nearest pixel is taken, so that no new colours arise.
    """

    factor: float
    smooth: bool = True
    fill: Colour = (0, 0, 0)

    def sides(self, height: int, width: int) -> tuple[Side, Side]:
        """Return how rows and columns are made."""
        return _zoomed(height, self.factor, self.smooth), _zoomed(width, self.factor, self.smooth)


@dataclass(frozen=True)
class Shift(Geometry):
    """The image `right` and `down` by whole pixels; what enters is the other edge (`wrap`) or `fill`."""

    right: int
    down: int
    wrap: bool = False
    fill: Colour = (0, 0, 0)

    def sides(self, height: int, width: int) -> tuple[Side, Side]:
        """Return how rows and columns are made."""
        return _shifted(height, self.down, self.wrap), _shifted(width, self.right, self.wrap)


@dataclass(frozen=True)
class Crop(Geometry):
    """The middle `share` of either side stays where it is, rounded to whole pixels; the rest becomes `fill`."""

    share: float
    fill: Colour = (0, 0, 0)

    def sides(self, height: int, width: int) -> tuple[Side, Side]:
        """Return how rows and columns are made."""
        return _cropped(height, self.share), _cropped(width, self.share)


def fill_values(fill: Colour, channels: int) -> Images:
    """Return the fill colour of images of C channels, `(C,)`; grey images take its mean."""
    paint = np.array(fill if channels % 3 == 0 else [sum(fill) // 3], dtype=np.uint8)
    return np.tile(paint, channels // len(paint))


def _parts(images: Images) -> list[Images]:
    """The batch in parts whose sums stay in a processor's cache."""
    count = max(1, (1 << 17) // max(1, images[0].size))
    return [images[start : start + count] for start in range(0, len(images), count)]


def _weighted(images: Images, rows: Weights, columns: Weights) -> Images:
    count, height, width, channels = images.shape
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)
    sums = planes.reshape(-1, width) @ columns.T
    _round(sums, FIRST_BITS)
    sums = np.matmul(rows, sums.reshape(-1, height, width))
    _round(sums, SECOND_BITS)
    out: Images = sums.astype(np.uint8).reshape(count, channels, height, width)
    return out.transpose(0, 2, 3, 1)


def _round(sums: npt.NDArray[np.float32], bits: int) -> None:
    """Divides by 2^bits and rounds halves up, in place; each step is exact."""
    sums += 1 << bits - 1
    sums *= 0.5**bits
    np.floor(sums, out=sums)


@functools.lru_cache(maxsize=64)
def _blurred(length: int, sigma: float) -> Side:
    radius = math.ceil(3 * sigma)
    offsets = np.arange(-radius, radius + 1)
    whole = _whole(np.exp(-0.5 * (offsets / sigma) ** 2))
    weights = np.zeros((length, length), dtype=np.float32)
    for offset, weight in zip(offsets.tolist(), whole.tolist(), strict=True):
        places = np.clip(np.arange(length) + offset, 0, length - 1)
        np.add.at(weights, (np.arange(length), places), weight)
    return Side(slice(0, length), weights=weights)


@functools.lru_cache(maxsize=64)
def _zoomed(length: int, factor: float, smooth: bool) -> Side:
    centres = (np.arange(length) + 0.5 - length / 2) / factor + length / 2  # in the old image, pixel i is [i, i + 1)
    inside = _interval((centres > 0) & (centres < length))
    if not smooth:
        return Side(inside, places=np.clip(np.floor(centres), 0, length - 1).astype(np.intp))
    reach = max(1.0, 1 / factor)
    weights = np.zeros((length, length), dtype=np.float32)
    for row, centre in enumerate(np.clip(centres, 0.5, length - 0.5).tolist()):
        weights[row] = _whole(np.maximum(0, 1 - np.abs(np.arange(length) + 0.5 - centre) / reach))
    return Side(inside, weights=weights)


@functools.lru_cache(maxsize=64)
def _shifted(length: int, distance: int, wrap: bool) -> Side:
    places = np.arange(length, dtype=np.intp) - distance
    if wrap:
        return Side(slice(0, length), places=places % length)
    return Side(_interval((places >= 0) & (places < length)), places=np.clip(places, 0, length - 1))


@functools.lru_cache(maxsize=64)
def _cropped(length: int, share: float) -> Side:
    border = min(math.floor(length * (1 - share) / 2 + 0.5), (length - 1) // 2)
    return Side(slice(border, length - border))


def _interval(inside: npt.NDArray[np.bool_]) -> slice:
    places = np.flatnonzero(inside)
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)


def _whole(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Whole weights with the sum 2048, in proportion; what rounding leaves over goes to the largest."""
    weights: npt.NDArray[np.float64] = np.floor(shares / shares.sum() * SUM + 0.5)
    weights[int(shares.argmax())] += SUM - weights.sum()
    return weights


def _zoom(factor: float, filter: str, fill: Colour) -> dict[str, Any]:
    return pixel_fields(Zoom(factor, filter == "smooth", fill))


def _shift(right: int, down: int, edge: str, fill: Colour) -> dict[str, Any]:
    return pixel_fields(Shift(right, down, edge == "wrap", fill))


_FILL = Parameter("fill", "colour", (0, 0, 0), optional=True, named=True)
LOOKS = (
    LookKind(
        "blur",
        "pixels",
        "Gaussian blur, sigma in pixels",
        lambda sigma: pixel_fields(Blur(sigma)),
        factor(0.1, 20.0, "sigma"),
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
        lambda share, fill: pixel_fields(Crop(share, fill)),
        (Parameter("share", "number", low=0.01, high=1), _FILL),
        example="crop:0.8",
    ),
)
