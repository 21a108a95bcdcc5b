"""Running normalization of vectors in training: once a rollout, before it.

Within a rollout and the update on it the statistics stay, so that the update's probability ratios start at 1.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlstitch.envs import World, make_vec
from rlstitch.rollouts.drivers import draw_actions
from rlstitch.training.callbacks import Callback

_STEPS, _ENVIRONMENTS = 128, 16


def random_observations(world: World, *, seed: int) -> NDArray[Any]:
    """Return observations `(n, ...)` of random actions, from which the statistics begin."""
    rng, seen = np.random.default_rng(seed), []
    with closing(make_vec(world, _ENVIRONMENTS, seed=seed)) as env:
        observations, _ = env.reset(seed=seed)
        for _ in range(_STEPS):
            seen.append(observations)
            observations, *_ = env.step(draw_actions(rng, env.single_action_space, _ENVIRONMENTS))
    return np.concatenate(seen)


class NormalizationCallback(Callback):
    """Take the observations of each rollout into the encoder's statistics, before the next one.

    Args:
        first: observations `(n, D)` to begin with; None where a training is resumed.
    """

    def __init__(self, first: NDArray[Any] | None) -> None:
        super().__init__()
        self._next = first

    def _on_rollout_start(self) -> None:
        if self._next is not None:
            policy: Any = self.model.policy
            policy.encoder.observe(torch.as_tensor(self._next, device=self.model.device).flatten(0, -2))
            self._next = None

    def _on_rollout_end(self) -> None:
        model: Any = self.model
        self._next = model.rollout_buffer.observations
