"""A rollout buffer that hands out each distinct observation once: a grid world shows the same views over and over.

The encoder is most of a gradient step, and equal observations have equal latents: encoding the distinct ones of a
minibatch and repeating their latents gives the same loss and, up to the order of sums, the same gradients. Convolutions
of disjoint patches, with which the encoder `small` begins, are computed once for each distinct patch of a rollout.
Observations of a frozen encoder are encoded once a rollout, whatever the number of epochs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from torch import Tensor

from rlstitch.rollouts.distinct import identities

_WORTH_IT = 0.8
"""Share of distinct observations in a minibatch above which it is handed out as it is."""
_FEW = 0.05
"""Share of distinct patches in the distinct observations of a rollout up to which these are handed out as patches: each
minibatch sees all of them."""
_ENCODED_AT_ONCE = 256
"""Observations that a frozen encoder is given at a time."""


class Latents:
    """Latents `(N, latent_dim)` of a frozen encoder, in the place of observations."""

    def __init__(self, latents: Tensor) -> None:
        self.latents = latents


class DistinctObservations:
    """Observations in parts: the distinct ones `images (M, ...)`, and `where (N,)`, which of them each one is.

    With `grid (M, h, w)` the images are given by their patches: `images (P, C, s, s)` are the distinct patches, and the
    grid says which of them is where.
    """

    def __init__(self, images: Tensor, where: Tensor, grid: Tensor | None = None) -> None:
        self.images, self.where, self.grid = images, where, grid

    def all(self) -> Tensor:
        """Return the observations one by one, `(N, ...)`."""
        if self.grid is None:
            return self.images[self.where]
        return self.images[self.grid[self.where]].permute(0, 3, 1, 4, 2, 5).flatten(2, 3).flatten(3, 4)


class DistinctRolloutBuffer(RolloutBuffer):
    """Stable-Baselines3's rollout buffer; its samples' observations are `DistinctObservations` where that pays.

    With a frozen encoder they are `Latents`.
    """

    patch_size = 1
    """See `Encoder.patch_size`."""
    encode: Callable[[Tensor], Tensor] | None = None
    """Of a frozen encoder: maps observations `(N, ...)` to latents `(N, latent_dim)`."""
    _latents: Tensor | None = None
    """Of the distinct observations of the rollout, `(M, latent_dim)`."""
    _rows: npt.NDArray[np.intp]
    """Rows of the distinct observations of the rollout, `(M,)`."""
    _where: npt.NDArray[np.intp] | None = None
    """Of each observation in the buffer: which of the distinct ones it is."""
    _patches: tuple[npt.NDArray[Any], npt.NDArray[np.intp]] | None
    """The distinct patches `(P, C, s, s)` of the rollout and, of its distinct observations, the grids `(M, h, w)`."""

    def reset(self) -> None:
        """Forget the rollout."""
        super().reset()
        self._where = self._latents = None

    def _find_distinct(self) -> npt.NDArray[np.intp]:
        self._rows, where = np.unique(identities(self.observations), return_inverse=True)
        # A minibatch repeats fewer observations than its rollout, so that none is worth it where that is not.
        worth_it = len(self._rows) <= _WORTH_IT * len(where)
        patched = worth_it and self.patch_size > 1 and self.encode is None
        self._patches = self._find_patches() if patched else None
        self._where = where
        return where

    def _find_patches(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp]] | None:
        size, images = self.patch_size, self.observations[self._rows]
        count, channels, height, width = images.shape
        split = images.reshape(count, channels, height // size, size, width // size, size).transpose(0, 2, 4, 1, 3, 5)
        patches = np.ascontiguousarray(split).reshape(-1, channels, size, size)
        rows, numbers = np.unique(identities(patches), return_inverse=True)
        return (patches[rows], numbers.reshape(split.shape[:3])) if len(rows) <= _FEW * len(patches) else None

    @torch.no_grad()
    def _encode_distinct(self, encode: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the latents of the distinct observations of the rollout, `(M, latent_dim)`."""
        batches = (
            self._rows[start : start + _ENCODED_AT_ONCE] for start in range(0, len(self._rows), _ENCODED_AT_ONCE)
        )
        return torch.cat([encode(self.to_torch(self.observations[rows])) for rows in batches])

    def _get_samples(self, batch_inds: npt.NDArray[Any], env: Any = None) -> RolloutBufferSamples:
        of_rollout = self._find_distinct() if self._where is None else self._where
        if self.encode is not None:
            if self._latents is None:
                self._latents = self._encode_distinct(self.encode)
            latents: Any = Latents(self._latents[self.to_torch(of_rollout[batch_inds])])
            return self._samples(latents, batch_inds)
        rows, where = np.unique(of_rollout[batch_inds], return_inverse=True)
        if len(rows) > _WORTH_IT * len(batch_inds):
            return super()._get_samples(batch_inds, env)
        if self._patches is None:
            parts = [self.observations[self._rows[rows]], where]
        else:
            parts = [self._patches[0], where, self._patches[1][rows]]
        observations: Any = DistinctObservations(*map(self.to_torch, parts))
        return self._samples(observations, batch_inds)

    def _samples(self, observations: Any, batch_inds: npt.NDArray[Any]) -> RolloutBufferSamples:
        """Return samples of a minibatch with these in the place of its observations."""
        rest = (
            self.actions[batch_inds].astype(np.float32, copy=False),
            self.values[batch_inds].flatten(),
            self.log_probs[batch_inds].flatten(),
            self.advantages[batch_inds].flatten(),
            self.returns[batch_inds].flatten(),
        )
        return RolloutBufferSamples(observations, *map(self.to_torch, rest))
