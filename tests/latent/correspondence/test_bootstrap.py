"""Bootstrapped anchors: hidden pairings found again from a few seeds."""

import sys

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from rlstitch.errors import InvalidInputError, MissingExtraError
from rlstitch.latent.correspondence.optimal_transport import bootstrap_anchors


def shuffled_twin(n=120, d=12, noise=0.1, seed=0):
    """A space and a rotated, noisy, shuffled copy; `truth[i]` is the row of y that belongs to x[i]."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, d)) * np.linspace(2, 0.5, d)
    order = rng.permutation(n)
    y = hidden @ np.linalg.qr(rng.normal(size=(d, d)))[0] + noise * rng.normal(size=(n, d)) + 3
    return hidden, y[order], order.argsort()


def seed_pairs(truth, count):
    rows = np.random.default_rng(1).choice(len(truth), count, replace=False)
    return np.stack([rows, truth[rows]], axis=1)


def naive_sinkhorn(cost, epsilon, rounds=3000):
    kernel = np.exp(-cost / epsilon)
    u = v = np.ones(len(cost)) / len(cost)
    for _ in range(rounds):
        u = 1 / len(cost) / (kernel @ v)
        v = 1 / len(cost) / (kernel.T @ u)
    return u[:, None] * kernel * v


@pytest.fixture(autouse=True)
def _pot():
    pytest.importorskip("ot")


def test_a_few_seeds_find_the_hidden_pairing():
    x, y, truth = shuffled_twin()
    seeds = seed_pairs(truth, 6)
    result = bootstrap_anchors(x, y, seeds, 80)
    assert result.converged
    assert len(result.x_indices) == 80
    np.testing.assert_array_equal(np.c_[result.x_indices, result.y_indices][:6], seeds)
    assert (truth[result.x_indices] == result.y_indices).mean() > 0.97
    assert (truth == result.matches).mean() > 0.95
    np.testing.assert_array_equal(result.confidence[:6], 1)
    assert np.all(np.diff(result.confidence[6:]) <= 0)
    assert len(set(result.x_indices)) == len(set(result.y_indices)) == 80


def test_one_round_is_sinkhorn_on_the_relative_spaces():
    x, y, truth = shuffled_twin(noise=0.5)
    seeds = seed_pairs(truth, 8)
    result = bootstrap_anchors(x, y, seeds, 16, rounds=1, epsilon=0.1)
    unit = [(s - s.mean(0)) / np.linalg.norm(s - s.mean(0), axis=1, keepdims=True) for s in (x, y)]
    relative = [u @ u[column].T for u, column in zip(unit, seeds.T, strict=True)]
    relative = [r / np.linalg.norm(r, axis=1, keepdims=True) for r in relative]
    plan = naive_sinkhorn(1 - relative[0] @ relative[1].T, 0.1)
    expected = plan.argmax(1)
    free = np.setdiff1d(np.arange(len(x)), seeds[:, 0])
    np.testing.assert_array_equal(result.matches[free], expected[free])
    np.testing.assert_allclose(result.match_confidence, plan.max(1) / plan.sum(1), atol=1e-3)
    assert not result.converged


def test_without_smoothing_a_round_is_the_assignment_problem():
    x, y, truth = shuffled_twin(60)
    seeds = seed_pairs(truth, 8)
    result = bootstrap_anchors(x, y, seeds, 16, rounds=1, epsilon=1e-3)
    unit = [(s - s.mean(0)) / np.linalg.norm(s - s.mean(0), axis=1, keepdims=True) for s in (x, y)]
    relative = [u @ u[column].T for u, column in zip(unit, seeds.T, strict=True)]
    _, exact = linear_sum_assignment(cdist(*relative, "cosine"))
    assert (result.matches == exact).mean() > 0.95


def test_tiny_smoothing_works_in_the_log_domain():
    x, y, truth = shuffled_twin(60)
    result = bootstrap_anchors(x, y, seed_pairs(truth, 8), 30, epsilon=0.002, rounds=4)
    assert np.isfinite(result.confidence).all()
    assert (truth == result.matches).mean() > 0.9


def test_order_rotation_scale_and_kind_do_not_matter():
    x, y, truth = shuffled_twin()
    seeds = seed_pairs(truth, 8)
    plain = bootstrap_anchors(x, y, seeds, 40)
    order = np.random.default_rng(4).permutation(len(x))
    moved = np.c_[order.argsort()[seeds[:, 0]], seeds[:, 1]]
    np.testing.assert_array_equal(bootstrap_anchors(x[order], y, moved, 40).matches, plain.matches[order])
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(12, 12)))[0]
    turned = bootstrap_anchors(torch.from_numpy(9 * x @ rotation + 1), y, torch.from_numpy(seeds), 40)
    np.testing.assert_array_equal(turned.matches, plain.matches)
    off = bootstrap_anchors(x + 5, y, seeds, 40, center=False)
    assert (off.matches == truth).mean() < (plain.matches == truth).mean()


def test_samples_without_counterpart_are_less_sure():
    x, y, truth = shuffled_twin()
    seeds = seed_pairs(truth, 10)
    kept = np.union1d(seeds[:, 1], np.arange(80))
    place = {int(row): i for i, row in enumerate(kept)}
    result = bootstrap_anchors(x, y[kept], np.array([[i, place[int(j)]] for i, j in seeds]), 40)
    present = np.isin(truth, kept)
    assert (truth[result.x_indices] == kept[result.y_indices]).mean() > 0.9
    assert result.match_confidence[present].mean() > result.match_confidence[~present].mean() + 0.1


def test_unrelated_spaces_are_not_sure():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 12)), rng.normal(size=(100, 12))
    seeds = np.stack([np.arange(8), np.arange(8)], axis=1)
    related = shuffled_twin(100)
    sure = bootstrap_anchors(related[0], related[1], seed_pairs(related[2], 8), 40)
    assert bootstrap_anchors(x, y, seeds, 40).match_confidence.mean() < sure.match_confidence.mean() - 0.2


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        (np.array([[0, 1]]), "at least 2 pairs"),
        (np.array([0, 1]), "at least 2 pairs"),
        (np.array([[0.0, 1.0], [1.0, 2.0]]), "indices"),
        (np.array([[0, 1], [0, 2]]), "a row twice"),
        (np.array([[0, 1], [2, 120]]), "below 120"),
        (np.array([[0, 1], [-1, 2]]), "rows of x"),
    ],
)
def test_bad_seeds_are_refused(seeds, message):
    x, y, _ = shuffled_twin()
    with pytest.raises(InvalidInputError, match=message):
        bootstrap_anchors(x, y, seeds, 20)


def test_bad_options_are_refused():
    x, y, truth = shuffled_twin()
    seeds = seed_pairs(truth, 8)
    with pytest.raises(InvalidInputError, match=r"k must be a whole number in \[1, 120\]"):
        bootstrap_anchors(x, y, seeds, 121)
    with pytest.raises(InvalidInputError, match="number of seeds"):
        bootstrap_anchors(x, y, seeds, 7)
    with pytest.raises(InvalidInputError, match="epsilon"):
        bootstrap_anchors(x, y, seeds, 20, epsilon=0)
    with pytest.raises(InvalidInputError, match="x must vary"):
        bootstrap_anchors(np.full((120, 4), 0.1), y, seeds, 20)
    with pytest.raises(InvalidInputError, match="y must be finite"):
        bootstrap_anchors(x, np.where(y == y.max(), np.nan, y), seeds, 20)


def test_without_pot_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    x, y, truth = shuffled_twin()
    with pytest.raises(MissingExtraError, match=r"rlstitch\[ot\]"):
        bootstrap_anchors(x, y, seed_pairs(truth, 4), 20)
