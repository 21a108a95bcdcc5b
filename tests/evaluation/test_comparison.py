"""Statistics over cells: naive loops, closed cases, coverage of the intervals, refusals."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from rlstitch.errors import InvalidInputError
from rlstitch.evaluation.comparison import aggregate, paired_test, performance_profile, probability_of_improvement
from rlstitch.rollouts.statistics import iqm, mean

SCORES = np.random.default_rng(3).normal([[0.0], [50.0], [90.0]], 10.0, size=(3, 8))


def naive_aggregate(scores, statistic, resamples, seed):
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(resamples):
        drawn = [row[rng.integers(len(row), size=len(row))] for row in scores]
        result.append(statistic(np.concatenate(drawn), axis=-1))
    return np.quantile(result, [0.025, 0.975])


@pytest.mark.parametrize("statistic", [mean, iqm])
def test_an_aggregate_is_the_statistic_of_all_scores_resampled_within_cells(statistic):
    result = aggregate(SCORES, statistic, resamples=4000, seed=1)
    assert result.estimate == pytest.approx(float(statistic(SCORES.ravel(), axis=-1)))
    low, high = naive_aggregate(SCORES, statistic, 4000, seed=2)
    width = high - low
    assert abs(result.low - low) < 0.1 * width
    assert abs(result.high - high) < 0.1 * width


def test_cells_that_differ_alone_give_no_width():
    constant = np.repeat([[0.0], [100.0]], 5, axis=1)
    result = aggregate(constant, mean)
    assert (result.low, result.estimate, result.high) == (50.0, 50.0, 50.0)


def test_blocks_do_not_change_what_is_drawn(monkeypatch):
    whole = aggregate(SCORES, iqm, resamples=50)
    monkeypatch.setattr("rlstitch.evaluation.comparison.BATCH", 24 * 7)
    assert aggregate(SCORES, iqm, resamples=50) == whole


def test_the_interval_of_a_mean_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    intervals = [
        aggregate(rng.normal([[1.0], [5.0]], 1.0, size=(2, 40)), mean, resamples=200, seed=i) for i in range(200)
    ]
    assert 0.90 <= np.mean([result.low <= 3.0 <= result.high for result in intervals]) <= 0.99


def test_probability_of_improvement_counts_pairs_and_half_the_ties():
    rng = np.random.default_rng(5)
    first, second = rng.integers(0, 4, (3, 6)).astype(float), rng.integers(0, 4, (3, 5)).astype(float)
    wins = [
        np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in product(x, y)])
        for x, y in zip(first, second, strict=True)
    ]
    result = probability_of_improvement(first, second)
    assert result.estimate == pytest.approx(np.mean(wins))
    assert 0.0 <= result.low <= result.estimate <= result.high <= 1.0
    back = probability_of_improvement(second, first)
    assert result.estimate + back.estimate == pytest.approx(1.0)


def test_probability_of_improvement_resamples_both_methods():
    first, second = SCORES[:, :4], SCORES[:, 4:] + 5.0
    rng = np.random.default_rng(9)
    result = []
    for _ in range(3000):
        rates = []
        for x, y in zip(first, second, strict=True):
            a, b = x[rng.integers(4, size=4)], y[rng.integers(4, size=4)]
            rates.append(np.mean((a[:, None] > b) + 0.5 * (a[:, None] == b)))
        result.append(np.mean(rates))
    low, high = np.quantile(result, [0.025, 0.975])
    ours = probability_of_improvement(first, second, resamples=3000)
    assert ours.low == pytest.approx(low, abs=0.04)
    assert ours.high == pytest.approx(high, abs=0.04)


def test_closed_cases_of_improvement():
    ones, zeros = np.ones((2, 3)), np.zeros((2, 3))
    assert probability_of_improvement(ones, zeros).low == 1.0
    assert probability_of_improvement(zeros, ones).high == 0.0
    assert probability_of_improvement(ones, ones).estimate == 0.5


def test_a_profile_is_the_share_above_each_level_and_never_rises():
    levels = np.linspace(-30, 130, 9)
    result = performance_profile(SCORES, levels)
    np.testing.assert_allclose(result.share, [np.mean([s > t for s in SCORES.ravel()]) for t in levels])
    assert (np.diff(result.share) <= 0).all()
    assert (result.low <= result.share).all()
    assert (result.share <= result.high).all()
    assert (result.share[0], result.low[0], result.share[-1], result.high[-1]) == (1.0, 1.0, 0.0, 0.0)


def test_a_profiles_band_is_that_of_resampled_episodes():
    rng = np.random.default_rng(4)
    level = float(np.median(SCORES[1]))
    shares = [np.mean([np.mean(row[rng.integers(8, size=8)] > level) for row in SCORES]) for _ in range(4000)]
    result = performance_profile(SCORES, [level], resamples=4000)
    assert result.low[0] == pytest.approx(np.quantile(shares, 0.025), abs=0.05)
    assert result.high[0] == pytest.approx(np.quantile(shares, 0.975), abs=0.05)


def exact_p_value(differences):
    """Every assignment of signs, as Wilcoxon counts them."""
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    sums = [sum(r for r, s in zip(ranks, signs, strict=True) if s) for signs in product((0, 1), repeat=len(ranks))]
    observed = min(ranks[differences > 0].sum(), ranks[differences < 0].sum())
    return min(1.0, 2 * np.mean(np.array(sums) <= observed)), observed


def test_the_paired_test_counts_signs():
    first = np.array([3.0, 1.0, 7.5, 2.0, 9.0, 4.0])
    second = np.array([1.0, 2.0, 1.0, 1.5, 4.0, 4.0])
    result = paired_test(first, second)
    p_value, statistic = exact_p_value((first - second)[:-1])
    assert (result.p_value, result.statistic) == (pytest.approx(p_value), statistic)
    assert result.cells == 6
    assert result.median_difference == pytest.approx(np.median(first - second))
    assert paired_test(second, first).p_value == result.p_value


def test_equal_methods_do_not_differ_and_ties_are_no_trouble():
    same = paired_test([1.0, 2.0], [1.0, 2.0])
    assert (same.statistic, same.p_value, same.median_difference) == (0.0, 1.0, 0.0)
    tied = paired_test([2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0])
    assert 0.0 < tied.p_value < 0.1
    assert tied.to_dict()["cells"] == 4
    assert paired_test([1.0], [0.0]).p_value == 1.0


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: aggregate([1.0, 2.0]), "scores"),
        (lambda: aggregate([[1.0, math.nan]]), "scores"),
        (lambda: aggregate([[1.0]], confidence=1.0), "confidence"),
        (lambda: aggregate([[1.0]], resamples=0), "resamples"),
        (lambda: probability_of_improvement([[1.0]], [[1.0], [2.0]]), "second"),
        (lambda: probability_of_improvement(np.empty((0, 3)), [[1.0]]), "first"),
        (lambda: performance_profile([[1.0]], [math.inf]), "thresholds"),
        (lambda: performance_profile([[1.0]], []), "thresholds"),
        (lambda: paired_test([1.0], [1.0, 2.0]), "first, second"),
        (lambda: paired_test([math.inf], [1.0]), "first, second"),
    ],
)
def test_refusals_name_the_parameter(call, named):
    with pytest.raises(InvalidInputError, match=f"^{named}:"):
        call()
