"""Words of a task that change an environment's steps: their number, rewards, and the actions that are carried out."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from rlstitch.envs.tasks.task import Task, number_word, whole_word

_DOMAIN = 0x736C6970


class Slip:
    """Sticky actions of one environment (Machado et al. 2018, arXiv:1709.06009, section 5.2).

    With `probability` the action that was carried out last is carried out again, instead of the chosen one; the first
    action of an episode is the chosen one. The random numbers are a function of the episode's seed and of nothing else,
    so that the environment's own randomness is what it is without them.
    """

    def __init__(self, probability: float) -> None:
        self._probability = probability
        self._rng: np.random.Generator | None = None
        self._last: Any = None

    def start(self, seed: int | None) -> None:
        """Begin an episode; without a seed the random numbers go on, as an environment's own do."""
        if seed is not None:
            self._rng = np.random.default_rng((_DOMAIN, seed))
        elif self._rng is None:
            self._rng = np.random.default_rng()
        self._last = None

    def carried_out(self, action: Any) -> Any:
        """Return the action that is carried out where `action` was chosen."""
        if self._rng is not None and self._rng.random() < self._probability and self._last is not None:
            return self._last
        self._last = action
        return action


class Delay:
    """Actions that take effect some steps after they were chosen; before that, the first of the episode does."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._chosen: list[Any] = []

    def start(self, seed: int | None) -> None:
        """Begin an episode: nothing is chosen yet."""
        self._chosen.clear()

    def carried_out(self, action: Any) -> Any:
        """Return the action that was chosen that many steps before."""
        self._chosen.append(action)
        return self._chosen.pop(0) if len(self._chosen) > self._steps else self._chosen[0]


WORDS = (
    whole_word(
        "length:STEPS",
        "episodes are truncated after that many steps, whatever the environment's own limit",
        "a whole number of steps, 1 to 10000000",
        lambda steps: Task(max_steps=steps),
        high=10**7,
    ),
    number_word(
        "time-cost:COST",
        "that much is subtracted from the reward of every step",
        "a number above 0",
        lambda cost: Task(step_cost=cost),
    ),
    number_word(
        "slippery:PROBABILITY",
        "a step repeats the action before it with that probability",
        "a number above 0 and below 1",
        lambda probability: Task(filters={"slippery": functools.partial(Slip, probability)}),
        high=1,
    ),
    whole_word(
        "delayed:STEPS",
        "each action is carried out that many steps after it was chosen; before that, the first one is",
        "a whole number of steps, 1 to 1000",
        lambda steps: Task(filters={"delayed": functools.partial(Delay, steps)}),
        high=1000,
    ),
)
