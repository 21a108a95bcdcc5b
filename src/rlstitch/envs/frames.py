"""From the images of an environment to the observations of an agent: crop, look, size, stack of frames.

In that order, so that a look is applied to the original colours and not to those that area averaging mixes. All of it
is a function of the images alone: one rollout and two observers give exact pairs.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from rlstitch.envs.looks.pixels import Images, PixelFunction
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError

Rows = npt.NDArray[np.intp]


def shrink(images: Images, side: int) -> Images:
    """Return images uint8 `(N, H, W, C)` shrunk to `(N, side, side, C)`, each pixel the mean of the area it covers.

    Rounded once, from sums of whole numbers that floats hold exactly: pixels do not depend on the batch.
    """
    count, height, width, channels = images.shape
    if (height, width) == (side, side):
        return images
    kind = np.float32 if 255 * height * width < 2**24 else np.float64
    rows = np.matmul(_covered(height, side, kind), images.reshape(count, height, -1).astype(kind))
    sums = np.matmul(_covered(width, side, kind), rows.reshape(count, side, width, channels))
    means: Images = np.rint(sums / kind(height * width)).astype(np.uint8)
    return means


@functools.lru_cache(maxsize=64)
def _covered(old: int, new: int, kind: type[np.floating[Any]]) -> npt.NDArray[Any]:
    """How much of each old pixel each new one covers, `(new, old)`, in whole units: rows sum to `old`."""
    edges, pixels = np.arange(new + 1)[:, None] * old, np.arange(old) * new
    shares = np.minimum(edges[1:], pixels + new) - np.maximum(edges[:-1], pixels)
    return shares.clip(0).astype(kind)


def seen_shape(world: World, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the shape of a world's observations `(H', W', C * frame_stack)` for that of its environment's images.

    Raises:
        InvalidInputError: where the images have fewer rows than `world.crop`.
    """
    height, width, channels = image_shape
    if world.crop is not None and world.crop > height:
        raise InvalidInputError(
            f"crop: expected at most {height}, the rows that {world.environment} draws, found {world.crop}"
        )
    rows, columns = (world.crop or height, width) if world.size is None else (world.size, world.size)
    return rows, columns, channels * world.frame_stack


class Observer:
    """Observations of `num_envs` environments of a world whose images have one shape `(H, W, C)`.

    Observations are uint8 `(N, H', W', C * frame_stack)`, oldest image first, a fresh array after every step. At the
    start of an episode its first image fills the stack, or zeros stand before it (`world.padding`).

    Raises:
        InvalidInputError: as `seen_shape`.
    """

    def __init__(self, world: World, look: PixelFunction, image_shape: tuple[int, int, int], num_envs: int) -> None:
        self.world, self._look, self._channels = world, look, image_shape[2]
        self.shape = seen_shape(world, image_shape)
        self.observations: Images = np.zeros((num_envs, *self.shape), dtype=np.uint8)

    def see(self, images: Images) -> Images:
        """Return single images under crop, look and size, uint8 `(N, H', W', C)`, of images uint8 `(N, H, W, C)`."""
        if self.world.crop is not None:
            images = images[:, : self.world.crop]
        seen = self._look(images)
        return seen if self.world.size is None else shrink(seen, self.world.size)

    def start(self, rows: Rows, images: Images) -> None:
        """Take the images `(len(rows), H, W, C)` of environments that begin an episode; changed in place."""
        self.observations[rows] = np.tile(self.see(images), (1, 1, 1, self.world.frame_stack))
        if self.world.padding == "zeros":
            self.observations[rows, ..., : -self._channels] = 0

    def step(self, images: Images) -> None:
        """Take the images `(N, H, W, C)` of all environments after a step; the observations are a fresh array."""
        seen = self.see(images)
        if self.world.frame_stack > 1:
            seen = np.concatenate([self.observations[..., self._channels :], seen], axis=-1)
        self.observations = seen.copy() if seen is images else seen
