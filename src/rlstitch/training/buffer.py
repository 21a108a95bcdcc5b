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

from rlstitch.rollouts.distinct import identities

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
