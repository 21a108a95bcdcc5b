"""The table of a rollout's outputs: those of the policy, each computed once, and only while the weights stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from training_samples import policy_of_images

from rlstitch.training.output_table import OutputTable

GENERATOR = np.random.default_rng(0)


class Sums:
    """Sums of images, and how many were asked for."""

    def __init__(self) -> None:
        self.computed = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.computed += len(images)
        return images.float().flatten(1).sum(1, keepdim=True)


def images_of(count: int, distinct: int, size: int = 4) -> Tensor:
    """Images `(count, 3, size, size)`, channels last in memory as an environment's, `distinct` different ones."""
    views = GENERATOR.integers(0, 256, (distinct, size, size, 3), dtype=np.uint8)
    return torch.from_numpy(views[GENERATOR.integers(0, distinct, count)]).movedim(-1, 1)


@pytest.mark.parametrize("contiguous", [False, True])
def test_each_distinct_image_is_computed_once(contiguous: bool) -> None:
    sums, images = Sums(), images_of(800, distinct=9)
    table = OutputTable(sums)
    for batch in images.split(16):
        outputs = table(batch.contiguous() if contiguous else batch)
        assert torch.equal(outputs, Sums()(batch))
    assert sums.computed == 9


def test_a_table_of_new_images_is_dropped() -> None:
    sums, images = Sums(), images_of(2_000, distinct=2_000)
    table = OutputTable(sums)
    outputs = torch.cat([table(batch) for batch in images.split(100)])
    assert torch.equal(outputs, Sums()(images))
    assert not table.outputs


def test_a_rollout_has_the_outputs_of_the_present_weights() -> None:
    policy, images = policy_of_images(), images_of(64, distinct=3, size=40)
    policy.distinct_once, values = True, []
    with torch.no_grad():
        for _ in range(2):
            policy.set_training_mode(False)
            for _ in range(2):
                actions, value, log_prob = policy(images, deterministic=True)
                torch.testing.assert_close(value, policy.predict_values(images))
                torch.testing.assert_close(log_prob, policy.get_distribution(images).log_prob(actions))
            assert torch.equal(actions, policy.get_distribution(images).get_actions(deterministic=True))
            values.append(value)
            policy.set_training_mode(True)
            policy.value_net.bias += 1.0
    torch.testing.assert_close(values[1], values[0] + 1.0)
