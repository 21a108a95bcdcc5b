"""Who acts in a rollout, with which noise, and how few forward passes that takes."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
import numpy.typing as npt
from scipy import special

from rlstitch.errors import IncompatibleError, InvalidInputError

Observations = npt.NDArray[Any]
Noise = npt.NDArray[np.float64]

# Remembered states are bounded: some 60 MB at the 7x7 view of MiniGrid.
_MEMORY = 100_000
_BLOCK = 32


class Actor(Protocol):
    """What a rollout needs of an agent: `rlstitch.agents.Agent`, native or stitched, and `RandomAgent` have it."""

    @property
    def noise_kind(self) -> str:
        """`gumbel` for discrete actions, `normal` for continuous ones."""

    def act(self, observations: Observations, *, noise: Noise | None = None) -> npt.NDArray[Any]:
        """Choose actions for a batch; `noise` `(N, A)` samples the policy, None is greedy."""


@runtime_checkable
class _Parametric(Protocol):
    def action_parameters(self, observations: Observations) -> Any:
        """Return logits `(N, A)` as a tensor."""


class RandomAgent:
    """The baseline: every action equally likely, greedy or not.

    Args:
        action_space: Discrete, or a bounded Box.

    Raises:
        InvalidInputError: for another space, or a Box without bounds.
    """

    def __init__(self, action_space: gymnasium.Space[Any]) -> None:
        self.action_space = action_space
        self._box = action_space if isinstance(action_space, gymnasium.spaces.Box) else None
        bounded = self._box is not None and self._box.is_bounded()
        if not bounded and not isinstance(action_space, gymnasium.spaces.Discrete):
            raise InvalidInputError(f"action_space: expected Discrete or a bounded Box, found {action_space}")

    @property
    def noise_kind(self) -> str:
        """As `Actor`."""
        return "gumbel" if self._box is None else "normal"

    def act(self, observations: Observations, *, noise: Noise | None = None) -> npt.NDArray[Any]:
        """Choose actions for a batch from its noise `(N, A)`, which is therefore required."""
        if noise is None:
            raise InvalidInputError("noise: a random agent needs it, found None")
        if self._box is None:
            chosen: npt.NDArray[Any] = noise.argmax(axis=1) + int(getattr(self.action_space, "start", 0))
            return chosen
        uniform = special.ndtr(noise).reshape(-1, *self._box.shape)
        return spread(uniform, self._box)


def spread(uniform: npt.NDArray[np.float64], box: gymnasium.spaces.Box) -> npt.NDArray[Any]:
    """Spread numbers in [0, 1], `(N, ...)`, over a bounded Box: rounding never leaves its bounds."""
    actions: npt.NDArray[Any] = (box.low + uniform * (box.high - box.low)).astype(box.dtype)
    return actions.clip(box.low, box.high)


def noise_width(space: gymnasium.Space[Any]) -> int:
    """Return how many numbers of noise one action takes: the number of discrete actions, or of continuous ones."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(space.n)
    if isinstance(space, gymnasium.spaces.Box):
        return int(np.prod(space.shape))
    raise InvalidInputError(f"action_space: expected Discrete or Box, found {space}")


class NoiseStreams:
    """One stream of noise for each running episode, keyed by (seed, episode).

    An episode meets the same numbers in whichever slot, batch or process it runs: Philox is counter-based, and its key
    is the episode. Numbers are drawn in blocks.
    """

    def __init__(self, seed: int, slots: int, width: int, kind: str) -> None:
        self._seed, self._kind = seed, kind
        self._streams: list[np.random.Generator | None] = [None] * slots
        self._blocks = np.zeros((slots, _BLOCK, width))
        self._cursor = np.full(slots, _BLOCK)

    def start(self, slot: int, episode: int) -> None:
        """Give a slot the stream of an episode, from its beginning."""
        key = np.array([self._seed, episode], dtype=np.uint64)
        self._streams[slot] = np.random.Generator(np.random.Philox(key=key))
        self._cursor[slot] = _BLOCK

    def take(self, slots: npt.NDArray[np.int64]) -> Noise:
        """Return the next noise `(len(slots), width)` of some started slots."""
        for slot in slots[self._cursor[slots] == _BLOCK]:
            stream = self._streams[slot]
            if stream is None:
                raise InvalidInputError(f"slots: expected started ones, found {slot}")
            shape = self._blocks.shape[1:]
            self._blocks[slot] = stream.gumbel(size=shape) if self._kind == "gumbel" else stream.normal(size=shape)
            self._cursor[slot] = 0
        noise: Noise = self._blocks[slots, self._cursor[slots]]
        self._cursor[slots] += 1
        return noise


