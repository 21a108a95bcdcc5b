"""What an observation is: one array, an image uint8 `(H, W, C)` or a vector float32 `(D,)`.

The sensor `pixels` gives images, all others give vectors; observations of several keys are vectors, too
(`rlstitch.envs.parts`).
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.wrappers import AddRenderObservation, TransformObservation

from rlstitch.envs.parts import read_observation, read_parts, shape_of
from rlstitch.envs.single import FOREIGN_ERRORS
from rlstitch.errors import InvalidInputError
from rlstitch.storage.text import printable

if TYPE_CHECKING:
    from rlstitch.envs.registry import Sensor

Shape: TypeAlias = tuple[int, ...]
"""Of one observation: height, width and channels, or the length of a vector."""
Observations: TypeAlias = npt.NDArray[Any]
"""Images uint8 `(N, H, W, C)` or vectors float32 `(N, D)`."""


def is_image(shape: Shape) -> bool:
    """Return whether observations of this shape are images."""
    return len(shape) == 3


def box_of(shape: Shape) -> spaces.Box:
    """Return the space of observations of a shape."""
    return spaces.Box(0, 255, shape, np.uint8) if is_image(shape) else spaces.Box(-np.inf, np.inf, shape, np.float32)


def describe_shape(shape: Shape) -> str:
    """Return a shape in words: `96x96x3`, `4 numbers`."""
    return "x".join(map(str, shape)) if is_image(shape) else f"{shape[0]} numbers"


def own_sensor(space: spaces.Space[Any], name: str, keys: Sequence[str] = ()) -> Sensor:
    """Return the sensor that an environment's own observation is: `pixels` where it holds an image, or `state`.

    Raises:
        InvalidInputError, UnknownNameError: as `rlstitch.envs.parts.read_parts`.
    """
    layout, _ = read_parts(space, name, keys)
    return "pixels" if any(part.kind == "image" for part in layout) else "state"


def observing(
    made: gymnasium.Env[Any, Any], sensor: str | None = None, *, name: str = "environment", keys: Sequence[str] = ()
) -> gymnasium.Env[Any, Any]:
    """Return an environment that observes one array by a sensor.

    Pixels of an environment whose own observation holds no image are what it renders (Gymnasium's
    `AddRenderObservation`).

    Args:
        made: the environment; for rendered pixels, one with the render mode `rgb_array`.
        sensor: `pixels` or `state`; None: the environment's own observation.
        name: of the environment, in messages.
        keys: of its own observation, see `rlstitch.envs.parts.read_parts`.

    Raises:
        InvalidInputError, UnknownNameError: as `rlstitch.envs.parts.read_parts`, and where rendering fails.
    """
    if sensor == "pixels" and own_sensor(made.observation_space, name, keys) != "pixels":
        return AddRenderObservation(_Rendering(made, name))
    layout, readings = read_parts(made.observation_space, name, keys)
    space = box_of(shape_of(layout))
    if space == made.observation_space:
        return made
    return TransformObservation(made, functools.partial(read_observation, readings), space)


class _Rendering(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose images are asked for: where it draws none, that is one error."""

    def __init__(self, env: gymnasium.Env[Any, Any], name: str) -> None:
        super().__init__(env)
        self.name = name

    def render(self) -> Any:
        try:
            image = self.env.render()
        except _render_errors() as error:
            raise InvalidInputError(f"{self.name} cannot render: {printable(error, limit=300)}") from error
        if not isinstance(image, np.ndarray):
            raise InvalidInputError(f"{self.name} cannot render: expected an array, found {type(image).__name__}")
        return image


def _render_errors() -> tuple[type[Exception], ...]:
    """Return what rendering may raise; MuJoCo's error where there is no display is of no general kind."""
    mujoco = sys.modules.get("mujoco")
    return FOREIGN_ERRORS if mujoco is None else (*FOREIGN_ERRORS, mujoco.FatalError)
