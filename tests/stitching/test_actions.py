"""Distances between the actions of one controller; discrete ones and those of one covariance: `test_diagnosis`."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from rlstitch.agents import build_controller
from rlstitch.stitching.actions import compare_actions

BOX = {"latent_dim": 4, "actions": {"kind": "box", "low": [-1, 0], "high": [1, 2]}, "hidden": [], "norm": "none"}


@pytest.mark.parametrize("std", ["parameter", "state"])
@pytest.mark.parametrize("squash", [False, True])
def test_divergences_are_those_of_the_normal_distributions(std: str, squash: bool) -> None:
    controller = build_controller({**BOX, "std": std, "squash": squash})
    ours, true = (controller.action_parameters(torch.randn(16, 4)) for _ in range(2))
    one, other = (
        Independent(Normal(means, torch.as_tensor(log_std).exp().expand_as(means)), 1)
        for means, log_std in map(controller.normal, (ours, true))
    )
    changes = compare_actions(controller, ours, true)
    torch.testing.assert_close(changes.kl, kl_divergence(other, one))
    assert ((changes.overlap >= 0) & (changes.overlap <= 1)).all()
    assert compare_actions(controller, true, true).agreement == 1.0


def test_squashed_actions_agree_where_they_are_saturated() -> None:
    """Means of 5 and 50 are the same action after tanh, and different ones where they are clipped at 100."""
    spec = {**BOX, "actions": {"kind": "box", "low": [-100], "high": [100]}, "std": "none"}
    for squash in (False, True):
        controller = build_controller({**spec, "squash": squash})
        assert compare_actions(controller, torch.tensor([[5.0]]), torch.tensor([[50.0]])).agreement == float(squash)
