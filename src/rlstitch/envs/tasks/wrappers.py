"""Tasks on Gymnasium's environments: everything but the meaning of actions, as wrappers of one environment."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium
from gymnasium.wrappers import TimeLimit, TransformReward

from rlstitch.envs.tasks.task import ActionFilter, Task


class Filtered(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment under an action filter, with actions of any kind."""

    def __init__(self, environment: gymnasium.Env[Any, Any], action_filter: ActionFilter) -> None:
        super().__init__(environment)
        self._filter = action_filter

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self._filter.start(seed)
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step with the action that the filter gives."""
        return self.env.step(self._filter.carried_out(action))


def with_task(environment: gymnasium.Env[Any, Any], task: Task) -> gymnasium.Env[Any, Any]:
    """Return one environment with all that a task changes except the meaning of its actions.

    A new limit of steps replaces that of Gymnasium. One that the environment keeps of its own stays, where it is lower.
    """
    if task.max_steps is not None and isinstance(environment, TimeLimit):
        environment = environment.env
    for alteration in task.alterations:
        environment = alteration(environment)
    if task.max_steps is not None:
        environment = TimeLimit(environment, task.max_steps)
    if task.step_cost:
        environment = TransformReward(environment, functools.partial(_less, cost=task.step_cost))
    for maker in task.filters.values():
        environment = Filtered(environment, maker())
    return environment


def _less(reward: Any, cost: float) -> float:
    return float(reward) - cost
