"""Actions while observations are collected: random ones, held random ones, and those of agents of any task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlstitch.agents.actions import draw_noise
from rlstitch.agents.agent import Agent
from rlstitch.envs import World, translate_actions
from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.actors import Policy, noise_width, scale_to_box

HOLD = 8
"""Steps that a held action lasts on average. Held actions reach what a trembling random walk does not (2503.01881)."""
DOMAIN = 0x636F6C6C
"""Separates the random numbers of collections from those of training and evaluation."""


class HeldActions:
    """Random actions, as `draw_actions` draws them, each held for a random number of steps, 1 to `longest`."""

    def __init__(
        self, rng: np.random.Generator, space: gymnasium.Space[Any], slots: int, *, longest: int = 2 * HOLD - 1
    ) -> None:
        self._rng, self._space, self._slots, self._longest = rng, space, slots, longest
        self._actions = draw_actions(np.random.default_rng(0), space, slots)  # for shape and type; never played
        self._left = np.zeros(slots, dtype=np.int64)

    def next(self) -> npt.NDArray[Any]:
        """Return the actions, `(slots,)` or `(slots, A)`, of the next step."""
        # Drawn for all slots, needed or not, so that the numbers of one do not depend on another.
        actions = draw_actions(self._rng, self._space, self._slots)
        lengths = self._rng.integers(1, self._longest + 1, self._slots)
        over = self._left == 0
        self._actions = np.where(over.reshape(-1, *[1] * (actions.ndim - 1)), actions, self._actions)
        self._left = np.where(over, lengths, self._left) - 1
        return self._actions


def draw_actions(rng: np.random.Generator, space: gymnasium.Space[Any], count: int) -> npt.NDArray[Any]:
    """Draw actions evenly: int64 `(count,)` of a Discrete, `(count, A)` of a MultiDiscrete, MultiBinary or bounded Box.

    Raises:
        InvalidInputError: for another space.
    """
    if isinstance(space, gymnasium.spaces.Discrete):
        return rng.integers(int(space.n), size=count)
    if isinstance(space, gymnasium.spaces.Box) and space.is_bounded():
        return scale_to_box(rng.random((count, *space.shape)), space)
    if isinstance(space, gymnasium.spaces.MultiDiscrete):
        return rng.integers(space.nvec, size=(count, *space.shape))
    if isinstance(space, gymnasium.spaces.MultiBinary):
        return rng.integers(2, size=(count, *space.shape), dtype=np.int8)
    raise InvalidInputError(
        f"action_space: expected Discrete, MultiDiscrete, MultiBinary or a bounded Box, found {space}"
    )


@dataclass(eq=False, repr=False)
class PerturbedAgent(Agent):
    """An agent that plays random actions, each held for some steps, on a share of the steps that it drives.

    Rollouts that it drives show states beside its path, and how it returns from them.

    Raises:
        InvalidInputError: for a share that is not in [0, 1).
    """

    share: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share < 1:
            raise InvalidInputError(f"perturb: expected a share of steps in [0, 1), found {self.share}")


class Driver:
    """An agent in a world of another task: its policy chooses among its own actions, translated to the world's.

    Of its actions it plays those that the world has too, in the proportions of its own policy; the others are never
    chosen.

    Args:
        agent: the agent that plays.
        world: its look does not matter.
        space: the action space of the world.

    Raises:
        IncompatibleError: where the agent and the world have no action in common, or the agent's are not those of the
            world on its card.
    """

    def __init__(self, agent: Agent, world: World, space: gymnasium.Space[Any]) -> None:
        self._table = translate_actions(agent.card.world, world)
        own = space if self._table is None else spaces.Discrete(len(self._table))
        self._policy, self._width = Policy(agent, own), noise_width(own)
        self._missing = np.zeros(self._width, dtype=np.bool_) if self._table is None else self._table < 0
        self._share, self._space = agent.share if isinstance(agent, PerturbedAgent) else 0.0, space
        self._held: HeldActions | None = None

    def sample(
        self, observations: npt.NDArray[Any], rng: np.random.Generator, views: npt.NDArray[np.uint8] | None = None
    ) -> npt.NDArray[Any]:
        """Draw actions of the world `(N,)` or `(N, A)` for observations `(N, ...)` as the agent sees them.

        A driver plays one batch of environments: held actions last from one call to the next.
        """
        noise = draw_noise(rng, self._policy.actor.noise_kind, (len(observations), self._width))
        noise[:, self._missing] = -np.inf
        chosen = self._policy.act(observations, noise=noise, views=views)
        actions = chosen if self._table is None else self._table[chosen]
        if not self._share:
            return actions
        self._held = self._held or HeldActions(rng, self._space, len(actions))
        random, at_random = self._held.next(), rng.random(len(actions)) < self._share
        return np.where(at_random.reshape(-1, *[1] * (actions.ndim - 1)), random, actions)


class Drivers:
    """Actions of a batch of environments, each played at random or by one of several agents.

    Args:
        random: functions that draw actions `(slots,)` or `(slots, A)` for all environments.
        agents: the agents' drivers.
        roles: `(slots,)` what plays each environment: an index into the random functions, followed by the agents.
        rng: from which the agents' actions are sampled.
    """

    def __init__(
        self,
        random: Sequence[Callable[[], npt.NDArray[Any]]],
        agents: Sequence[Driver],
        roles: npt.NDArray[np.int64],
        rng: np.random.Generator,
    ) -> None:
        self._random, self._agents, self._rng = random, agents, rng
        self._rows = [np.flatnonzero(roles == role) for role in range(len(random) + len(agents))]

    def actions(
        self, observe: Callable[[int, npt.NDArray[np.intp]], tuple[Any, npt.NDArray[np.uint8] | None]]
    ) -> npt.NDArray[Any]:
        """Return the next actions of all environments.

        Args:
            observe: returns the observations of an agent in some environments, and their symbolic views, if any.
        """
        drawn = [draw() for draw in self._random]
        actions = drawn[0].copy()
        for other, rows in zip(drawn[1:], self._rows[1:], strict=False):
            actions[rows] = other[rows]
        for number, (agent, rows) in enumerate(zip(self._agents, self._rows[len(drawn) :], strict=True)):
            observations, views = observe(number, rows)
            actions[rows] = agent.sample(observations, self._rng, views)
        return actions


def collection_seeds(seed: int, count: int) -> list[int]:
    """Return environment seeds that neither training nor evaluation uses."""
    return [int(word) >> 1 for word in np.random.SeedSequence((DOMAIN, seed)).generate_state(count)]
