"""Functions of finished images, as small values: the steps that pixel looks are made of, and chains of them.

A step says what is done, in whole numbers; calling it does it with NumPy, and `rlstitch.envs.looks.tensors` does the
same with torch, bit for bit. Images are uint8 `(..., H, W, C)`: where C is a multiple of three they are RGB images one
after the other, else C grey ones. Each image is treated alone, so the look of a stack of frames is the stack of their
looks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
PixelFunction = Callable[[Images], Images]
"""From images uint8 `(..., H, W, C)` to images of the same shape."""


class Step(Protocol):
    """One function of images. `pointwise`: each pixel is mapped by itself, wherever it lies."""

    pointwise: ClassVar[bool]

    def __call__(self, images: Images) -> Images:
        """Return images uint8 of the same shape, a fresh array."""


@dataclass(frozen=True)
class Chain:
    """Steps from left to right."""

    steps: tuple[Step, ...]

    @property
    def pointwise(self) -> bool:
        """Whether every step is."""
        return all(step.pointwise for step in self.steps)

    def __call__(self, images: Images) -> Images:
        """Return images uint8 of the same shape."""
        if not images.size:
            return images.copy()
        for step in self.steps:
            images = step(images)
        return images

    def split(self) -> tuple[Chain | None, Chain | None]:
        """The pointwise steps that come first, which can be done on tiles, and the rest; None for none."""
        count = next((i for i, step in enumerate(self.steps) if not step.pointwise), len(self.steps))
        first, rest = self.steps[:count], self.steps[count:]
        return Chain(first) if first else None, Chain(rest) if rest else None


@dataclass(frozen=True)
class FunctionStep:
    """Any function of images as a step, of which nothing is known."""

    function: Callable[[Images], Images]
    pointwise: ClassVar[bool] = False

    def __call__(self, images: Images) -> Images:
        """Return images uint8 of the same shape."""
        return self.function(images)


@dataclass(frozen=True)
class PointFunctionStep(FunctionStep):
    """Any function that maps each pixel by itself."""

    pointwise: ClassVar[bool] = True


def pixel_fields(*steps: Step) -> dict[str, Any]:
    """Return the fields of a look that consists of steps."""
    chain = Chain(steps)
    return {"pixels": chain, "pointwise": chain.pointwise}
