"""Single environments by their Gymnasium id, and their spaces."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rlstitch.envs.registry import all_families
from rlstitch.errors import InvalidInputError, require_known

ActionSpace = spaces.Discrete | spaces.Box


def make_single(environment: str, modules: Sequence[str] = (), **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Return one environment with Gymnasium's own wrappers, without its checker; its images are channels last.

    Args:
        environment: its id.
        modules: imported before, because they register environments.
        kwargs: of its constructor.

    Raises:
        UnknownNameError: where none is registered under that name, with the nearest ids.
        InvalidInputError: where a module is missing or an argument is unknown.
    """
    import_modules(modules)
    if environment not in gymnasium.registry:
        for family in all_families():
            for module in family.modules:
                importlib.import_module(module)
    require_known("environment", environment, gymnasium.registry)
    try:
        return _channels_last(gymnasium.make(gymnasium.registry[environment], disable_env_checker=True, **kwargs))
    except TypeError as error:
        if not kwargs:
            raise
        raise InvalidInputError(f"make_kwargs: {environment} does not take them: {error}") from None


def _channels_last(made: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """Turn images `(C, H, W)` into `(H, W, C)`: those whose first axis is shorter than both others."""
    space = made.observation_space
    if not isinstance(space, spaces.Box) or len(space.shape) != 3 or space.shape[0] >= min(space.shape[1:]):
        return made
    turn = functools.partial(np.moveaxis, source=0, destination=-1)
    seen = spaces.Box(turn(space.low), turn(space.high), dtype=space.dtype.type)
    return gymnasium.wrappers.TransformObservation(made, turn, seen)


def import_modules(modules: Iterable[str]) -> None:
    """Import modules that register environments.

    Raises:
        InvalidInputError: where one cannot be found.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise InvalidInputError(f"modules: {module!r} cannot be imported: {error}") from None


def image_space(environment: gymnasium.Env[Any, Any], name: str) -> spaces.Box:
    """Return the environment's space of images, uint8 `(H, W, C)` in 0..255.

    Raises:
        InvalidInputError: where it observes anything else.
    """
    space = environment.observation_space
    if isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3:
        if int(space.low.min()) == 0 and int(space.high.max()) == 255:
            return space
        raise InvalidInputError(f"{name}: expected images of 0 to 255, found {space.low.min()} to {space.high.max()}")
    raise InvalidInputError(f"{name}: expected images, a uint8 Box (H, W, C), found {space}")


def action_space(environment: gymnasium.Env[Any, Any], name: str) -> ActionSpace:
    """Return the environment's space of actions: discrete ones, counted from 0, or a bounded float32 Box `(A,)`.

    Raises:
        InvalidInputError: where it takes anything else.
    """
    space = environment.action_space
    if isinstance(space, spaces.Discrete) and int(space.start) == 0:
        return space
    fits = isinstance(space, spaces.Box) and space.dtype == np.float32 and len(space.shape) == 1 and space.shape[0] > 0
    if isinstance(space, spaces.Box) and fits and space.is_bounded() and bool((space.low < space.high).all()):
        return space
    raise InvalidInputError(
        f"{name}: expected discrete actions 0..n-1, or continuous ones, a bounded float32 Box (A,); found {space}"
    )
