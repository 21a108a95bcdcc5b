"""Tasks: what changes in the meaning of actions, with the picture left alone.

A task is an index array: `environment_action = mapping[controller_action]`. Continuous actions have the standard task
alone: they mean what the environment says.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from rlstitch.errors import InvalidInputError, UnknownNameError

ActionMap = npt.NDArray[np.intp]


def _standard(num_actions: int) -> ActionMap:
    return np.arange(num_actions, dtype=np.intp)


def _scrambled(num_actions: int) -> ActionMap:
    """A cyclic shift: no action keeps its meaning (a derangement)."""
    return np.roll(np.arange(num_actions, dtype=np.intp), -1)


TASKS: MappingProxyType[str, Callable[[int], ActionMap]] = MappingProxyType(
    {"standard": _standard, "scrambled": _scrambled}
)


def check_task(task: str) -> None:
    """Raises UnknownNameError where no task has that name."""
    if task not in TASKS:
        raise UnknownNameError("task", task, TASKS)


def action_map(task: str, num_actions: int) -> ActionMap:
    """The environment's action for each action of the controller, `(num_actions,)`.

    Raises UnknownNameError for an unknown task, InvalidInputError where the task cannot be made of so few actions.
    """
    check_task(task)
    if num_actions < (1 if task == "standard" else 2):
        raise InvalidInputError(f"num_actions: task {task!r} needs at least 2 actions, found {num_actions}")
    mapping = TASKS[task](num_actions)
    mapping.flags.writeable = False
    return mapping


def apply_actions(actions: npt.ArrayLike, mapping: ActionMap, num_envs: int) -> ActionMap:
    """The environment's actions `(num_envs,)` for those of the controller.

    Raises InvalidInputError where there is not one whole number in 0..n-1 for each environment.
    """
    chosen = np.asarray(actions)
    if chosen.shape != (num_envs,) or not np.issubdtype(chosen.dtype, np.integer):
        raise InvalidInputError(f"actions: expected {num_envs} whole numbers, found {chosen.dtype} {chosen.shape}")
    if chosen.min() < 0 or chosen.max() >= len(mapping):
        raise InvalidInputError(f"actions: expected 0 to {len(mapping) - 1}, found {chosen.tolist()}")
    return np.asarray(mapping[chosen])
