"""Agents that play in a world whose actions are not theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlstitch.rollouts.actors import Policy, noise_width

if TYPE_CHECKING:
    import gymnasium

    from rlstitch.agents.agent import Agent
    from rlstitch.envs import World


class Driver:
    """An agent in a world of another task: it chooses by its own actions, and what it chose is said in the world's.

    Of its actions it plays those that the world's controllers have too, in the proportions of its own policy; the
    others are never chosen.

    Args:
        agent: who plays.
        world: where; its look does not matter.
        space: the action space of the world.

    Raises:
        IncompatibleError: where the agent and the world have no action in common, or the agent's are not those of the
            world on its card.
    """

    def __init__(self, agent: Agent, world: World, space: gymnasium.Space[Any]) -> None:
        from rlstitch.envs.actions import translate_actions

        self._table = translate_actions(agent.card.world.to_world(), world)
        own = space if self._table is None else spaces.Discrete(len(self._table))
        self._policy, self._width = Policy(agent, own), noise_width(own)
        self._gumbel = agent.noise_kind == "gumbel"
        self._missing = np.zeros(self._width, dtype=np.bool_) if self._table is None else self._table < 0

    def sample(
        self, observations: npt.NDArray[Any], rng: np.random.Generator, views: npt.NDArray[np.uint8] | None = None
    ) -> npt.NDArray[Any]:
        """Draw actions of the world `(N,)` or `(N, A)` for observations `(N, ...)` as the agent sees them."""
        draw = rng.gumbel if self._gumbel else rng.normal
        noise = np.asarray(draw(size=(len(observations), self._width)))
        noise[:, self._missing] = -np.inf
        chosen = self._policy.act(observations, noise=noise, views=views)
        return chosen if self._table is None else self._table[chosen]
