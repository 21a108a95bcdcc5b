"""What a task does to an environment's steps, beyond the meaning of actions."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import TimeLimit

from rlstitch.envs.tasks.words import Task

_DOMAIN = 0x736C6970


class Slip:
    """Sticky actions of one environment (Machado et al. 2018, arXiv:1709.06009, section 5.2).

    With `probability` the action that was carried out last is carried out again, instead of the chosen one; the first
    action of an episode is the chosen one. The draws are a function of the episode's seed, and of nothing else, so that
    the environment's own randomness is what it is without them.
    """

    def __init__(self, probability: float) -> None:
        self._probability = probability
        self._rng: np.random.Generator | None = None
        self._last: Any = None

    def start(self, seed: int | None) -> None:
        """A new episode; without a seed the draws go on, as an environment's own do."""
        if seed is not None:
            self._rng = np.random.default_rng((_DOMAIN, seed))
        elif self._rng is None:
            self._rng = np.random.default_rng()
        self._last = None

    def carried_out(self, action: Any) -> Any:
        """The action that is carried out where `action` was chosen."""
        if self._rng is not None and self._rng.random() < self._probability and self._last is not None:
            return self._last
        self._last = action
        return action


class Slippery(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment under `Slip`, with actions of any kind."""

    def __init__(self, environment: gymnasium.Env[Any, Any], probability: float) -> None:
        super().__init__(environment)
        self._slip = Slip(probability)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """A new episode."""
        self._slip.start(seed)
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step, perhaps with the action of the one before."""
        return self.env.step(self._slip.carried_out(action))


class StepCost(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Every reward is less by `cost`."""

    def __init__(self, environment: gymnasium.Env[Any, Any], cost: float) -> None:
        super().__init__(environment)
        self._cost = cost

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step."""
        image, reward, terminated, truncated, info = self.env.step(action)
        return image, float(reward) - self._cost, terminated, truncated, info


def with_task(environment: gymnasium.Env[Any, Any], task: Task) -> gymnasium.Env[Any, Any]:
    """One environment under what a task changes beside the meaning of its actions.

    A new limit of steps replaces that of Gymnasium. One that the environment keeps of its own stays, where it is lower.
    """
    if task.max_steps is not None and isinstance(environment, TimeLimit):
        environment = environment.env
    for alteration in task.alterations:
        environment = alteration(environment)
    if task.max_steps is not None:
        environment = TimeLimit(environment, task.max_steps)
    if task.step_cost:
        environment = StepCost(environment, task.step_cost)
    return Slippery(environment, task.slip) if task.slip else environment
