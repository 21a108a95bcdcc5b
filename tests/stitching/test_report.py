"""What a stitch report says, against values worked out by other means."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from stitch_samples import WIDTH, untrained

from rlstitch.agents.controller import build_controller
from rlstitch.latent import Translation
from rlstitch.stitching.actions import compare_actions
from rlstitch.stitching.pairs import LatentPairs
from rlstitch.stitching.report import StitchReport, report_stitch
from rlstitch.stitching.stitch import stitch_agents


def latents(seed: int, count: int = 40) -> torch.Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def held_out_report(method, controller, translation, x, y) -> StitchReport:
    pairs = LatentPairs(x[:7], y[:7], x, y, distinct_views=9)
    return report_stitch(method, controller, translation, pairs)


@pytest.fixture(scope="module")
def discrete():
    return untrained().controller


@pytest.fixture(scope="module")
def continuous():
    torch.manual_seed(0)
    actions = {"kind": "box", "low": [-1.0, 0.0], "high": [1.0, 4.0]}
    controller = build_controller({"latent_dim": WIDTH, "actions": actions, "hidden": [8], "norm": "none"})
    with torch.no_grad():
        controller.action_head.weight.mul_(4.0)
        controller.log_std.copy_(torch.tensor([-0.5, 0.3]))
    return controller


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
@pytest.mark.parametrize("translation", [None, Translation.identity(WIDTH)])
def test_equal_latents_leave_nothing_to_complain_of(kind, translation, request):
    z = latents(0)
    report = held_out_report("any", request.getfixturevalue(kind), translation, z, z)
    assert (report.action_agreement, report.kl, report.residual, report.r2) == (1.0, 0.0, 0.0, 1.0)
    assert report.mean_cosine == pytest.approx(1.0)
    assert (report.method, report.pairs, report.held_out, report.distinct_views) == (
        "any",
        0 if translation is None else 7,
        40,
        9,
    )
    assert report.condition_number == (None if translation is None else 1.0)


def test_divergence_and_agreement_against_numpy(discrete):
    result, required = (discrete.action_parameters(latents(seed)).detach() for seed in (0, 1))
    changes = compare_actions(discrete, result, required)
    agreement, kl = changes.agreement, changes.mean_kl
    q, p = (np.exp(z.double().numpy()) for z in (result, required))
    q, p = q / q.sum(1, keepdims=True), p / p.sum(1, keepdims=True)
    assert kl == pytest.approx((p * np.log(p / q)).sum(1).mean(), rel=1e-4)
    assert kl != pytest.approx((q * np.log(q / p)).sum(1).mean(), rel=1e-2)  # it is not symmetric
    assert agreement == pytest.approx(np.mean(q.argmax(1) == p.argmax(1)))
    assert 0 < agreement < 1


def test_a_divergence_by_hand(discrete):
    # Of (1/2, 1/4, 1/4, 0 ...) from (1/4, 1/2, 1/4, 0 ...): 1/2 ln 2 - 1/4 ln 2.
    low = -100.0
    required = torch.tensor([[np.log(0.5), np.log(0.25), np.log(0.25)] + [low] * 4], dtype=torch.float32)
    result = torch.tensor([[np.log(0.25), np.log(0.5), np.log(0.25)] + [low] * 4], dtype=torch.float32)
    changes = compare_actions(discrete, result, required)
    agreement, kl = changes.agreement, changes.mean_kl
    assert (agreement, kl) == (0.0, pytest.approx(0.25 * np.log(2), rel=1e-5))


def test_logits_that_differ_by_a_constant_are_the_same_policy(discrete):
    result = discrete.action_parameters(latents(0)).detach()
    changes = compare_actions(discrete, result + 3.0, result)
    agreement, kl = changes.agreement, changes.mean_kl
    assert (agreement, kl) == (1.0, pytest.approx(0.0, abs=1e-5))


def test_continuous_divergence_is_that_of_two_normal_distributions(continuous):
    result, required = (continuous.action_parameters(latents(seed)).detach() for seed in (0, 1))
    deviation = continuous.log_std.exp().detach()
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(required, deviation), normal(result, deviation)).sum(1).mean()
    assert compare_actions(continuous, result, required).mean_kl == pytest.approx(float(expected), rel=1e-5)


def test_continuous_agreement_is_within_a_tenth_of_each_range_after_clipping(continuous):
    required = torch.tensor([[0.0, 2.0]] * 4 + [[5.0, 2.0]])
    # The ranges are 2 and 4; the last pair differs only out of bounds.
    result = torch.tensor([[0.19, 2.39], [0.21, 2.0], [0.0, 2.41], [-0.19, 1.61], [9.0, 2.0]])
    changes = compare_actions(continuous, result, required)
    agreement, kl = changes.agreement, changes.mean_kl
    assert agreement == pytest.approx(3 / 5)
    assert kl > 0


def test_the_figures_of_the_fit_are_those_of_the_held_out_pairs(discrete):
    x, y = latents(0), latents(1)
    translation = Translation(2.0 * torch.eye(WIDTH), torch.ones(WIDTH))
    report = held_out_report("given", discrete, translation, x, y)
    mapped, true = (2.0 * x + 1.0).double().numpy(), y.double().numpy()
    error = ((mapped - true) ** 2).sum(1).mean()
    assert report.residual == pytest.approx(np.sqrt(error), rel=1e-5)
    assert report.r2 == pytest.approx(1 - error / ((true - true.mean(0)) ** 2).sum(1).mean(), rel=1e-4)
    cosines = (mapped * true).sum(1) / np.linalg.norm(mapped, axis=1) / np.linalg.norm(true, axis=1)
    assert report.mean_cosine == pytest.approx(cosines.mean(), abs=1e-6)
    assert report.condition_number == pytest.approx(1.0)


def test_a_report_is_plain_json(red, pair):
    for method in ("naive", "affine"):
        report = stitch_agents(red, red, pair(red, red), method=method).report.to_dict()
        assert json.loads(json.dumps(report)) == report
        assert report["method"] == method
