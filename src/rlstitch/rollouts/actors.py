"""Actors: agents and random play, with the scores of observations that they have met before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import gymnasium
import numpy as np
import numpy.typing as npt
from scipy import special

from rlstitch.agents.actions import actions_of, best_actions, in_environment, noise_kind
from rlstitch.agents.specs import AnyActions, BoxActions, MultiDiscreteActions
from rlstitch.errors import IncompatibleError, InvalidInputError

Observations = npt.NDArray[Any]
Noise = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

# Views are forgotten above this number: some 60 MB at the 7x7 view of MiniGrid, and as much again of scores.
_MAX_VIEWS = 100_000
_MAX_SCORES = 2_000_000


class Actor(Protocol):
    """What a rollout needs of an agent: `rlstitch.agents.Agent`, native or stitched, and `RandomAgent` have it."""

    @property
    def noise_kind(self) -> str:
        """As `rlstitch.agents.actions.noise_kind`."""

    def act(self, observations: Observations, *, noise: Noise | None = None) -> npt.NDArray[Any]:
        """Choose actions for a batch; `noise` `(N, A)` samples the policy, None is greedy."""


class RandomAgent:
    """The baseline: every action equally likely, greedy or not.

    Args:
        action_space: Discrete, MultiDiscrete, MultiBinary or a bounded Box.

    Raises:
        InvalidInputError: for another space, or a Box without bounds.
    """

    def __init__(self, action_space: gymnasium.Space[Any]) -> None:
        self.action_space = action_space
        self._actions = actions_of(action_space)
        self._box = action_space if isinstance(action_space, gymnasium.spaces.Box) else None
        if self._box is not None and not self._box.is_bounded():
            raise InvalidInputError(f"action_space: expected a bounded Box, found {action_space}")

    @property
    def noise_kind(self) -> str:
        """As `Actor`."""
        return noise_kind(self._actions)

    def act(self, observations: Observations, *, noise: Noise | None = None) -> npt.NDArray[Any]:
        """Choose actions for a batch from its noise `(N, A)`, which is therefore required."""
        if noise is None:
            raise InvalidInputError("noise: a random agent needs it, found None")
        if self._box is None:
            return in_environment(self._actions, best_actions(self._actions, noise))
        return scale_to_box(special.ndtr(noise).reshape(-1, *self._box.shape), self._box)


def scale_to_box(uniform: npt.NDArray[np.float64], box: gymnasium.spaces.Box) -> npt.NDArray[Any]:
    """Scale numbers in [0, 1], `(N, ...)`, to the range of a bounded Box; rounding never leaves its bounds."""
    actions: npt.NDArray[Any] = (box.low + uniform * (box.high - box.low)).astype(box.dtype)
    return actions.clip(box.low, box.high)


def noise_width(space: gymnasium.Space[Any]) -> int:
    """Return how many numbers of noise one action takes, one for each action parameter.

    Raises:
        InvalidInputError: as `rlstitch.agents.actions_of`.
    """
    return actions_of(space).width


class ScoreTable:
    """Action scores by symbolic view, each computed when the view is first met.

    Agents are functions of one observation, and where the environment has symbolic views (MiniGrid), equal views have
    equal observations; small worlds have some hundred of them.

    Args:
        scores: maps observations `(N, ...)` to scores `(N, heads, width)`.
        heads: number of controllers that share the table.
        width: number of actions.
    """

    def __init__(self, scores: Callable[[Observations], Scores], heads: int, width: int) -> None:
        self._scores = scores
        self._rows: dict[bytes, int] = {}
        self._table = np.empty((256, heads, width), dtype=np.float32)
        self._limit = min(_MAX_VIEWS, _MAX_SCORES // heads)

    def __call__(self, observations: Observations, views: npt.NDArray[np.uint8], heads: Indices | int = 0) -> Scores:
        """Return the scores `(N, width)` of one head for each view `(N, h, w, 5)`."""
        flat = np.ascontiguousarray(views).reshape(len(views), -1)
        keys: list[Any] = flat.view(np.dtype((np.void, flat.shape[1]))).ravel().tolist()
        new = {key: i for i, key in enumerate(keys) if key not in self._rows}
        if len(self._rows) + len(new) > self._limit:
            self._rows.clear()
            new = {key: i for i, key in enumerate(keys)}
        if new:
            first = len(self._rows)
            while first + len(new) > len(self._table):
                self._table = np.concatenate([self._table, np.empty_like(self._table)])
            self._table[first : first + len(new)] = self._scores(observations[list(new.values())])
            self._rows.update({key: first + i for i, key in enumerate(new)})
        return self._table[[self._rows[key] for key in keys], heads]


class Policy:
    """An actor in an action space. It remembers the scores of discrete actions by symbolic view.

    Raises:
        IncompatibleError: where the actor's actions are not those of the space.
    """

    def __init__(self, actor: Actor, space: gymnasium.Space[Any]) -> None:
        self.actor, self.space = actor, space
        self._actions, controller = actions_of(space), getattr(actor, "controller", None)
        if controller is not None:
            _check_actions(controller.actions, self._actions, space)
        elif actor.noise_kind != noise_kind(self._actions):
            raise IncompatibleError(f"the agent's actions need {actor.noise_kind} noise, the environment takes {space}")
        self._parameters = None if isinstance(self._actions, BoxActions) else getattr(actor, "action_parameters", None)
        self._table = ScoreTable(lambda observations: self._scores(observations)[:, None], 1, self._actions.width)

    def act(
        self, observations: Observations, *, noise: Noise | None, views: npt.NDArray[np.uint8] | None = None
    ) -> npt.NDArray[Any]:
        """Choose actions for a batch `(N, ...)` whose symbolic views, where it has them, are `(N, h, w, 5)`."""
        if np.issubdtype(observations.dtype, np.floating) and not np.isfinite(observations).all():
            raise InvalidInputError("observations: expected finite values, found NaN or infinity")
        if self._parameters is None:
            return self.actor.act(observations, noise=noise)
        scores = self._scores(observations) if views is None else self._table(observations, views)
        chosen = best_actions(self._actions, scores if noise is None else scores + noise)
        return in_environment(self._actions, chosen)

    def _scores(self, observations: Observations) -> Scores:
        return self._parameters(observations).cpu().numpy()  # type: ignore[misc]


def _check_actions(own: AnyActions, taken: AnyActions, space: gymnasium.Space[Any]) -> None:
    """Raise IncompatibleError where a controller's actions are not those that an environment takes."""
    if own.kind != taken.kind:
        raise IncompatibleError(f"the agent's actions are {own.kind}, the environment takes {space}")
    if own.width != taken.width:
        raise IncompatibleError(f"the agent gives {own.width} actions, the environment takes {taken.width}")
    if isinstance(own, MultiDiscreteActions) and own.nvec != getattr(taken, "nvec", None):
        raise IncompatibleError(f"the agent chooses among {own.nvec}, the environment takes {space}")
