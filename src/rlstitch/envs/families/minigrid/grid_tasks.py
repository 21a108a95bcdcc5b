"""The words of tasks in MiniGrids, and the names of their actions."""

from __future__ import annotations

from typing import Any

from rlstitch.envs.tasks.task import Task, plain_word
from rlstitch.envs.tasks.words import TaskWords


def _constant_success(environment: Any) -> Any:
    """A MiniGrid whose success gives 1, not 1 - 0.9 * steps / max_steps (`MiniGridEnv._reward`)."""
    environment.unwrapped._reward = _one
    return environment


def _one() -> float:
    return 1.0


GRID_TASKS = TaskWords(
    "MiniGrid",
    actions=("left", "right", "forward", "pickup", "drop", "toggle", "done"),
    idle="done",
    own=(plain_word("no-time-cost", "a success gives 1, however late", Task(alterations=(_constant_success,))),),
)
