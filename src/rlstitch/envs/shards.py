"""Environments of one world in several processes, each of which steps and draws an equal share of them."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.vector.utils import batch_space

from rlstitch.envs.observation import Observations, Shape, box_of
from rlstitch.envs.single import ActionSpace
from rlstitch.envs.vector import Flags, Rewards, Rows, Shown, WorldVectorEnv
from rlstitch.errors import InvalidInputError, RlstitchError

Infos: TypeAlias = dict[str, Any]
MakeShare: TypeAlias = Callable[[int], WorldVectorEnv]
"""Makes a number of environments."""


class _Share(gymnasium.Env[Observations, npt.NDArray[Any]]):
    """The environments of one process as `AsyncVectorEnv` takes a single one: what it returns are arrays of a row each.

    Ctrl-C in a terminal reaches all processes; those of environments leave it to the one that trains.
    """

    def __init__(self, make: MakeShare, size: int, parent: int) -> None:
        if os.getpid() != parent:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        made = make(size)
        self._simulator, self._observer = made.simulator, made.observer
        self.action_space: Any = self._simulator.action_space
        self.observation_space = batch_space(box_of(self._observer.shape), size)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Observations, Infos]:
        """Begin some episodes: `seed` holds the rows of these environments in the share, and their seeds."""
        rows, seeds = seed
        self._observer.start(rows, self._simulator.start(rows, seeds))
        return self._observer.observations, {}

    def step(self, actions: npt.NDArray[Any]) -> tuple[Observations, Any, Any, Any, Infos]:
        """Take one step of all."""
        shown, rewards, terminations, truncations, infos = self._simulator.step(actions)
        self._observer.step(shown)
        return self._observer.observations, rewards, terminations, truncations, {"share": (infos,)}

    def close(self) -> None:
        """Close the environments."""
        self._simulator.close()


class Shards:
    """A simulator of `num_envs` environments in other processes; what it shows is what agents see.

    Args:
        make: makes the environments of a share.
        num_envs: how many there are in all.
        workers: how many processes share them equally.

    Raises:
        InvalidInputError: where their shares would not be equal.
        RlstitchError: in any call, where a process has ended.
    """

    def __init__(self, make: MakeShare, num_envs: int, workers: int) -> None:
        if num_envs % workers:
            raise InvalidInputError(f"processes: expected a divisor of the {num_envs} environments, found {workers}")
        self._size = num_envs // workers
        makers = [functools.partial(_Share, make, self._size, os.getpid())] * workers
        self._shares = AsyncVectorEnv(makers, copy=False, autoreset_mode=AutoresetMode.DISABLED)
        self.action_space = cast("ActionSpace", self._shares.single_action_space)
        self.shape: Shape = (self._shares.single_observation_space.shape or ())[1:]
        self._answered = True

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Within it processes are asked; when it is left early, by Ctrl-C or an error, an answer may still come."""
        self._answered = False
        try:
            yield
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise RlstitchError("a process that steps environments was killed, or ran out of memory") from None
        self._answered = True

    def start(self, rows: Rows, seeds: Sequence[int | None]) -> Shown:
        """Begin episodes in some environments; their observations `(len(rows), ...)`."""
        share = rows // self._size
        every = range(self._shares.num_envs)
        starts: Any = [
            (rows[share == i] % self._size, [seeds[j] for j in np.flatnonzero(share == i).tolist()]) for i in every
        ]
        concerned = np.isin(every, share)
        with self._asking():
            observations = self._shares.reset(seed=starts, options={"reset_mask": concerned})[0]
        return np.asarray(observations[share, rows % self._size])  # a copy of what the processes write

    def step(self, actions: npt.NDArray[Any]) -> tuple[Shown, Rewards, Flags, Flags, Infos]:
        """Take one step everywhere; observations `(N, ...)`."""
        shares = actions.reshape(-1, self._size, *actions.shape[1:])
        with self._asking():
            observations, rewards, terminations, truncations, infos = self._shares.step(shares)
        return (
            np.concatenate(observations),  # a copy of what the processes write
            rewards.reshape(-1),
            terminations.reshape(-1),
            truncations.reshape(-1),
            _merge([part for (part,) in infos["share"]], self._size),
        )

    def close(self) -> None:
        """Close the environments and end their processes; those that owe an answer are killed."""
        with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
            if self._answered:
                self._shares.close()
        self._shares.closed = True
        for process in self._shares.processes:
            process.kill()
            process.join()


class SeenElsewhere:
    """The observer of `Shards`, which show what is seen."""

    def __init__(self, shape: Shape, num_envs: int) -> None:
        self.shape = shape
        self.observations: Observations = np.zeros((num_envs, *shape), dtype=box_of(shape).dtype)

    def start(self, rows: Rows, shown: Shown) -> None:
        """Take the observations of environments that begin an episode; changed in place."""
        self.observations[rows] = shown

    def step(self, shown: Shown) -> None:
        """Take the observations of all environments after a step."""
        self.observations = shown


def _merge(parts: Sequence[Infos], size: int) -> Infos:
    """Return the infos of all environments from those of shares of `size`, some of which may have no such entry."""
    merged: Infos = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        values = [part.get(name) for part in parts]
        example = next(value for value in values if value is not None)
        if isinstance(example, dict):
            merged[name] = _merge([value or {} for value in values], size)
        else:
            empty = np.full(size, None) if example.dtype == object else np.zeros(size, example.dtype)
            merged[name] = np.concatenate([empty if value is None else value for value in values])
    return merged
