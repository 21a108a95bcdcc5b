"""envpool's environments, each with a seed of its own, and none of them a step too far.

envpool seeds an environment when it is made, and resets one that has ended at the *next* step, whose action it ignores
and whose reward is 0. Here an environment with a new seed is a new environment, and those that have ended are reset
before they are stepped again, so that there is no such step.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rlstitch.errors import InvalidInputError, needs_extra

Rows = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]
Step = tuple[npt.NDArray[Any], npt.NDArray[np.float64], Flags, Flags]


class EnvpoolBatch:
    """`num_envs` environments of one name, stepped together or in part.

    `observe` turns what envpool observes of n environments into an array `(n, ...)`. An environment is a function of
    its seed and its actions, however many there are beside it.

    Raises:
        MissingExtraError: without envpool.
        InvalidInputError: where envpool has no environment of that name.
    """

    def __init__(
        self,
        environment: str,
        num_envs: int,
        *,
        observe: Callable[[Any], npt.NDArray[Any]] = np.asarray,
        max_episode_steps: int | None = None,
    ) -> None:
        with needs_extra("backend 'envpool'", "fast"):
            import envpool
        self._envpool = envpool
        if environment not in self._envpool.list_all_envs():
            raise InvalidInputError(f"backend: envpool has no {environment}; it needs the backend gymnasium")
        self._environment, self._observe = environment, observe
        self._options = {} if max_episode_steps is None else {"max_episode_steps": max_episode_steps}
        self._pools: dict[int, Any] = {}
        self._made = 0
        self._pool_of: Rows = np.full(num_envs, -1, dtype=np.intp)
        self._place: Rows = np.zeros(num_envs, dtype=np.intp)

    def reset(self, rows: Rows, seeds: Sequence[int | None]) -> npt.NDArray[Any]:
        """Start episodes in some environments; return what they show, `(len(rows), ...)`.

        With a seed an environment is made anew; without one it goes on to its next episode.
        """
        fresh = [i for i, (row, seed) in enumerate(zip(rows, seeds, strict=True))
                 if seed is not None or self._pool_of[row] < 0]  # fmt: skip
        if fresh:
            entropy = np.random.SeedSequence().generate_state(len(fresh))
            given = [seeds[i] for i in fresh]
            self._make(rows[fresh], [int(a) >> 1 if b is None else b for a, b in zip(entropy, given, strict=True)])
        parts = []
        for number, inside in self._by_pool(rows):
            observed, info = self._pools[number].reset(self._place[rows[inside]].astype(np.int32))
            parts.append((inside[_order(info, self._place[rows[inside]])], self._observe(observed)))
        return _joined(parts)

    def step(self, rows: Rows, actions: npt.NDArray[Any]) -> Step:
        """Take one step of some environments; observations, rewards, terminations, truncations, a row for each."""
        groups = self._by_pool(rows)
        for number, inside in groups:
            self._pools[number].send(actions[inside], self._place[rows[inside]].astype(np.int32))
        observations, numbers = [], np.empty((3, len(rows)))
        for number, inside in groups:
            observed, *results, info = self._pools[number].recv()
            places = inside[_order(info, self._place[rows[inside]])]
            observations.append((places, self._observe(observed)))
            numbers[:, places] = results
        return _joined(observations), numbers[0], numbers[1] > 0, numbers[2] > 0

    def close(self) -> None:
        """Close the environments."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        self._pool_of[:] = -1

    def _make(self, rows: Rows, seeds: Sequence[int]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Gymnasium, on bounds that it casts to float32
            self._pools[self._made] = self._envpool.make_gymnasium(
                self._environment, num_envs=len(rows), env_seed=[seed % 2**31 for seed in seeds], **self._options
            )
        self._pool_of[rows], self._place[rows] = self._made, np.arange(len(rows))
        self._made += 1
        for number in set(self._pools) - set(self._pool_of.tolist()):
            self._pools.pop(number).close()

    def _by_pool(self, rows: Rows) -> list[tuple[int, Rows]]:
        """Each pool that has some of these environments, and where those stand in `rows`."""
        pools = self._pool_of[rows]
        return [(int(number), np.flatnonzero(pools == number)) for number in np.unique(pools)]


def _order(info: dict[str, Any], places: Rows) -> Rows:
    """Where each answered environment stands among those that were asked."""
    asked: Rows = np.argsort(places)
    return np.asarray(asked[np.searchsorted(places[asked], info["env_id"])])


def _joined(parts: Sequence[tuple[Rows, npt.NDArray[Any]]]) -> npt.NDArray[Any]:
    count = sum(len(places) for places, _ in parts)
    joined = np.empty((count, *parts[0][1].shape[1:]), dtype=parts[0][1].dtype)
    for places, values in parts:
        joined[places] = values
    return joined
