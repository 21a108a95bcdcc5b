"""Actions of a batch of environments, discrete or continuous, for those of a controller."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlstitch.envs.single import ActionSpace
from rlstitch.envs.tasks.task import ActionMap, Task
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError


def map_of(task: Task, space: ActionSpace, environment: str) -> ActionMap | None:
    """Return the action map of a task in an environment's space of actions; None where they are continuous.

    Raises:
        InvalidInputError: for a task that changes what actions mean where they are continuous, or needs more of them.
    """
    if isinstance(space, spaces.Discrete):
        return task.action_map(int(space.n))
    if task.rules:
        raise InvalidInputError(
            f"task: {task.name!r} gives discrete actions another meaning, {environment} takes continuous ones "
            f"({space}); expected 'standard', or a task that leaves actions alone"
        )
    return None


def check_actions(world: World, space: ActionSpace) -> None:
    """Check that a world's environment has the kind of actions that the world asks for.

    Raises:
        InvalidInputError: where it has not.
    """
    kind = "discrete" if isinstance(space, spaces.Discrete) else "continuous"
    if world.actions not in ("own", kind):
        raise InvalidInputError(f"actions: {world.environment} has {kind} ones only, found {world.actions!r}")


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


def apply_continuous(actions: npt.ArrayLike, space: spaces.Box, num_envs: int) -> npt.NDArray[np.float32]:
    """Return the environment's actions, float32 `(num_envs, A)`, for those of the controller.

    Raises:
        InvalidInputError: for another shape or type, and for numbers out of bounds (NaN too).
    """
    chosen = np.asarray(actions)
    if chosen.shape != (num_envs, *space.shape) or not np.issubdtype(chosen.dtype, np.floating):
        raise InvalidInputError(
            f"actions: expected floating-point numbers ({num_envs}, {space.shape[0]}), "
            f"found {chosen.dtype} {chosen.shape}"
        )
    chosen = chosen.astype(np.float32)
    within = (chosen >= space.low) & (chosen <= space.high)
    if not within.all():
        raise InvalidInputError(
            f"actions: expected {space.low.tolist()} to {space.high.tolist()}, "
            f"found {chosen[~within.all(axis=1)][0].tolist()}"
        )
    return chosen
