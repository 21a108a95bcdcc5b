"""Tasks: what changes in the meaning of actions, in rewards, in the length of episodes or in the dynamics.

The picture is left alone. A task is a text of words joined with a plus, `without:drop+length:200`, applied from left to
right; which words there are depends on the family of the environment (see `rlstitch.envs.tasks.families`). Continuous
actions mean what the environment says: tasks that change their meaning are for discrete ones.
"""

from __future__ import annotations

import functools
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from rlstitch.envs.tasks.families import FAMILIES, OTHER, Family, family_of
from rlstitch.envs.tasks.words import ActionMap, Task, Word
from rlstitch.errors import InvalidInputError, RlstitchError, UnknownNameError

TASKS: MappingProxyType[str, Word] = MappingProxyType(
    {name: word for family in reversed(FAMILIES) for name, word in family.words.items()}
)
"""Every word of every family."""


@functools.lru_cache(maxsize=256)
def get_task(task: str, family: Family = OTHER) -> Task:
    """The task that a text names, for environments of a family.

    Raises UnknownNameError where the family has no such word or action, InvalidInputError where an argument does not
    fit or a number is given twice.
    """
    kind = "task" if family == OTHER else f"{family.name} task"
    made = []
    for part in task.split("+"):
        name = part.partition(":")[0]
        if name not in family.words:
            raise UnknownNameError(kind, name, family.words)
        made.append(family.words[name].task(part))
    return functools.reduce(Task.then, made)


def check_task(task: str, environment: str = "") -> None:
    """Raises, as `get_task`, where an environment has no such task.

    The family is told by the environment's id. Where it tells none (a MiniGrid can be registered under any), a task is
    good if any family has it, and is checked again when the environment is made.
    """
    family = family_of(environment)
    try:
        get_task(task, family)
    except RlstitchError:
        if family != OTHER or not any(_has(other, task) for other in FAMILIES):
            raise


def _has(family: Family, task: str) -> bool:
    try:
        get_task(task, family)
    except RlstitchError:
        return False
    return True


def action_map(task: str, num_actions: int, family: Family = OTHER) -> ActionMap:
    """The environment's action for each action of the controller, `(n,)` with n <= num_actions, no two equal.

    Raises as `get_task`, and InvalidInputError where the task cannot be made of so few actions.
    """
    return get_task(task, family).action_map(num_actions)


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
