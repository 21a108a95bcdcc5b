"""What an observation is: one array, an image uint8 `(H, W, C)` or a vector float32 `(D,)`.

The sensor `pixels` gives images, all others give vectors.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.wrappers import AddRenderObservation, TransformObservation

from rlstitch.errors import InvalidInputError
from rlstitch.storage import limits

if TYPE_CHECKING:
    from rlstitch.envs.registry import Sensor

Shape: TypeAlias = tuple[int, ...]
"""Of one observation: height, width and channels, or the length of a vector."""
Observations: TypeAlias = npt.NDArray[Any]
"""Images uint8 `(N, H, W, C)` or vectors float32 `(N, D)`."""

SUPPORTED = "a uint8 Box (H, W, C) of 0 to 255, a Box of one or two axes, Discrete, MultiDiscrete or MultiBinary"
_VECTORS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def is_image(shape: Shape) -> bool:
    """Return whether observations of this shape are images."""
    return len(shape) == 3


def box_of(shape: Shape) -> spaces.Box:
    """Return the space of observations of a shape."""
    if is_image(shape):
        return spaces.Box(0, 255, shape, np.uint8)
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


def describe_shape(shape: Shape) -> str:
    """Return a shape in words: `96x96x3`, `4 numbers`."""
    return "x".join(map(str, shape)) if is_image(shape) else f"{shape[0]} numbers"


def own_sensor(space: spaces.Space[Any], name: str) -> Sensor:
    """Return the sensor that an environment's own observation is: `pixels` or `state`.

    Raises:
        InvalidInputError: where its space of observations is not supported.
    """
    if _is_bytes(space):
        if int(space.low.min()) == 0 and int(space.high.max()) == 255:
            return "pixels"
        raise InvalidInputError(f"{name}: expected images of 0 to 255, found {space.low.min()} to {space.high.max()}")
    if isinstance(space, spaces.Box) and len(space.shape) == 3:  # flattened, neighbouring pixels would be unrelated
        raise InvalidInputError(f"{name}: expected images in a uint8 Box (H, W, C) of 0 to 255, found {space}")
    if isinstance(space, _VECTORS) and 0 < _width(space) <= limits.OBSERVATION_VALUES:
        return "state"
    raise InvalidInputError(f"{name}: expected observations in {SUPPORTED}, found {space}")


def _is_bytes(space: spaces.Space[Any]) -> TypeGuard[spaces.Box]:
    """Whether observations are images of bytes, whatever their bounds."""
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3


def _width(space: spaces.Space[Any]) -> int:
    flat = spaces.flatten_space(space)
    return int(np.prod(flat.shape or (0,)))


def observing(
    made: gymnasium.Env[Any, Any], sensor: str | None = None, *, name: str = "environment"
) -> gymnasium.Env[Any, Any]:
    """Return an environment that observes one array by a sensor.

    Vectors are the environment's own numbers as float32, of discrete ones a one-hot code (`gymnasium.spaces.flatten`).
    Pixels of an environment whose own observation is no image are what it renders (Gymnasium's `AddRenderObservation`).

    Args:
        made: the environment; for rendered pixels, one with the render mode `rgb_array`.
        sensor: `pixels` or `state`; None: the environment's own observation.
        name: of the environment, in messages.

    Raises:
        InvalidInputError: where its space of observations is not supported.
    """
    made = _channels_last(made)
    if sensor == "pixels" and not _is_bytes(made.observation_space):
        return AddRenderObservation(made)
    if own_sensor(made.observation_space, name) == "pixels":
        return made
    space = made.observation_space
    return TransformObservation(made, functools.partial(_flat, space), box_of((_width(space),)))


def _flat(space: spaces.Space[Any], observation: Any) -> npt.NDArray[np.float32]:
    return np.asarray(spaces.flatten(space, observation), dtype=np.float32)


def _channels_last(made: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """Turn images `(C, H, W)` into `(H, W, C)`: those whose first axis is shorter than both others."""
    space = made.observation_space
    if not isinstance(space, spaces.Box) or len(space.shape) != 3 or space.shape[0] >= min(space.shape[1:]):
        return made
    turn = functools.partial(np.moveaxis, source=0, destination=-1)
    seen = spaces.Box(turn(space.low), turn(space.high), dtype=space.dtype.type)
    return TransformObservation(made, turn, seen)
