"""Looks: what changes in the picture and in nothing else.

A variation is a pure function of the picture. It has two parts, either of which may be missing:

- `floor`: the colour that is drawn *under* the objects of a MiniGrid, so that walls and objects keep their own;
- `pixels`: a function of finished images, uint8 `(..., C)` to uint8 of the same shape. Where it is `pointwise` (each
  pixel is mapped by itself) it is applied to the ready-drawn tiles once, and costs nothing for each frame.

A third part is a `camera`, which only an environment that has one can change, when it draws (CarRacing: `far`).

Names are joined with a plus: `red+inverted`. The last floor named is drawn; pixel functions follow from left to right.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from rlstitch.errors import InvalidInputError, UnknownNameError

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Variation:
    """One look. `floor` is RGB in 0..255; `pixels` maps uint8 images to uint8 images of the same shape.

    `camera` names where an environment draws from; None: from where it always does.
    """

    name: str
    floor: tuple[int, int, int] | None = None
    pixels: Callable[[Images], Images] | None = None
    pointwise: bool = True
    description: str = ""
    camera: str | None = None

    def apply(self, images: Images) -> Images:
        """The look of finished images, uint8 `(..., H, W, C)`, of any environment.

        Raises InvalidInputError where the look has a floor colour: only an environment that is drawn from tiles has a
        floor, and finished pictures do not tell it from the rest. Or where it moves the camera.
        """
        self.check_camera()
        if self.floor is not None:
            raise InvalidInputError(
                f"variation: {self.name!r} tints the floor of MiniGrid tiles; finished images take one of "
                f"{', '.join(name for name, variation in VARIATIONS.items() if variation.floor is None)}"
            )
        if images.dtype != np.uint8:
            raise InvalidInputError(f"images: expected uint8, found {images.dtype}")
        return images if self.pixels is None else self.pixels(images)

    def check_camera(self) -> None:
        """Raises InvalidInputError where the look moves a camera: of an environment that has none to be moved."""
        if self.camera is not None:
            raise InvalidInputError(
                f"variation: {self.name!r} moves the camera, which CarRacing by the backend gymnasium alone can do"
            )

    def then(self, other: Variation) -> Variation:
        """This look and then the other; a later floor replaces an earlier one, pixel functions are chained."""
        if self.pixels is None or other.pixels is None:
            pixels = self.pixels or other.pixels
        else:
            first, second = self.pixels, other.pixels

            def pixels(images: Images) -> Images:
                return second(first(images))

        return Variation(
            name=f"{self.name}+{other.name}",
            floor=self.floor if other.floor is None else other.floor,
            pixels=pixels,
            pointwise=self.pointwise and other.pointwise,
            description=f"{self.description}; {other.description}",
            camera=self.camera or other.camera,
        )


def invert(images: Images) -> Images:
    """255 − x, the negative of the picture."""
    return np.bitwise_not(images)


_KNOWN = (
    Variation("standard", description="as the environment draws itself"),
    Variation("red", floor=(150, 40, 40), description="red floor"),
    Variation("green", floor=(40, 130, 40), description="green floor"),
    Variation("blue", floor=(40, 40, 150), description="blue floor"),
    Variation("yellow", floor=(150, 150, 40), description="yellow floor"),
    Variation("inverted", pixels=invert, description="negative of the picture"),
)
VARIATIONS = MappingProxyType({variation.name: variation for variation in _KNOWN})
CAMERAS = MappingProxyType({"far": Variation("far", description="camera far away (CarRacing)", camera="far")})
"""Looks that an environment has to draw itself."""


def get_variation(name: str) -> Variation:
    """The variation of that name, or of names joined with a plus.

    Raises UnknownNameError where one of the names is not known.
    """
    parts, known = name.split("+"), {**VARIATIONS, **CAMERAS}
    for part in parts:
        if part not in known:
            raise UnknownNameError("variation", part, known)
    return functools.reduce(Variation.then, (known[part] for part in parts))
