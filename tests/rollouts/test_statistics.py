from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.statistics import (
    bootstrap_interval,
    gain,
    iqm,
    mean,
    recovery,
    summarize,
    why_no_recovery,
    wilson_interval,
)

FINITE = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20)


def test_iqm_golden_and_against_scipy():
    assert iqm([0.0, 1.0, 2.0, 103.0]) == pytest.approx(1.5)
    assert iqm([5.0]) == 5.0
    assert iqm([0.0, 3.0, 6.0]) == pytest.approx(3.0)  # too few to lose any
    values = np.random.default_rng(0).normal(size=(3, 41))
    np.testing.assert_allclose(iqm(values, axis=1), stats.trim_mean(values, 0.25, axis=1))


@settings(max_examples=40, deadline=None)
@given(FINITE)
def test_intervals_are_finite_and_ordered_for_any_values(values):
    for statistic in (mean, iqm):
        interval = bootstrap_interval(values, statistic, resamples=50)
        assert np.isfinite([interval.estimate, interval.low, interval.high]).all()
        assert interval.low <= interval.high
        assert min(values) - 1e-6 <= interval.low
        assert interval.high <= max(values) + 1e-6


@pytest.mark.parametrize("statistic", [mean, iqm])
@pytest.mark.parametrize("count", [2, 60, 3000])
def test_interval_is_that_of_scipy(statistic, count):
    values = np.random.default_rng(1).exponential(size=count)
    ours = bootstrap_interval(values, statistic, resamples=999, seed=2)
    oracle = stats.bootstrap(
        (values,), statistic, n_resamples=999, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert (ours.low, ours.high) == (pytest.approx(oracle.low, rel=1e-12), pytest.approx(oracle.high, rel=1e-12))


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    intervals = [bootstrap_interval(rng.normal(size=40), resamples=300, seed=i) for i in range(200)]
    covered = np.mean([i.low <= 0.0 <= i.high for i in intervals])
    assert 0.89 <= covered <= 0.99


def test_interval_is_seeded_and_does_not_depend_on_order_of_equal_work():
    values = np.arange(30.0)
    assert bootstrap_interval(values, seed=4) == bootstrap_interval(values, seed=4)
    assert bootstrap_interval(values, seed=4) != bootstrap_interval(values, seed=5)


@pytest.mark.parametrize("values", [[2.5], [2.5] * 7])
def test_nothing_varied_gives_an_interval_of_no_width(values):
    interval = bootstrap_interval(values)
    assert (interval.estimate, interval.low, interval.high) == (2.5, 2.5, 2.5)


def test_wilson_golden_values_and_ends():
    half = wilson_interval(5, 10)
    oracle = stats.binomtest(5, 10).proportion_ci(method="wilson")
    assert (half.estimate, half.low, half.high) == (0.5, pytest.approx(oracle.low), pytest.approx(oracle.high))
    none, all_ = wilson_interval(0, 100), wilson_interval(100, 100)
    assert (none.low, all_.high) == (0.0, 1.0)
    assert none.high == pytest.approx(1 - all_.low)
    assert 0.0 < none.high < 0.05


def test_recovery_of_known_cells():
    random, native = np.full(20, 1.0), np.full(20, 5.0)
    assert recovery(native, random, native).to_dict() == {"estimate": 100.0, "low": 100.0, "high": 100.0}
    assert recovery(random, random, native).estimate == 0.0
    assert recovery(np.full(20, 4.0), random, native).estimate == 75.0


def test_recovery_interval_holds_the_estimate_and_narrows_with_episodes():
    rng = np.random.default_rng(6)
    widths = []
    for n in (20, 500):
        cell = recovery(rng.normal(8, 1, n), rng.normal(0, 1, n), rng.normal(10, 1, n))
        assert cell.low < cell.estimate < cell.high
        widths.append(cell.high - cell.low)
    assert widths[1] < widths[0] / 2


def test_recovery_is_none_where_the_native_agent_is_no_better_than_chance():
    rng = np.random.default_rng(7)
    assert recovery(rng.normal(size=50), rng.normal(size=50), rng.normal(size=50)) is None


@pytest.mark.parametrize(
    ("random", "native", "reason"),
    [
        (np.r_[np.ones(9), np.zeros(91)], np.zeros(100), r"no better than random.*\[-0\.15, -0\.0\d+\], is below 0"),
        (np.r_[np.ones(2), np.zeros(98)], np.zeros(100), "no better than random.*contains 0"),
        (np.zeros(30), np.zeros(30), r"no better than random.*\[0, 0\], contains 0"),
        (np.zeros(1), np.ones(1), "one episode has no interval"),
        (np.zeros(50), np.ones(1), "one episode has no interval"),
        (np.zeros(30), np.r_[np.ones(1), np.zeros(29)], "contains 0"),
    ],
)
def test_recovery_is_undefined_with_a_reason(random, native, reason):
    # A native agent that never succeeds is at 100 % of itself, and so is a stitched agent that never does.
    assert recovery(native, random, native) is None
    assert re.search(reason, why_no_recovery(random, native))


def test_recovery_is_defined_where_the_interval_of_the_gain_is_above_0():
    random, native = np.zeros(40), np.r_[np.ones(20), np.zeros(20)]
    difference = gain(random, native)
    assert 0 < difference.low < difference.estimate == 0.5 < difference.high
    assert why_no_recovery(random, native) == ""
    assert recovery(random, random, native).estimate == 0.0


def test_summary_is_one_flat_row():
    row = summarize([0.0, 1.0, 2.0, 103.0], [False, True, True, True]).to_dict()
    assert (row["episodes"], row["mean"], row["iqm"], row["min"], row["max"]) == (4, 26.5, 1.5, 0.0, 103.0)
    assert row["success"] == 0.75
    assert row["success_low"] < 0.75 < row["success_high"]
    assert row["mean_low"] <= 26.5 <= row["mean_high"]
    assert summarize([1.0]).to_dict() | {"success": None, "std": 0.0, "mean_low": 1.0} == summarize([1.0]).to_dict()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: bootstrap_interval([]), r"values: expected an array \(values\) with at least one value"),
        (lambda: bootstrap_interval([1.0, np.nan]), "values: expected finite values, found 1"),
        (lambda: bootstrap_interval([1.0], confidence=1.0), "confidence"),
        (lambda: bootstrap_interval([1.0], resamples=0), "resamples"),
        (lambda: wilson_interval(3, 2), "successes: .* found 3 of 2"),
        (lambda: wilson_interval(0, 0), "trials >= 1"),
        (
            lambda: summarize([1.0, 2.0], [True]),
            r"successes: expected one for each of the 2 values, found shape \(1,\)",
        ),
        (lambda: recovery([np.inf], [1.0], [2.0]), "stitched: expected finite"),
        (lambda: recovery(["all"], [1.0], [2.0]), "stitched: expected numbers: .*'all'"),
        (lambda: recovery([1.0], [1.0, 2.0], [[2.0], 3.0]), "native: expected numbers"),
        (lambda: recovery([{}], [1.0], [2.0]), "stitched: expected numbers"),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(InvalidInputError, match=text):
        call()