class Policy:
    """An actor in an action space, with a memory of the states that it has met.

    Agents here are functions of one observation. Where the environment tells states apart cheaply (the symbolic views
    of MiniGrid), action parameters are computed once a distinct view: small worlds have some hundred of them.
    """

    def __init__(self, actor: Actor, space: gymnasium.Space[Any], *, remember: bool = True) -> None:
        self.actor, self.space = actor, space
        width, needed = _action_width(actor), noise_width(space)
        if width is not None and width != needed:
            raise IncompatibleError(f"the agent gives {width} actions, the environment takes {needed}")
        discrete = isinstance(space, gymnasium.spaces.Discrete)
        expected = "gumbel" if discrete else "normal"
        if actor.noise_kind != expected:
            raise IncompatibleError(f"the agent's actions need {actor.noise_kind} noise, the environment takes {space}")
        self._start = int(space.start) if discrete else 0  # type: ignore[attr-defined]
        self._parametric = actor if discrete and isinstance(actor, _Parametric) else None
        self._remember = remember
        self._rows: dict[bytes, int] = {}
        self._table = np.empty((256, needed), dtype=np.float32)
        self.forward_rows = 0
        """Rows that went through the network."""

    def act(
        self, observations: Observations, *, noise: Noise | None, views: npt.NDArray[np.uint8] | None = None
    ) -> npt.NDArray[Any]:
        """Choose actions for a batch `(N, ...)`; `views` `(N, h, w, 5)` tell its states apart."""
        if np.issubdtype(observations.dtype, np.floating) and not np.isfinite(observations).all():
            raise InvalidInputError("observations: expected finite values, found NaN or infinity")
        if self._parametric is None:
            self.forward_rows += len(observations)
            return self.actor.act(observations, noise=noise)
        if views is None or not self._remember:
            logits = self._forward(observations)
        else:
            logits = self._recall(observations, views)
        chosen: npt.NDArray[Any] = (logits if noise is None else logits + noise).argmax(axis=1) + self._start
        return chosen

    def _recall(self, observations: Observations, views: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        flat = np.ascontiguousarray(views).reshape(len(views), -1)
        keys: list[Any] = flat.view(np.dtype((np.void, flat.shape[1]))).ravel().tolist()
        new: dict[bytes, int] = {key: i for i, key in enumerate(keys) if key not in self._rows}
        if not new:
            return self._table[[self._rows[key] for key in keys]]
        if len(self._rows) + len(new) > _MEMORY:
            self._rows.clear()
            new = {key: i for i, key in enumerate(keys)}
        logits = self._forward(observations[list(new.values())])
        start = len(self._rows)
        while start + len(new) > len(self._table):
            self._table = np.concatenate([self._table, np.empty_like(self._table)])
        self._table[start : start + len(new)] = logits
        self._rows.update({key: start + i for i, key in enumerate(new)})
        return self._table[[self._rows[key] for key in keys]]

    def _forward(self, observations: Observations) -> npt.NDArray[np.float32]:
        if self._parametric is None:
            raise InvalidInputError("agent: expected one that gives action parameters")
        self.forward_rows += len(observations)
        logits: npt.NDArray[np.float32] = self._parametric.action_parameters(observations).cpu().numpy()
        return logits


def _action_width(actor: Actor) -> int | None:
    controller = getattr(actor, "controller", None)
    return None if controller is None else int(controller.actions.width)
