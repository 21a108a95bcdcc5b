"""Single environments by their Gymnasium id, and their spaces."""

from __future__ import annotations

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
    """Return one environment with Gymnasium's own wrappers, without its checker.

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
        return gymnasium.make(gymnasium.registry[environment], disable_env_checker=True, **kwargs)
    except TypeError as error:
        if not kwargs:
            raise
        raise InvalidInputError(f"make_kwargs: {environment} does not take them: {error}") from None


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
