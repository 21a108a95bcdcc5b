"""Actions of an environment, discrete or continuous: what a task makes of them, and what is none."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlstitch.envs.families.car_racing.cars import ACTIONS, STEERING, is_car_racing
from rlstitch.envs.registry import action_space, is_minigrid, make_single
from rlstitch.envs.tasks.families import MINIGRID, Family, family_of
from rlstitch.envs.tasks.task import get_task
from rlstitch.envs.tasks.words import ActionMap
from rlstitch.envs.world import World
from rlstitch.errors import IncompatibleError, InvalidInputError


def map_of(task: str, space: spaces.Discrete | spaces.Box, environment: str) -> ActionMap | None:
    """The action map of a task in an environment's space of actions; None where they are continuous.

    Raises as `get_task`, and InvalidInputError for a task that changes what actions mean where they are continuous.
    """
    made = get_task(task, family_of(environment))
    if isinstance(space, spaces.Discrete):
        return made.action_map(int(space.n))
    if made.rules:
        raise InvalidInputError(
            f"task: {task!r} gives discrete actions another meaning, {environment} takes continuous ones "
            f"({space}); expected 'standard', or a task that leaves actions alone"
        )
    return None


def translate_actions(own: World, world: World) -> ActionMap | None:
    """The action of a world that does what each action of another world does, `(n,)`; -1 where it has none that does.

    What an action does is told by the environments: by number, so that both must have equally many. None where both
    are continuous: they mean the same as they are.
    Raises IncompatibleError where the two have no action in common, and as `make_vec` where one cannot be made.
    """
    (space, family), (target, target_family) = (_environment_actions(one.environment, one.actions)
                                                for one in (own, world))  # fmt: skip
    if space != target:
        raise IncompatibleError(
            f"{own.environment} takes the actions {space}, {world.environment} takes {target}: none is the same"
        )
    if not isinstance(space, spaces.Discrete):
        return None
    mine = get_task(own.task, family).action_map(int(space.n))
    found = get_task(world.task, target_family).action_map(int(space.n))
    places = np.full(int(space.n), -1, dtype=np.intp)
    places[found] = np.arange(len(found))
    if (places[mine] < 0).all():
        raise IncompatibleError(f"the tasks {own.task!r} and {world.task!r} have no action in common")
    return np.asarray(places[mine])


@functools.lru_cache(maxsize=256)
def _environment_actions(environment: str, kind: str) -> tuple[spaces.Discrete | spaces.Box, Family]:
    """The actions of an environment before any task, and its family."""
    if is_car_racing(environment):
        return (spaces.Discrete(len(ACTIONS)) if kind == "discrete" else STEERING), family_of(environment)
    made = make_single(environment)
    made.close()
    return action_space(made, environment), MINIGRID if is_minigrid(made) else family_of(environment)


def check_actions(world: World, space: spaces.Discrete | spaces.Box) -> None:
    """Raises InvalidInputError where a world asks for the kind of actions that its environment has not."""
    found = "discrete" if isinstance(space, spaces.Discrete) else "continuous"
    if world.actions not in ("own", found):
        raise InvalidInputError(f"actions: {world.environment} has {found} ones only, found {world.actions!r}")


def apply_continuous(actions: npt.ArrayLike, space: spaces.Box, num_envs: int) -> npt.NDArray[np.float32]:
    """The environment's actions, float32 `(num_envs, A)`, for those of the controller.

    Raises InvalidInputError for another shape or type, and for numbers out of bounds (NaN too).
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
