"""A rollout buffer that hands out each distinct observation once: a grid world shows the same view over and over.

The encoder is most of a gradient step, and equal observations have equal latents: encoding the distinct ones of a
minibatch and repeating their latents gives the same loss and, up to the order of sums, the same gradients.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from torch import Tensor

_WORTH_IT = 0.8
"""Share of distinct observations in a minibatch above which it is handed out as it is."""


class DistinctObservations:
    """Observations in two parts: the distinct ones `images (M, ...)`, and `where (N,)`, which of them each one is."""

    def __init__(self, images: Tensor, where: Tensor) -> None:
        self.images = images
        self.where = where

    def all(self) -> Tensor:
        """Return the observations one by one, `(N, ...)`."""
        return self.images[self.where]


class DistinctRolloutBuffer(RolloutBuffer):
    """Stable-Baselines3's rollout buffer; its samples' observations are `DistinctObservations` where that pays."""

    _identities: npt.NDArray[np.intp] | None = None
    """Of each observation in the buffer: the row of the first one that equals it."""

    def reset(self) -> None:
        """Forget the rollout."""
        super().reset()
        self._identities = None

    def _get_samples(self, batch_inds: npt.NDArray[Any], env: Any = None) -> RolloutBufferSamples:
        if self._identities is None:
            self._identities = identities(self.observations)
        rows, where = np.unique(self._identities[batch_inds], return_inverse=True)
        if len(rows) > _WORTH_IT * len(batch_inds):
            return super()._get_samples(batch_inds, env)
        observations: Any = DistinctObservations(self.to_torch(self.observations[rows]), self.to_torch(where))
        rest = (
            self.actions[batch_inds].astype(np.float32, copy=False),
            self.values[batch_inds].flatten(),
            self.log_probs[batch_inds].flatten(),
            self.advantages[batch_inds].flatten(),
            self.returns[batch_inds].flatten(),
        )
        return RolloutBufferSamples(observations, *map(self.to_torch, rest))


def identities(observations: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Return, for each observation `(N, ...)`, the number of the first one that is equal to it, `(N,)`."""
    count = len(observations)
    raw = np.ascontiguousarray(observations).reshape(count, -1).view(np.uint8)
    words = raw.view(np.uint64) if raw.shape[1] % 8 == 0 else raw
    # Multiply and add by random odd numbers, modulo 2^64: equal rows have equal sums, others as good as never.
    factors = np.random.default_rng(0).integers(0, 2**63, words.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    sums = np.einsum("nw,w->n", words.astype(np.uint64, copy=False), factors)
    _, first, where = np.unique(sums, return_index=True, return_inverse=True)
    equals: npt.NDArray[np.intp] = first[where]
    # "As good as never" is not never: whatever differs from what it was taken for stands for itself.
    wrong = np.flatnonzero((words[equals] != words).any(axis=1))
    equals[wrong] = wrong
    return equals
