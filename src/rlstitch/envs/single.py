"""Single environments by their Gymnasium id, and their spaces."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces

from rlstitch.envs.packages import load_plugins, package_of, unknown_environment
from rlstitch.envs.registry import all_families
from rlstitch.errors import InvalidInputError
from rlstitch.storage.text import printable

ActionSpace = spaces.Discrete | spaces.Box | spaces.MultiDiscrete | spaces.MultiBinary
"""Discrete and MultiDiscrete from 0, a bounded float32 Box; those of several numbers have one axis."""


FOREIGN_ERRORS = (ArithmeticError, AttributeError, ImportError, LookupError, OSError, RuntimeError, SyntaxError,
                  TypeError, ValueError, gymnasium.error.Error)  # fmt: skip
"""What code of others may raise: a module that is imported, an environment that renders."""
_NAMED: dict[str, None] = {}

Factory = Callable[..., gymnasium.Env[Any, Any]]
LIVE: dict[str, Factory] = {}
"""Environments that a program has at hand, by ids that `rlstitch.envs.live` gave them in this process."""


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
    if environment in LIVE:
        return _plain_actions(_made(environment, LIVE[environment], kwargs))
    if environment not in gymnasium.registry:
        for family in all_families():
            for module in family.modules:
                importlib.import_module(module)
        load_plugins()
    if environment not in gymnasium.registry:
        raise unknown_environment(environment, gymnasium.registry)
    make = functools.partial(gymnasium.make, gymnasium.registry[environment], disable_env_checker=True)
    try:
        return _plain_actions(_made(environment, make, kwargs))
    except (ImportError, gymnasium.error.Error) as error:
        reason = printable(error, limit=300) + package_of(environment)
        raise InvalidInputError(f"environment: {environment} cannot be made: {reason}") from error


def _made(environment: str, make: Factory, kwargs: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
    try:
        return make(**kwargs)
    except TypeError as error:
        if not kwargs:
            raise
        raise InvalidInputError(f"make_kwargs: {environment} does not take them: {error}") from None


def _plain_actions(made: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """Let an environment take plain actions, where there are such for its own."""
    own, plain = made.action_space, plain_space(made.action_space)
    if plain is None or plain == own:
        return made
    return gymnasium.wrappers.TransformAction(
        made, functools.partial(own_action, space=cast("ActionSpace", own)), plain
    )


def plain_space(space: spaces.Space[Any]) -> ActionSpace | None:
    """Return a space of actions that are counted from 0, or float32 in one row; None where a space has none.

    A Box must have bounds, since a controller's actions are clipped to them and random ones drawn between them.
    """
    if isinstance(space, spaces.Discrete):
        return spaces.Discrete(int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        return spaces.MultiDiscrete(space.nvec.ravel())
    if isinstance(space, spaces.MultiBinary):
        return spaces.MultiBinary(int(np.prod(space.shape)))
    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating) or 0 in space.shape:
        return None
    with np.errstate(over="ignore"):
        low, high = (bound.ravel().astype(np.float32) for bound in (space.low, space.high))
    fits = np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()
    return spaces.Box(low, high, dtype=np.float32) if fits else None


def own_action(action: Any, space: ActionSpace) -> Any:
    """Return the action of a space for one of its `plain_space`."""
    if isinstance(space, spaces.Discrete):
        return np.int64(action) + space.start
    own = np.asarray(action).reshape(space.shape).astype(space.dtype)
    if isinstance(space, spaces.Box):
        return own.clip(space.low, space.high)  # float32 rounds bounds up, too
    return own + space.start if isinstance(space, spaces.MultiDiscrete) else own


def import_modules(modules: Iterable[str]) -> None:
    """Import modules that register environments; raises as `import_module`."""
    for module in modules:
        import_module(module)
        _NAMED[module] = None


def import_module(module: str) -> ModuleType:
    """Import a module of the user's.

    Modules that are not installed are looked for in the working folder last, where a program that is installed does
    not look by itself.

    Raises:
        InvalidInputError: where it cannot be imported.
    """
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.append(folder)
    try:
        return importlib.import_module(module)
    except FOREIGN_ERRORS as error:
        raise InvalidInputError(f"modules: {module!r} cannot be imported: {printable(error, limit=300)}") from error


def named_modules() -> tuple[str, ...]:
    """Return the modules that were imported by name in this process, for other processes to import."""
    return tuple(name for name in _NAMED if name in sys.modules)


def action_space(environment: gymnasium.Env[Any, Any], name: str) -> ActionSpace:
    """Return the actions of an environment that `make_single` made.

    Raises:
        InvalidInputError: where it takes other ones.
    """
    space = environment.action_space
    if plain_space(space) is None:
        raise InvalidInputError(
            f"{name}: expected the actions Discrete, MultiDiscrete, MultiBinary, or a floating-point Box with finite "
            f"bounds, low below high; found {printable(space, limit=200)}"
        )
    return cast("ActionSpace", space)
