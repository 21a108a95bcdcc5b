"""Actions of a controller: from action parameters to actions, and from these to those of an environment."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlstitch.agents.specs import AnyActions, BoxActions, DiscreteActions, MultiBinaryActions, MultiDiscreteActions
from rlstitch.errors import InvalidInputError
from rlstitch.storage.text import printable

Noise = npt.NDArray[np.float64]


def actions_of(space: spaces.Space[Any]) -> AnyActions:
    """Describe a Gymnasium action space for a controller's specification.

    Raises:
        InvalidInputError: for spaces other than Discrete, Box, MultiDiscrete and MultiBinary.
    """
    axes = space.shape if space.shape is not None and len(space.shape) != 1 else None
    if isinstance(space, spaces.Discrete):
        return DiscreteActions(n=int(space.n), start=int(space.start))
    if isinstance(space, spaces.Box):
        return BoxActions(low=tuple(space.low.ravel()), high=tuple(space.high.ravel()), shape=axes)
    if isinstance(space, spaces.MultiDiscrete):
        start = tuple(space.start.ravel()) if space.start.any() else None
        return MultiDiscreteActions(nvec=tuple(space.nvec.ravel()), start=start, shape=axes)
    if isinstance(space, spaces.MultiBinary):
        return MultiBinaryActions(n=int(np.prod(space.shape)), shape=axes)
    shown = printable(space, limit=200)
    raise InvalidInputError(f"action space: expected Discrete, Box, MultiDiscrete or MultiBinary, found {shown}")


def noise_kind(actions: AnyActions) -> str:
    """Return which noise on action parameters samples a policy: `gumbel`, `logistic` (switches) or `normal` (Box)."""
    return {"box": "normal", "multi_binary": "logistic"}.get(actions.kind, "gumbel")


def draw_noise(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> Noise:
    """Draw standard noise of a kind, as `noise_kind` names it."""
    return getattr(rng, kind)(size=shape)


def best_actions(actions: AnyActions, scores: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the actions of the highest scores `(N, A)`, which are action parameters, or these and noise.

    Returns:
        int64 `(N,)` for Discrete, int64 `(N, k)` for MultiDiscrete, int8 `(N, n)` for MultiBinary, all from 0.
    """
    if isinstance(actions, MultiBinaryActions):
        return (scores > 0).astype(np.int8)
    if isinstance(actions, MultiDiscreteActions):
        parts = np.split(scores, np.cumsum(actions.nvec)[:-1], axis=1)
        return np.stack([part.argmax(axis=1) for part in parts], axis=1)
    return scores.argmax(axis=1)


def in_environment(actions: AnyActions, chosen: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a batch of a controller's actions as the environment takes them that its agent was trained in."""
    if isinstance(actions, DiscreteActions):
        return chosen + actions.start if actions.start else chosen
    if isinstance(actions, MultiDiscreteActions) and actions.start is not None:
        chosen = chosen + np.array(actions.start)
    return chosen if actions.shape is None else chosen.reshape(-1, *actions.shape)
