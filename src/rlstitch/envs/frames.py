"""From what an environment shows to the observations of an agent: crop, look, size of images, and stacks.

In that order, so that a look is applied to the original colours and not to those that area averaging mixes. All of it
is a function of what is shown: one rollout and two observers give exact pairs.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rlstitch.envs.looks.pixels import Images, PixelFunction
from rlstitch.envs.observation import Observations, Shape, box_of, is_image
from rlstitch.envs.parts import Layout, see_images, shape_of
from rlstitch.envs.registry import OF_IMAGES
from rlstitch.envs.world import World, require_defaults
from rlstitch.errors import InvalidInputError

Rows = npt.NDArray[np.intp]


def shrink(images: Images, side: int) -> Images:
    """Return images uint8 `(N, H, W, C)` shrunk to `(N, side, side, C)`, each pixel the mean of the area it covers.

    Rounded once, from sums of whole numbers that floats hold exactly: pixels do not depend on the batch.
    """
    count, height, width, channels = images.shape
    if (height, width) == (side, side):
        return images
    down, across = _covered(height, side), _covered(width, side)
    small = np.empty((count, side, side, channels), dtype=np.uint8)
    for image, shrunk in zip(images, small, strict=True):  # one by one: what lies between fits in the cache
        rows = down @ image.reshape(height, -1).astype(np.float32)
        columns = rows.reshape(side, width, channels).swapaxes(0, 1).reshape(width, -1)
        sums = across @ columns.astype(np.float64)
        shrunk[:] = np.rint(sums / (height * width)).reshape(side, side, channels).swapaxes(0, 1)
    return small


@functools.lru_cache(maxsize=64)
def _covered(old: int, new: int) -> Any:
    """How much of each old pixel each new one covers, sparse `(new, old)`, in whole units: rows sum to `old`."""
    from scipy.sparse import csr_array  # only here: a world without images needs no SciPy

    edges, pixels = np.arange(new + 1)[:, None] * old, np.arange(old) * new
    shares = np.minimum(edges[1:], pixels + new) - np.maximum(edges[:-1], pixels)
    return csr_array(shares.clip(0).astype(np.float32))


def seen_shape(world: World, shape: Shape) -> Shape:
    """Return the shape of a world's observations for that of what its environment shows.

    Images `(H, W, C)` become `(H', W', C * frame_stack)`, vectors `(D,)` become `(D * frame_stack,)`.

    Raises:
        InvalidInputError: where the images have fewer rows than `world.crop`, or vectors would have a look, a crop or a
            size.
    """
    if not is_image(shape):
        require_defaults(
            world, OF_IMAGES, f"the sensor {world.sensor or 'of ' + world.environment} gives vectors, not images"
        )
        return (shape[0] * world.frame_stack,)
    height, width, channels = shape
    if world.crop is not None and world.crop > height:
        raise InvalidInputError(
            f"crop: expected at most {height}, the rows that {world.environment} draws, found {world.crop}"
        )
    rows, columns = (world.crop or height, width) if world.size is None else (world.size, world.size)
    return rows, columns, channels * world.frame_stack


def seen_layout(world: World, layout: Layout) -> Layout:
    """Return the parts of a world's observations for those of what its environment shows; see `seen_shape`.

    Raises:
        InvalidInputError: as `seen_shape`, and for stacks of several parts.
    """
    if len(layout) > 1:
        require_defaults(world, ("frame_stack",), "observations of several keys are not stacked")
    images = any(part.kind == "image" for part in layout)
    return tuple(
        part if images and part.kind != "image" else replace(part, shape=seen_shape(world, part.shape))
        for part in layout
    )


class Observer:
    """Observations of `num_envs` environments of a world that show images `(H, W, C)` or vectors `(D,)`.

    A vector of several parts has a layout; crop, look and size are then of the images in it.

    Observations are uint8 `(N, H', W', C * frame_stack)` or float32 `(N, D * frame_stack)`, what is oldest first, a
    fresh array after every step. At the start of an episode what it shows first fills the stack, or zeros stand before
    it (`world.padding`).

    Raises:
        InvalidInputError: as `seen_shape` and `seen_layout`.
    """

    def __init__(self, world: World, look: PixelFunction, shape: Shape, num_envs: int, layout: Layout = ()) -> None:
        self.world, self._look, self._channels, self._layout = world, look, shape[-1], layout
        self.shape = shape_of(seen_layout(world, layout)) if layout else seen_shape(world, shape)
        self.observations: Observations = np.zeros((num_envs, *self.shape), dtype=box_of(self.shape).dtype)

    def see(self, images: Images) -> Images:
        """Return single images under crop, look and size, uint8 `(N, H', W', C)`, of images uint8 `(N, H, W, C)`."""
        if self.world.crop is not None:
            images = images[:, : self.world.crop]
        seen = self._look(images)
        return seen if self.world.size is None else shrink(seen, self.world.size)

    def _seen(self, shown: Observations) -> Observations:
        if len(self._layout) > 1:
            return see_images(shown, self._layout, self.see)
        return self.see(shown) if is_image(self.shape) else shown

    def start(self, rows: Rows, shown: Observations) -> None:
        """Take what environments show that begin an episode, `(len(rows), ...)`; changed in place."""
        seen = self._seen(shown)
        self.observations[rows] = np.tile(seen, (*[1] * len(self.shape), self.world.frame_stack))
        if self.world.padding == "zeros":
            self.observations[rows, ..., : -self._channels] = 0

    def step(self, shown: Observations) -> None:
        """Take what all environments show after a step, `(N, ...)`; the observations are a fresh array."""
        seen = self._seen(shown)
        if self.world.frame_stack > 1:
            seen = np.concatenate([self.observations[..., self._channels :], seen], axis=-1)
        self.observations = seen.copy() if seen is shown else seen
