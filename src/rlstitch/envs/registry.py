"""Making single environments by their Gymnasium id, and saying what images they give."""

from __future__ import annotations

import functools
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces

from rlstitch.envs.families.car_racing.cars import SIDE, is_car_racing
from rlstitch.envs.frames import seen_shape
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError, UnknownNameError


def _registered(environment: str) -> gymnasium.envs.registration.EnvSpec:
    # MiniGrid registers its environments when it is imported.
    import minigrid  # noqa: F401

    if environment in gymnasium.registry:
        return gymnasium.registry[environment]
    raise UnknownNameError("environment", environment, gymnasium.registry)


def is_minigrid(environment: gymnasium.Env[Any, Any]) -> bool:
    """Whether it is a MiniGrid under any wrappers."""
    from minigrid.minigrid_env import MiniGridEnv

    return isinstance(environment.unwrapped, MiniGridEnv)


def make_single(environment: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """One environment with Gymnasium's own wrappers, without its checker.

    Raises UnknownNameError, with the nearest ids, where none is registered under that name.
    """
    return gymnasium.make(_registered(environment), disable_env_checker=True, **kwargs)


def image_space(environment: gymnasium.Env[Any, Any], name: str) -> spaces.Box:
    """The environment's space of images, uint8 `(H, W, C)` in 0..255.

    Raises InvalidInputError where it observes anything else.
    """
    space = environment.observation_space
    if isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3:
        if int(space.low.min()) == 0 and int(space.high.max()) == 255:
            return space
        raise InvalidInputError(f"{name}: expected images of 0 to 255, found {space.low.min()} to {space.high.max()}")
    raise InvalidInputError(f"{name}: expected images, a uint8 Box (H, W, C), found {space}")


def num_actions(environment: gymnasium.Env[Any, Any], name: str) -> int:
    """The number of actions. Raises InvalidInputError where they are not discrete and counted from 0."""
    space = environment.action_space
    if isinstance(space, spaces.Discrete) and int(space.start) == 0:
        return int(space.n)
    raise InvalidInputError(f"{name}: expected discrete actions 0..n-1, found {space}")


def action_space(environment: gymnasium.Env[Any, Any], name: str) -> spaces.Discrete | spaces.Box:
    """The environment's space of actions: discrete ones, counted from 0, or a float32 Box `(A,)` within bounds.

    Raises InvalidInputError where it takes anything else.
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


@functools.lru_cache(maxsize=256)
def drawn_from_tiles(environment: str) -> bool:
    """Whether it is a MiniGrid, which has symbolic views; any other environment draws itself.

    Raises UnknownNameError where none is registered under that name.
    """
    if is_car_racing(environment):
        return False
    made = make_single(environment)
    made.close()
    return is_minigrid(made)


@functools.lru_cache(maxsize=256)
def _kind(environment: str, view: str, tile_size: int) -> tuple[str, tuple[int, int, int]]:
    made = make_single(environment)
    inner: Any = made.unwrapped
    shape: tuple[int, int, int]
    if is_minigrid(made):
        size = (inner.agent_view_size,) * 2 if view == "agent" else (inner.height, inner.width)
        kind, shape = f"MiniGrid {view}-view", (size[0] * tile_size, size[1] * tile_size, 3)
    else:
        kind, shape = type(inner).__name__, cast("tuple[int, int, int]", image_space(made, environment).shape)
    made.close()
    return kind, shape


def observation_kind(world: World) -> tuple[str, tuple[int, int, int]]:
    """What images a world gives: their kind in words, and their shape `(H, W, C)`.

    MiniGrids draw alike; of any other environment only variants of the same class do.
    Raises UnknownNameError or InvalidInputError where the environment cannot be used.
    """
    if is_car_racing(world.environment):
        return "CarRacing", seen_shape(world, (SIDE, SIDE, 3))
    kind, shape = _kind(world.environment, world.view, world.tile_size)
    return kind, seen_shape(world, shape)
