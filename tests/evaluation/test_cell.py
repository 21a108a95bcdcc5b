"""One measured cell: its row against its parts, the baselines, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from stitch_samples import untrained

from rlstitch.envs import World
from rlstitch.errors import IncompatibleError, InvalidInputError, UnknownNameError
from rlstitch.evaluation.baselines import Baselines, evaluate_random
from rlstitch.evaluation.cell import measure_cell, measure_with_baselines
from rlstitch.evaluation.options import CellOptions
from rlstitch.evaluation.row import judged, make_row
from rlstitch.reporting.tables import table_text
from rlstitch.rollouts.evaluation import evaluate
from rlstitch.stitching.pairs import gather_pairs
from rlstitch.stitching.stitch import stitch_agents

SMALL = "MiniGrid-LavaCrossingS9N1-v0"
OPTIONS = CellOptions(episodes=5, pairs=24, seed=3)


@pytest.fixture(scope="module")
def agents():
    return untrained("red", environment=SMALL), untrained("green", environment=SMALL, seed=2, variation="green")


@pytest.fixture(scope="module")
def stitched(agents):
    return stitch_agents(*agents, gather_pairs(*agents, pairs=24, seed=3), method="affine")


def test_a_row_is_the_evaluation_of_the_stitched_agent(agents, stitched):
    row = measure_cell(*agents, "affine", OPTIONS)
    played = evaluate(stitched.agent, episodes=5, seed=3)
    np.testing.assert_array_equal(row.returns, played.returns)
    assert (row.encoder, row.controller, row.method) == ("red", "green", "affine")
    assert (row.episodes, row.policy, row.length_mean) == (5, "sampled", played.lengths.mean())
    assert row.return_low <= row.return_mean == played.returns.mean() <= row.return_high
    assert row.diagnostics == stitched.report.to_dict()
    assert row == measure_cell(*agents, "affine", OPTIONS, stitched=stitched)
    given = gather_pairs(*agents, pairs=24, seed=3)
    assert row == measure_cell(*agents, "affine", OPTIONS, pairs=given)


def test_an_agent_that_was_joined_by_other_means_has_no_diagnostics(agents, stitched):
    row = measure_cell(*agents, "cloned", OPTIONS, stitched=stitched.agent)
    assert (row.method, row.diagnostics) == ("cloned", None)
    assert row.return_mean == measure_cell(*agents, "affine", OPTIONS, stitched=stitched).return_mean


def test_recovery_is_that_of_its_returns(agents):
    red, _ = agents
    result = evaluate(red, episodes=4)
    random, native = np.array([0.0, 0.2, 0.1, 0.1]), np.array([1.0, 0.9, 1.1, 1.0])
    row = make_row(
        "a", "b", "affine", replace(result, returns=np.array([0.5, 0.6, 0.7, 0.4])), baselines=(random, native)
    )
    assert row.recovery == pytest.approx(100 * (0.55 - 0.1) / 0.9)
    assert row.scores == pytest.approx(100 * (np.array([0.5, 0.6, 0.7, 0.4]) - 0.1) / 0.9)
    assert row.recovery_low <= row.recovery <= row.recovery_high
    assert make_row("a", "a", "native", result).scores is None


def test_baselines_are_evaluated_once_for_every_look(agents):
    red, green = agents
    baselines = Baselines()
    first = baselines.random(red.card.world, OPTIONS)
    assert baselines.random(green.card.world, OPTIONS) is first
    assert baselines.native(red, OPTIONS) is baselines.native(red, OPTIONS)
    assert baselines.native(red, replace(OPTIONS, greedy=True)).deterministic
    np.testing.assert_array_equal(first.returns, evaluate_random(World(SMALL), OPTIONS).returns)


def test_the_rows_of_a_stitch_are_those_of_its_baselines_and_its_own(agents, stitched):
    pairs = gather_pairs(*agents, pairs=24, seed=3)
    rows = measure_with_baselines(*agents, stitched, pairs, OPTIONS)
    assert [row.method for row in rows] == ["random", "native", "naive", "affine"]
    assert [row.recovery is None for row in rows[:2]] == [True, True]
    assert rows[2:] == [measure_cell(*agents, method, OPTIONS) for method in ("naive", "affine")]


@pytest.mark.parametrize(
    ("low", "highs", "expected", "verdict"),
    [
        (95.0, (10.0, 20.0, 30.0), True, "recovered"),
        (95.0, (10.0, 96.0, 30.0), False, "failed"),
        (95.0, (), None, "recovered"),
    ],
)
def test_a_method_that_is_not_above_its_controls_has_failed(agents, low, highs, expected, verdict):
    result = OPTIONS.evaluate(agents[0])
    row = replace(make_row("a", "b", "affine", result), recovery=97.0, recovery_low=low, recovery_high=99.0)
    others = [
        replace(row, method=f"affine-{name}", recovery_high=high)
        for name, high in zip(("shuffled", "untrained", "refined-2-untrained"), highs, strict=False)
    ]
    own = replace(row, method="affine-self", recovery_high=120.0)
    for method in ("affine", "affine, round 2"):
        actual = judged(replace(row, method=method), [*others, own])
        assert (actual.above_controls, actual.verdict) == (expected, verdict)
    assert judged(replace(row, method="linear"), others).above_controls is None
    assert judged(row, others[:1]).above_controls is None  # one control says nothing of the other
    assert judged(replace(row, method="affine-refined-2"), others[:2]).above_controls is None
    weak = replace(row, method="affine-refined-2-untrained", recovery_high=97.0)
    assert judged(replace(row, method="affine-refined-2"), [*others[:2], weak]).above_controls is (
        None if not highs else False
    )
    assert [other.verdict for other in [*others, own]] == ["control"] * (len(others) + 1)


def test_a_naive_row_that_cannot_be_measured_holds_the_reason(agents):
    red, _ = agents
    wide = untrained("wide", environment=SMALL, seed=3, encoder__latent_dim=20)
    pairs = gather_pairs(red, wide, pairs=24, seed=3)
    naive = measure_with_baselines(red, wide, stitch_agents(red, wide, pairs), pairs, OPTIONS)[2]
    assert (naive.method, naive.recovery, naive.episodes, naive.verdict) == ("naive", None, 0, "unknown")
    assert math.isnan(naive.return_mean)
    *_, conditions, note = table_text([naive, replace(naive, reason="", episodes=5)]).splitlines()
    assert conditions.startswith("5 episodes a row")
    assert note.startswith("– naive: the encoder of 'red' gives latents of width")


def test_what_cannot_be_measured_is_refused(agents):
    red, _ = agents
    wide = untrained("wide", environment=SMALL, seed=3, encoder__latent_dim=20)
    with pytest.raises(IncompatibleError, match="width"):
        measure_cell(red, wide, "naive", OPTIONS)
    with pytest.raises(UnknownNameError, match="did you mean affine"):
        measure_cell(*agents, "afine", OPTIONS)
    for options in ({"episodes": 0}, {"pairs": 0}, {"seed": -1}):
        with pytest.raises(InvalidInputError, match=next(iter(options))):
            CellOptions(**options)
