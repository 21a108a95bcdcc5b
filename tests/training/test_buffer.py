"""The buffer that hands out distinct observations once: the same samples, latents and gradients as the stock one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from training_samples import ACTIONS, SPACE, policy_of_images

from rlstitch.training.buffer import DistinctObservations, DistinctRolloutBuffer, Latents

STEPS, ENVS = 16, 4


def filled(kind: type[RolloutBuffer], distinct: int) -> RolloutBuffer:
    buffer = kind(STEPS, SPACE, ACTIONS, n_envs=ENVS)
    fill(buffer, distinct)
    return buffer


def fill(buffer: RolloutBuffer, distinct: int, seed: int = 0) -> None:
    generator = np.random.default_rng(seed)
    tiles = generator.integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
    views = tiles[generator.integers(0, len(tiles), (distinct, 5, 5))].transpose(0, 3, 1, 4, 2, 5)
    views = views.reshape(distinct, *SPACE.shape)
    for _ in range(STEPS):
        seen = views[generator.integers(0, distinct, ENVS)]
        numbers = generator.normal(size=(3, ENVS)).astype(np.float32)
        actions = generator.integers(0, 3, ENVS)
        buffer.add(seen, actions, numbers[0], np.zeros(ENVS), torch.tensor(numbers[1]), torch.tensor(numbers[2]))
    buffer.compute_returns_and_advantage(torch.zeros(ENVS), np.zeros(ENVS))


class PatchRolloutBuffer(DistinctRolloutBuffer):
    patch_size = 8


def samples(kind: type[RolloutBuffer], distinct: int) -> list[Any]:
    np.random.seed(0)  # noqa: NPY002 (the stock buffer draws from it)
    return list(filled(kind, distinct).get(32))


@pytest.mark.parametrize(
    ("kind", "distinct", "images"),
    [
        (DistinctRolloutBuffer, 1, 1),
        (DistinctRolloutBuffer, 5, 5),
        (DistinctRolloutBuffer, 12, 12),
        (PatchRolloutBuffer, 1, 1),  # 4 distinct of 25 patches: too many
        (PatchRolloutBuffer, 12, 4),
    ],
)
def test_samples_are_those_of_the_stock_buffer(kind: type[RolloutBuffer], distinct: int, images: int) -> None:
    for ours, stock in zip(samples(kind, distinct), samples(RolloutBuffer, distinct), strict=True):
        assert isinstance(ours.observations, DistinctObservations)
        assert len(ours.observations.images) == images
        assert torch.equal(ours.observations.all(), stock.observations)
        for name in ("actions", "old_values", "old_log_prob", "advantages", "returns"):
            assert torch.equal(getattr(ours, name), getattr(stock, name))


def test_a_rollout_without_repeats_is_handed_out_as_it_is() -> None:
    buffer = DistinctRolloutBuffer(STEPS, SPACE, ACTIONS, n_envs=ENVS)
    buffer.observations[:] = np.random.default_rng(0).integers(0, 256, buffer.observations.shape)
    buffer.full = True
    assert all(isinstance(sample.observations, torch.Tensor) for sample in buffer.get(32))


def test_a_new_rollout_is_compared_anew() -> None:
    buffer = filled(DistinctRolloutBuffer, 2)
    list(buffer.get(32))
    buffer.reset()
    buffer.observations[:] = 7
    buffer.full = True
    assert [len(sample.observations.images) for sample in buffer.get(32)] == [1, 1]  # type: ignore[union-attr]


def test_loss_and_gradients_are_those_of_every_observation_by_itself() -> None:
    policy, gradients = policy_of_images(), []
    for kind in (PatchRolloutBuffer, DistinctRolloutBuffer, RolloutBuffer):
        sample = samples(kind, 5)[0]
        values, log_prob, entropy = policy.evaluate_actions(sample.observations, sample.actions.long().flatten())
        policy.zero_grad()
        (values.flatten() * sample.advantages + log_prob * sample.returns + entropy).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in policy.parameters() if parameter.grad is not None])
    *ours, stock = gradients
    assert len(stock) > 8
    for of_kind in ours:
        torch.testing.assert_close(of_kind, stock, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("distinct", [5, STEPS * ENVS * 100])
def test_a_frozen_encoder_sees_each_observation_of_a_rollout_once(distinct: int) -> None:
    given: list[int] = []

    def encode(observations: torch.Tensor) -> torch.Tensor:
        given.append(len(observations))
        return observations.float().mean(dim=(2, 3))

    ours, stock = (kind(STEPS, SPACE, ACTIONS, n_envs=ENVS) for kind in (DistinctRolloutBuffer, RolloutBuffer))
    ours.encode = encode
    for rollout in range(2):
        given.clear()
        for buffer in (ours, stock):
            buffer.reset()
            fill(buffer, distinct, seed=rollout)
        for epoch in range(3):
            np.random.seed(epoch)  # noqa: NPY002 (the stock buffer draws from it)
            encoded = list(ours.get(32))
            np.random.seed(epoch)  # noqa: NPY002
            for own, of_stock in zip(encoded, stock.get(32), strict=True):
                assert isinstance(own.observations, Latents)
                assert torch.equal(own.observations.latents, of_stock.observations.float().mean(dim=(2, 3)))
                assert torch.equal(own.old_log_prob, of_stock.old_log_prob)
        assert sum(given) == len(np.unique(stock.observations, axis=0))
