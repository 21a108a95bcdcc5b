"""Resets of a vector environment: the seeds, the environments it concerns, and those that wait for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rlstitch.errors import InvalidInputError

Seeds = int | Sequence[int | None] | None


def read_reset(
    seed: Seeds, options: dict[str, Any] | None, num_envs: int
) -> tuple[npt.NDArray[np.intp], list[int | None]]:
    """The environments to reset, and a seed for each of them.

    `seed` is one number (environment i gets seed + i), one a environment, or None. `options["reset_mask"]` is a bool
    array `(num_envs,)`; the caller's dictionary is left as it was.
    Raises InvalidInputError for a mask or seeds of another shape or kind, and for unknown options.
    """
    options = {} if options is None else dict(options)
    mask = options.pop("reset_mask", None)
    if options:
        raise InvalidInputError(f"options: expected reset_mask, found {', '.join(map(str, options))}")
    seeds: list[int | None]
    if seed is None:
        seeds = [None] * num_envs
    elif isinstance(seed, (int, np.integer)):
        seeds = [int(seed) + i for i in range(num_envs)]
    else:
        seeds = [None if one is None else int(one) for one in seed]
    if len(seeds) != num_envs:
        raise InvalidInputError(f"seed: expected {num_envs} seeds, one an environment, found {len(seeds)}")
    if mask is None:
        return np.arange(num_envs), seeds
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,) or not mask.any():
        found = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise InvalidInputError(f"reset_mask: expected a bool array ({num_envs},), true at least once, found {found}")
    rows = np.flatnonzero(mask)
    return rows, [seeds[row] for row in rows]


def final_observations(observations: npt.NDArray[Any], done: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return infos with the last observations `(N, ...)` of the episodes that ended, bool `(N,)`, as copies."""
    final = np.full(len(done), None, dtype=object)
    for row in np.flatnonzero(done).tolist():
        final[row] = observations[row].copy()
    return {"final_obs": final, "_final_obs": done}


class Waiting:
    """Which environments are not in an episode: none has begun, or it ended and nobody started the next."""

    def __init__(self, num_envs: int) -> None:
        self._flags = np.ones(num_envs, dtype=np.bool_)

    def started(self, rows: npt.NDArray[np.intp]) -> None:
        """These have begun an episode."""
        self._flags[rows] = False

    def ended(self, done: npt.NDArray[np.bool_]) -> None:
        """These, bool `(num_envs,)`, have ended theirs."""
        self._flags |= done

    def check(self) -> None:
        """Raises InvalidInputError where any environment waits for a reset: it cannot be stepped."""
        if self._flags.any():
            raise InvalidInputError(
                f"step: environments {np.flatnonzero(self._flags).tolist()} are not in an episode; reset them first"
            )
