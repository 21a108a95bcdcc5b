"""Steps of pixel looks that add something: noise, and a texture where the background is."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from rlstitch.envs.looks.pixels import Images, pixel_fields
from rlstitch.envs.looks.text import Colour, LookKind, Parameter
from rlstitch.errors import InvalidInputError

Words = npt.NDArray[np.uint32]
Kind = Literal["stripes", "rows", "checks", "dots", "grain"]
FACTORS = (0x21F0AAAD, 0x735A2D97)
"""Odd and below 2^31: a product with 32 bits fits a signed word of 64, which is what torch has."""


@dataclass(frozen=True)
class Noise:
    """Gaussian noise of standard deviation `sigma` times 255, a pure function of the image and the seed.

    An image's digest is a weighted sum of its levels modulo 2^32. Digest, seed and place of a level are mixed into 16
    bits, which choose one of 65,536 equally likely values of the Gaussian. So the same image always gets the same
    noise, in any batch and on any device; images that differ in one level get unrelated noise.
    """

    sigma: float
    seed: int = 0
    pointwise: ClassVar[bool] = False

    def __call__(self, images: Images) -> Images:
        """Return images uint8 of the same shape."""
        height, width, channels = images.shape[-3:]
        depth = 3 if channels % 3 == 0 else 1
        weights, places = keys(height * width * depth, self.seed)
        levels = levels_of(self.sigma)
        pictures = images.reshape(-1, height * width, channels // depth, depth)
        out = np.empty_like(pictures)
        for picture, result in zip(pictures, out, strict=True):
            for number in range(channels // depth):
                flat = picture[:, number].reshape(-1)
                digest = np.dot(flat.astype(np.uint32), weights).astype(np.uint32).reshape(1)
                chosen = levels.take(mix(places + mix(digest)) >> np.uint32(16))
                chosen += flat
                result[:, number] = np.clip(chosen, 0, 255, out=chosen).reshape(-1, depth)
        return out.reshape(images.shape)


@dataclass(frozen=True)
class Texture:
    """A pattern of the colour `ink` where an image has the colour `background`, within `tolerance` in each channel.

    The pattern stands still in the frame. `size` is its width in pixels; `seed` is used by grain alone.
    """

    kind: Kind
    background: Colour
    tolerance: int = 0
    size: int = 4
    ink: Colour = (128, 128, 128)
    seed: int = 0
    pointwise: ClassVar[bool] = False

    def __call__(self, images: Images) -> Images:
        """Return images uint8 of the same shape.

        Raises:
            InvalidInputError: for grey ones.
        """
        check_rgb(images.shape)
        near = np.ones((*images.shape[:-1], images.shape[-1] // 3), dtype=np.bool_)
        for channel, level in enumerate(self.background):
            plane = images[..., channel::3]
            near &= (plane >= max(0, level - self.tolerance)) & (plane <= min(255, level + self.tolerance))
        return self.paint(images, near)

    def paint(self, images: Images, mask: npt.NDArray[np.bool_]) -> Images:
        """Return images with the texture where a mask, bool `(..., H, W)` or `(..., H, W, C / 3)`, is true.

        Raises:
            InvalidInputError: for grey images and for a mask of another kind.
        """
        check_rgb(images.shape)
        height, width, channels = images.shape[-3:]
        if mask.ndim == images.ndim - 1:
            mask = mask[..., None]
        if mask.dtype != np.bool_ or mask.shape not in ((*images.shape[:-1], 1), (*images.shape[:-1], channels // 3)):
            raise InvalidInputError(f"mask: expected bool {images.shape[:-1]}, found {mask.dtype} {mask.shape}")
        painted = mask & pattern(self, height, width)[..., None]
        out = images.copy()
        for channel, level in enumerate(self.ink):
            np.copyto(out[..., channel::3], np.uint8(level), where=painted)
        return out


def check_rgb(shape: tuple[int, ...]) -> None:
    """Check that the last axis holds RGB images.

    Raises:
        InvalidInputError: where it does not.
    """
    if shape[-1] % 3:
        raise InvalidInputError(f"images: expected RGB (..., H, W, 3) for a look with colours, found {tuple(shape)}")


def mix(words: Words) -> Words:
    """Return words of 32 bits, scrambled one to one by shifts and multiplications (C. Wellons' hash prospector).

    `words` has at least one axis: NumPy warns of an overflow in single numbers.
    """
    out = words ^ (words >> np.uint32(16))
    for factor in FACTORS:
        out *= np.uint32(factor)
        out ^= out >> np.uint32(15)
    return out


@functools.lru_cache(maxsize=16)
def keys(count: int, seed: int) -> tuple[Words, Words]:
    """Return for each of `count` levels of an image its weight in the digest (odd) and its place in the noise."""
    start = mix(np.array([seed], dtype=np.uint32))
    places = mix(np.arange(count, dtype=np.uint32) ^ start)
    return mix(places) | np.uint32(1), places


@functools.lru_cache(maxsize=16)
def levels_of(sigma: float) -> npt.NDArray[np.int16]:
    """Return 65,536 equally likely values of Gaussian noise, rounded to levels."""
    from scipy.special import ndtri

    chances = (np.arange(1 << 16) + 0.5) / (1 << 16)
    levels: npt.NDArray[np.float64] = ndtri(chances) * sigma * 255
    return np.rint(np.clip(levels, -255, 255)).astype(np.int16)


@functools.lru_cache(maxsize=64)
def pattern(texture: Texture, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return where the ink is, bool `(H, W)`."""
    rows, columns = np.indices((height, width)) // texture.size
    if texture.kind == "grain":
        start = mix(np.array([texture.seed], dtype=np.uint32))
        return (mix(mix(rows.astype(np.uint32) ^ start) + columns.astype(np.uint32)) & np.uint32(1)).astype(np.bool_)
    if texture.kind == "dots":
        period = 2 * texture.size
        y, x = (np.indices((height, width)) % period + 0.5) - texture.size
        return np.asarray(x**2 + y**2 < (texture.size * 0.75) ** 2)
    place = {"stripes": columns, "rows": rows, "checks": rows + columns}[texture.kind]
    return np.asarray(place % 2 == 0)


def _texture(kind: Kind, bg: Colour, tol: int, size: int, ink: Colour, seed: int) -> dict[str, Any]:
    return pixel_fields(Texture(kind, bg, tol, size, ink, seed))


_SEED = Parameter("seed", "whole", 0, optional=True, named=True, high=2**31 - 1)
LOOKS = (
    LookKind(
        "noise",
        "pixels",
        "Gaussian noise, sigma as a share of 255; the same image gets the same noise",
        lambda sigma, seed: pixel_fields(Noise(sigma, seed)),
        (Parameter("sigma", "number", low=0, high=1), _SEED),
        example="noise:0.05",
    ),
    LookKind(
        "texture",
        "pixels",
        "a pattern of the colour ink where the image has the colour bg, within tol levels",
        _texture,
        (
            Parameter("kind", "choice", choices=get_args(Kind)),
            Parameter("bg", "colour", named=True),
            Parameter("tol", "whole", 0, optional=True, named=True, high=255),
            Parameter("size", "whole", 4, optional=True, named=True, low=1, high=4096),
            Parameter("ink", "colour", (128, 128, 128), optional=True, named=True),
            _SEED,
        ),
        example="texture:checks,bg=000000",
    ),
)
