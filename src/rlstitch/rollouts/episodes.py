"""Episodes of a list, many at once, each started once and played to its end: short ones are not favoured."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import VectorEnv

from rlstitch.agents.actions import draw_noise
from rlstitch.errors import InvalidInputError
from rlstitch.jobs.progress import OnProgress, silent
from rlstitch.rollouts.actors import Actor, Indices, Noise, Observations, Policy, RandomAgent, noise_width

# Separates the seeds of evaluation from those that training derives from the same small numbers.
_DOMAIN = 0x726F6C6C
_BLOCK = 32
"""Steps of noise that are drawn at a time."""
MAX_EPISODE_STEPS = 100_000


@dataclass(frozen=True)
class Step:
    """One step of the running episodes: what was observed and done."""

    slots: Indices
    """Environments that run an episode of the list, `(n,)`."""
    episodes: Indices
    """Position in the list of the episode that each of them runs, `(n,)`."""
    observations: Observations
    """`(n, ...)` before the step."""
    views: npt.NDArray[np.uint8] | None
    """Symbolic views `(n, h, w, 5)` of the same states; None where the environment has none."""
    noise: Noise | None
    """`(n, A)` with which actions are sampled; None: greedy actions."""


@dataclass(frozen=True)
class Outcomes:
    """Results of the episodes, in the order of the list: `(n,)` each."""

    returns: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    """Steps; 0 for an episode that has not ended."""
    successes: npt.NDArray[np.bool_] | None
    """None where the environment reported none in any of the episodes."""

    def __getitem__(self, rows: slice) -> Outcomes:
        """Return a copy of the results of some of the episodes."""
        successes = None if self.successes is None else self.successes[rows].copy()
        return Outcomes(self.returns[rows].copy(), self.lengths[rows].copy(), successes)


@functools.lru_cache(maxsize=4096)  # the rows of a matrix have the same episodes
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
    watch: Callable[[Step, npt.NDArray[Any]], None] | None = None,
    on_progress: OnProgress = silent,
) -> Outcomes:
    """Play the listed episodes in a vector environment without autoreset.

    Episode i has its own environment seed and its own noise, both from (seed, i): what it does depends on neither the
    number of environments nor the order in which they become free.

    Args:
        actor: an Agent or `RandomAgent`, which is random even where `deterministic`.
        env: one episode at a time runs in each of its environments.
        episodes: numbers of the episodes.
        seed: of environments and noise.
        deterministic: greedy actions instead of sampled ones.
        max_episode_steps: an episode that is longer is an error.
        watch: called with each step and its actions `(n,)` or `(n, A)`.
        on_progress: called with the episodes that have ended and those in all, after each step.

    Raises:
        InvalidInputError: where an episode has not ended after `max_episode_steps`, or something is not finite.
        IncompatibleError: where the agent's actions are not the environment's.
    """
    policy = Policy(actor, env.single_action_space)
    noise_kind = None if deterministic and not isinstance(actor, RandomAgent) else actor.noise_kind
    run = EpisodeRun(env, episodes, seed, noise_kind)
    for step, actions in run.steps(
        lambda step: policy.act(step.observations, noise=step.noise, views=step.views), max_episode_steps
    ):
        if watch is not None:
            watch(step, actions)
        on_progress(run.ended, len(episodes))
    return run.outcomes()


class EpisodeRun:
    """The episodes of a list in a vector environment: an environment whose episode ends takes the next of the list.

    Args:
        env: without autoreset.
        episodes: numbers of the episodes.
        seed: of environments and noise.
        noise_kind: see `rlstitch.agents.actions.noise_kind`; None: greedy actions.
    """

    def __init__(
        self, env: VectorEnv[Any, Any, Any], episodes: Sequence[int], seed: int, noise_kind: str | None
    ) -> None:
        space = env.single_action_space
        self._env, self._seed, self._episodes = env, seed, list(episodes)
        self._noise = None if noise_kind is None else NoiseStreams(seed, env.num_envs, noise_width(space), noise_kind)
        self._next = iter(range(len(self._episodes)))
        self._running = np.full(env.num_envs, -1, dtype=np.int64)
        self._elapsed = np.zeros(env.num_envs, dtype=np.int64)
        self._returns = np.zeros(len(self._episodes))
        self._lengths = np.zeros(len(self._episodes), dtype=np.int64)
        self._successes = np.zeros(len(self._episodes), dtype=np.bool_)
        self._reports_success = False
        self._begin(np.ones(env.num_envs, dtype=np.bool_), first=True)

    def steps(
        self, choose: Callable[[Step], npt.NDArray[Any]], max_episode_steps: int
    ) -> Iterator[tuple[Step, npt.NDArray[Any]]]:
        """Play all episodes with the actions that `choose` returns; yield each step once it is taken.

        Raises:
            InvalidInputError: where an episode has not ended after `max_episode_steps`.
        """
        symbolic = getattr(self._env, "symbolic", None)
        actions = _any_actions(self._env.single_action_space, self._env.num_envs)
        while (live := np.flatnonzero(self._running >= 0)).size:
            step = Step(
                live,
                self._running[live],
                self._observations[live],
                None if symbolic is None else symbolic()[live],
                None if self._noise is None else self._noise.take(live),
            )
            actions[live] = choose(step)
            self._step(live, actions)
            yield step, actions[live]
            if self._elapsed.max(initial=0) > max_episode_steps:
                raise InvalidInputError(f"max_episode_steps: an episode has not ended after {max_episode_steps} steps")

    @property
    def ended(self) -> int:
        """How many episodes have ended."""
        return int(np.count_nonzero(self._lengths))

    def outcomes(self) -> Outcomes:
        """Return the results so far."""
        return Outcomes(self._returns, self._lengths, self._successes if self._reports_success else None)

    def _step(self, live: Indices, actions: npt.NDArray[Any]) -> None:
        self._observations, rewards, terminated, truncated, infos = self._env.step(actions)
        self._returns[self._running[live]] += rewards[live]
        self._elapsed[live] += 1
        done = terminated | truncated
        if not done.any():
            return
        ended = live[done[live]]
        self._lengths[self._running[ended]] = self._elapsed[ended]
        flags = infos.get("success", infos.get("is_success"))
        if flags is not None and len(ended):  # an environment may report its successes alone
            self._reports_success = True
            self._successes[self._running[ended]] = np.asarray(flags, dtype=np.bool_)[ended]
        self._begin(done)

    def _begin(self, free: npt.NDArray[np.bool_], *, first: bool = False) -> None:
        """Start the next episodes in the free environments; where none is left they idle and are not counted."""
        seeds: list[int | None] = [None] * self._env.num_envs
        for slot in np.flatnonzero(free).tolist():
            position = next(self._next, -1)
            self._running[slot], self._elapsed[slot] = position, 0
            # An idle environment is stepped along with the others, so it needs a state from which to step.
            seeds[slot] = 0 if position < 0 else episode_seed(self._seed, self._episodes[position])
            if position >= 0 and self._noise is not None:
                self._noise.start(slot, self._episodes[position])
        # Gymnasium's vector environments take a list of seeds, which their base class does not say.
        mask = None if first else {"reset_mask": free}
        self._observations, _ = self._env.reset(seed=cast("Any", seeds), options=mask)


class NoiseStreams:
    """One stream of noise for each running episode, keyed by (seed, episode).

    An episode meets the same numbers in whichever slot or batch it runs: Philox is counter-based, and its key is the
    episode. Numbers are drawn in blocks.
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

    def take(self, slots: Indices) -> Noise:
        """Return the next noise `(len(slots), width)` of some started slots."""
        for slot in slots[self._cursor[slots] == _BLOCK]:
            stream = self._streams[slot]
            if stream is None:
                raise InvalidInputError(f"slots: expected started ones, found {slot}")
            self._blocks[slot] = draw_noise(stream, self._kind, self._blocks.shape[1:])
            self._cursor[slot] = 0
        noise: Noise = self._blocks[slots, self._cursor[slots]]
        self._cursor[slots] += 1
        return noise


def _any_actions(space: gymnasium.Space[Any], count: int) -> npt.NDArray[Any]:
    """Return valid actions for environments that idle: as near to zero as the bounds of the space allow."""
    actions = np.zeros((count, *(space.shape or ())), dtype=space.dtype)
    return actions.clip(space.low, space.high) if isinstance(space, gymnasium.spaces.Box) else actions
