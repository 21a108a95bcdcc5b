"""Playing a list of episodes to their ends, many at once, without favour to short ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import VectorEnv

from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.actors import Actor, NoiseStreams, Observations, Policy, RandomAgent, noise_width

Indices = npt.NDArray[np.int64]
# Keeps the seeds of evaluation apart from those that training derives from the same small numbers.
_DOMAIN = 0x726F6C6C
MAX_EPISODE_STEPS = 100_000


@dataclass(frozen=True)
class Moment:
    """One step of the running episodes, before it is taken: what a film or a collection looks at."""

    slots: Indices
    """Environments that run an episode of the list, `(n,)`."""
    episodes: Indices
    """Position in the list of the episode that each of them runs, `(n,)`."""
    observations: Observations
    """`(n, ...)`"""
    actions: npt.NDArray[Any]
    """`(n,)` or `(n, A)`"""


@dataclass(frozen=True)
class Played:
    """What came of the episodes, in the order of the list: `(n,)` each."""

    returns: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    successes: npt.NDArray[np.bool_] | None
    """None where the environment reported none in any of the episodes."""


def episode_seed(seed: int, episode: int) -> int:
    """Return the environment seed of an episode: 31 bits that depend on (seed, episode) alone."""
    check_seed(seed)
    return int(np.random.SeedSequence((_DOMAIN, seed, episode)).generate_state(1)[0]) >> 1


def check_seed(seed: int) -> None:
    """Raise InvalidInputError for a seed that is negative or does not fit into 64 bits."""
    if not 0 <= seed < 2**64:
        raise InvalidInputError(f"seed: expected 0 to 2**64 - 1, found {seed}")


def play(
    actor: Actor,
    env: VectorEnv[Any, Any, Any],
    episodes: Sequence[int],
    *,
    seed: int,
    deterministic: bool = False,
    max_episode_steps: int = MAX_EPISODE_STEPS,
    watch: Callable[[Moment], None] | None = None,
) -> Played:
    """Play the listed episodes in a vector environment without autoreset; each is started once and played to its end.

    Episode i has its own environment seed and its own noise, both from (seed, i): what it does depends on neither the
    number of environments nor the order in which they become free. A slot that ends takes the next episode of the list.

    Raises:
        InvalidInputError: where an episode has not ended after `max_episode_steps`, or something is not finite.
        IncompatibleError: where the agent's actions are not the environment's.
    """
    space = env.single_action_space
    policy = Policy(actor, space)
    noisy = not deterministic or isinstance(actor, RandomAgent)
    noise = NoiseStreams(seed, env.num_envs, noise_width(space), actor.noise_kind)
    slots = Slots(env, episodes, seed, noise)
    symbolic = getattr(env, "symbolic", None)
    actions = _any_actions(space, env.num_envs)
    while (live := slots.live()).size:
        observations = slots.observations[live]
        views = None if symbolic is None else symbolic()[live]
        actions[live] = policy.act(observations, noise=noise.take(live) if noisy else None, views=views)
        if watch is not None:
            watch(Moment(live, slots.running[live], observations, actions[live]))
        slots.step(actions)
        if slots.longest() > max_episode_steps:
            raise InvalidInputError(f"max_episode_steps: an episode has not ended after {max_episode_steps} steps")
    return slots.played()


def _any_actions(space: gymnasium.Space[Any], count: int) -> npt.NDArray[Any]:
    """Actions that a space has, for slots that idle: as near to zero as its bounds allow."""
    actions = np.zeros((count, *(space.shape or ())), dtype=space.dtype)
    return actions.clip(space.low, space.high) if isinstance(space, gymnasium.spaces.Box) else actions


class Slots:
    """Which environment runs which episode, and what the episodes have come to."""

    def __init__(self, env: VectorEnv[Any, Any, Any], episodes: Sequence[int], seed: int, noise: NoiseStreams) -> None:
        self._env, self._seed, self._noise = env, seed, noise
        self._episodes = list(episodes)
        self._next: Iterator[int] = iter(range(len(self._episodes)))
        self.running = np.full(env.num_envs, -1, dtype=np.int64)
        self._returns = np.zeros(len(self._episodes))
        self._lengths = np.zeros(len(self._episodes), dtype=np.int64)
        self._successes = np.zeros(len(self._episodes), dtype=np.bool_)
        self._reported = False
        self._elapsed = np.zeros(env.num_envs, dtype=np.int64)
        self.observations: Observations = np.empty(0)
        self._begin(np.ones(env.num_envs, dtype=np.bool_), first=True)

    def live(self) -> Indices:
        """Return the slots that run an episode."""
        return np.flatnonzero(self.running >= 0)

    def longest(self) -> int:
        """Return the number of steps of the longest episode that is running."""
        return int(self._elapsed.max(initial=0))

    def step(self, actions: npt.NDArray[Any]) -> None:
        """Step all environments, take down the episodes that ended, and start the next ones in their slots."""
        self.observations, rewards, terminated, truncated, infos = self._env.step(actions)
        live = self.live()
        self._returns[self.running[live]] += rewards[live]
        self._elapsed[live] += 1
        done = terminated | truncated
        if not done.any():
            return
        ended = live[done[live]]
        self._lengths[self.running[ended]] = self._elapsed[ended]
        flags = infos.get("success", infos.get("is_success"))
        if flags is not None and len(ended):  # an environment may report its successes alone
            self._reported = True
            self._successes[self.running[ended]] = np.asarray(flags, dtype=np.bool_)[ended]
        self._begin(done)

    def played(self) -> Played:
        """Return what the episodes came to."""
        return Played(self._returns, self._lengths, self._successes if self._reported else None)

    def _begin(self, free: npt.NDArray[np.bool_], *, first: bool = False) -> None:
        """Start the next episodes in the free slots; where none is left the slot idles and is not counted."""
        seeds: list[int | None] = [None] * self._env.num_envs
        for slot in np.flatnonzero(free):
            position = next(self._next, -1)
            self.running[slot], self._elapsed[slot] = position, 0
            # An idle slot is stepped along with the others, so it needs a state from which to step.
            seeds[slot] = 0 if position < 0 else episode_seed(self._seed, self._episodes[position])
            if position >= 0:
                self._noise.start(int(slot), self._episodes[position])
        # Gymnasium's vector environments take a list of seeds, which their base class does not say.
        mask = None if first else {"reset_mask": free}
        self.observations, _ = self._env.reset(seed=cast("Any", seeds), options=mask)
