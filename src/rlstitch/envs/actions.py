"""Actions of a batch of environments for those of a controller."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlstitch.envs.single import ActionSpace
from rlstitch.envs.tasks.task import ActionMap, Task
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError


def map_of(task: Task, space: ActionSpace, environment: str) -> ActionMap | None:
    """Return the action map of a task in an environment's space of actions; None where it is not Discrete.

    Raises:
        InvalidInputError: for a task that changes what actions mean where it is not Discrete, or needs more of them.
    """
    if isinstance(space, spaces.Discrete):
        return task.action_map(int(space.n))
    if task.rules:
        raise InvalidInputError(
            f"task: {task.name!r} gives discrete actions another meaning, {environment} takes {_kind(space)} ones "
            f"({space}); expected 'standard', or a task that leaves actions alone"
        )
    return None


def check_actions(world: World, space: ActionSpace) -> None:
    """Check that a world's environment has the kind of actions that the world asks for.

    Raises:
        InvalidInputError: where it has not.
    """
    kind = _kind(space)
    if world.actions not in ("own", kind):
        raise InvalidInputError(f"actions: {world.environment} has {kind} ones only, found {world.actions!r}")


def _kind(space: ActionSpace) -> str:
    if isinstance(space, spaces.Discrete):
        return "discrete"
    return "continuous" if isinstance(space, spaces.Box) else "several discrete"


def apply_discrete(actions: npt.ArrayLike, mapping: ActionMap, num_envs: int) -> ActionMap:
    """Return the environment's actions `(num_envs,)` for those of the controller.

    Raises:
        InvalidInputError: where there is not one whole number in 0..n-1 for each environment.
    """
    chosen = np.asarray(actions)
    if chosen.shape != (num_envs,) or not np.issubdtype(chosen.dtype, np.integer):
        raise InvalidInputError(f"actions: expected {num_envs} whole numbers, found {chosen.dtype} {chosen.shape}")
    if chosen.min() < 0 or chosen.max() >= len(mapping):
        raise InvalidInputError(f"actions: expected 0 to {len(mapping) - 1}, found {chosen.tolist()}")
    return np.asarray(mapping[chosen])


def apply_rows(
    actions: npt.ArrayLike, space: spaces.Box | spaces.MultiDiscrete | spaces.MultiBinary, num_envs: int
) -> npt.NDArray[Any]:
    """Return the environment's actions `(num_envs, A)` for those of the controller, where each is a row of numbers.

    Raises:
        InvalidInputError: for another shape or type, and for numbers out of bounds (NaN too).
    """
    chosen = np.asarray(actions)
    in_box = isinstance(space, spaces.Box)
    kind, words = (np.floating, "floating-point numbers") if in_box else (np.integer, "whole numbers")
    if chosen.shape != (num_envs, *space.shape) or not np.issubdtype(chosen.dtype, kind):
        raise InvalidInputError(
            f"actions: expected {words} ({num_envs}, {space.shape[0]}), found {chosen.dtype} {chosen.shape}"
        )
    low: Any
    high: Any
    if isinstance(space, spaces.Box):
        chosen, low, high = chosen.astype(np.float32), space.low, space.high
    else:
        low, high = (
            np.int64(0),
            space.nvec - 1 if isinstance(space, spaces.MultiDiscrete) else np.ones(space.shape, np.int64),
        )
    within = ((chosen >= low) & (chosen <= high)).all(axis=1)
    if not within.all():
        raise InvalidInputError(
            f"actions: expected {low.tolist()} to {high.tolist()}, found {chosen[~within][0].tolist()}"
        )
    return chosen.astype(space.dtype)
