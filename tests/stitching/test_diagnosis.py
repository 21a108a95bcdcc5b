"""Indicators of a stitch before it plays: laws, values worked out by other means, own states, the verdict."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from stitch_samples import WIDTH, mixing, moved, rotation, untrained

from rlstitch.agents.controller import build_controller
from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.views import own_images
from rlstitch.stitching.actions import compare_actions
from rlstitch.stitching.diagnosis.indicators import effective_rank, examine
from rlstitch.stitching.diagnosis.states import OwnStates, own_states
from rlstitch.stitching.diagnosis.verdict import above_chance, expected_recovery, judge
from rlstitch.stitching.stitch import stitch_agents


@pytest.fixture(scope="module")
def green():
    return untrained("green", seed=2, variation="green")


@pytest.fixture(scope="module")
def states(red, green) -> OwnStates:
    """Those of the green agent, with the red one looking on."""
    return own_states(red, green, steps=640, seed=1)


def diagnosed(encoder, policy, pairs, method, states):
    return examine(encoder, policy, stitch_agents(encoder, policy, pairs, method=method), pairs, states)


def latents(seed: int, count: int = 40) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32))


def test_overlap_is_what_two_distributions_share(red):
    result, expected = (red.controller.action_parameters(latents(seed)).detach() for seed in (0, 1))
    changes = compare_actions(red.controller, result, expected)
    p, q = (torch.softmax(z.double(), dim=1) for z in (result, expected))
    assert torch.allclose(changes.overlap.double(), 1 - (p - q).abs().sum(1) / 2, atol=1e-5)
    assert (changes.agreement, changes.mean_kl) == (float(changes.same.mean()), float(changes.kl.mean()))
    same = compare_actions(red.controller, result, result + 2.0)
    assert torch.allclose(same.overlap, torch.ones(40), atol=1e-5)
    assert float(same.kl.min()) >= 0


def test_overlap_of_continuous_actions_against_drawn_ones():
    controller = build_controller({"latent_dim": WIDTH, "actions": {"kind": "box", "low": [-9.0], "high": [9.0]}})
    with torch.no_grad():
        controller.log_std.fill_(float(np.log(2.0)))
    overlap = compare_actions(controller, torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [1.0]])).overlap
    grid = np.linspace(-30, 30, 60_001)
    one, other = (np.exp(-((grid - mean) ** 2) / 8) / np.sqrt(8 * np.pi) for mean in (0.0, 3.0))
    assert float(overlap[0]) == pytest.approx(np.minimum(one, other).sum() * 0.001, abs=1e-4)
    assert float(overlap[1]) == pytest.approx(1.0)


@pytest.mark.parametrize(("count", "dimensions"), [(1, 5), (3, 5), (5, 5)])
def test_effective_rank_of_equal_singular_values_is_their_number(count, dimensions):
    axes = torch.eye(dimensions)[:count]
    assert effective_rank(torch.cat([axes, -axes]) + 7.0) == pytest.approx(count)


def test_effective_rank_forgets_rotation_shift_and_scale_and_shrinks_with_a_flat_direction():
    x = latents(0).double()
    rank = effective_rank(x)
    assert effective_rank(3 * x @ rotation(WIDTH) + 5) == pytest.approx(rank)
    assert 1 < effective_rank(x * torch.linspace(1, 0, WIDTH)) < rank <= WIDTH
    assert effective_rank(torch.ones(9, 4)) == 0.0


def test_own_states_are_distinct_drawn_in_both_looks_and_counted(states, red, green):
    assert states.visits.sum() + states.strays.sum() == 640
    assert states.visits.sum() == 320
    assert len({image.tobytes() for image in states.y}) == len(states.y)
    assert states.x.shape == states.y.shape
    assert not np.array_equal(states.x, states.y)
    assert (states.visits + states.strays).min() >= 1


def test_own_states_follow_from_the_seed_and_meet_no_look_of_the_encoder(states, red, green):
    again = own_states(red, green, steps=640, seed=1)
    assert all(np.array_equal(getattr(again, name), getattr(states, name)) for name in ("x", "y", "visits", "strays"))
    as_green = own_states(green, green, steps=640, seed=1)
    assert np.array_equal(as_green.x, as_green.y)
    assert np.array_equal(as_green.y, states.y)
    assert not np.array_equal(own_states(red, green, steps=640, seed=2).visits[:9], states.visits[:9])


def test_own_states_refuse_what_is_none(states):
    with pytest.raises(InvalidInputError, match="equally many rows"):
        replace(states, x=states.x[:-1])
    with pytest.raises(InvalidInputError, match="expected a visit or more"):
        replace(states, visits=np.zeros_like(states.visits))
    with pytest.raises(InvalidInputError, match="steps"):
        own_states(untrained(), untrained(), steps=0)


def test_the_right_map_leaves_the_controller_as_it_was(red, pair):
    states = own_states(red, red, steps=320)
    shifted = moved(red, mixing(WIDTH), torch.ones(WIDTH))
    result = diagnosed(red, shifted, pair(red, shifted), "affine", states)
    assert result.own.agreement == pytest.approx(1.0, abs=0.01)
    assert result.own.overlap > 0.98
    assert result.own.stray_overlap > 0.98
    verdict = judge(result)
    assert verdict.label == "will carry"
    assert 0.9 <= verdict.score <= 1.0


def test_nothing_in_between_fails_and_the_spaces_are_said_to_agree(red, pair):
    states = own_states(red, red, steps=320)
    turned = moved(red, rotation(WIDTH))
    result = diagnosed(red, turned, pair(red, turned), "naive", states)
    assert result.mutual_knn == pytest.approx(1.0)
    assert result.cka == pytest.approx(1.0, abs=1e-4)
    verdict = judge(result)
    assert verdict.label != "will carry"
    assert verdict.score == pytest.approx(expected_recovery(result))
    assert any("nothing is between" in reason for reason in verdict.reasons)
    assert any(
        "agree on what is similar (100% of nearest neighbours" in reason and "a map may do" in reason
        for reason in verdict.reasons
    )
    assert verdict.score < judge(diagnosed(red, turned, pair(red, turned), "orthogonal", states)).score


def test_own_figures_against_the_states_one_by_one(red, green, pair, states):
    pairs = pair(red, green)
    stitch = stitch_agents(red, green, pairs, method="linear")
    result = examine(red, green, stitch, pairs, states).own
    greedy = [
        bool((stitch.agent.act(states.x[i : i + 1]) == green.act(states.y[i : i + 1])).all())
        for i in range(len(states.x))
    ]
    assert result.agreement == pytest.approx(np.average(greedy, weights=states.visits), abs=1e-6)
    known = [tuple(row) for row in np.round(pairs.y.numpy(), 3)]
    inside = [tuple(row) in known for row in np.round(green.encode(states.y).numpy(), 3)]
    assert result.covered == pytest.approx(np.average(inside, weights=states.visits), abs=0.02)
    assert result.states == int((states.visits > 0).sum())


def test_states_that_are_pairs_are_covered_and_others_are_not(red, green, pair, views):
    pairs = pair(red, green)
    drawn = [own_images(agent, views.views) for agent in (red, green)]
    ones = np.ones(len(views), dtype=np.int64)
    all_of_them = OwnStates(*drawn, ones, ones)
    fitted = diagnosed(red, green, pairs, "affine", all_of_them)
    assert fitted.own.covered == pytest.approx(len(pairs.x) / len(views))
    every = replace(pairs, x=torch.cat([pairs.x, pairs.x_held]), y=torch.cat([pairs.y, pairs.y_held]))
    again = diagnosed(red, green, every, "affine", all_of_them)
    assert again.own.covered == 1.0
    assert again.own.distance == pytest.approx(0.0, abs=1e-2)
    assert any("visits are to states that the map was fitted on" in reason for reason in judge(again).reasons)


def test_a_controller_that_ignores_its_input_is_not_judged(red, pair, states):
    """It keeps every action under any map: that says nothing."""
    for scale, bias in ((0.0, 3.0), (0.01, 0.0)):  # always the same action; nearly uniform
        deaf = copy.deepcopy(red)
        with torch.no_grad():
            deaf.controller.action_head.weight.mul_(scale)
            deaf.controller.action_head.bias[0] = bias
        result = diagnosed(red, deaf, pair(red, deaf), "naive", own_states(red, deaf, steps=320))
        assert result.own.overlap > 0.95
        verdict = judge(result)
        assert (verdict.label, verdict.score) == ("not judged", None)
        assert "whatever its agent sees" in verdict.reasons[0]


def test_agreement_counts_above_what_other_states_would_give(red, pair):
    """The control: latents of other states, and one latent for all, keep many actions of a controller with a habit."""
    habit = copy.deepcopy(red)
    with torch.no_grad():
        habit.controller.action_head.bias[2] = 6.0
    states = own_states(red, habit, steps=640)
    pairs = pair(red, habit)
    shuffled = replace(pairs, x=pairs.x[torch.randperm(len(pairs.x), generator=torch.Generator().manual_seed(0))])
    result, control = (diagnosed(red, habit, each, "affine", states) for each in (pairs, shuffled))
    assert control.own.overlap == pytest.approx(control.own.chance, abs=0.1)
    assert judge(control).label == "will fail"
    assert expected_recovery(result) > 0.9
    assert above_chance(control.own.overlap, control.own.chance) < 0.4 < control.own.overlap
    assert (above_chance(0.9, 0.8), above_chance(0.8, 0.9), above_chance(1.0, 1.0)) == (pytest.approx(0.5), 0.0, 0.0)


def test_what_is_not_to_be_judged_says_why(red, pair, states):
    verdict = judge(diagnosed(red, red, pair(red, red), "affine", None), "native no better than random")
    assert (verdict.label, verdict.score, verdict.reasons) == ("not judged", None, ("native no better than random",))


def test_a_verdict_that_contradicts_the_figures_beside_it_explains_itself(red, green, pair, states):
    good = diagnosed(red, red, pair(red, red), "affine", own_states(red, red, steps=320))
    bad = replace(good, held=replace(good.held, r2=-0.93))
    (reason,) = (reason for reason in judge(bad).reasons if "R² -0.93" in reason)
    assert "speak against this: R² counts every direction" in reason
    worse = replace(bad, held=replace(bad.held, action_agreement=bad.held_chance))
    assert any("was not fitted on" in reason or "hardly meets" in reason for reason in judge(worse).reasons)
    fails = replace(good, own=replace(good.own, overlap=0.3))
    assert any("look better than this" in reason for reason in judge(fails).reasons)
    assert not any("speak against" in reason for reason in judge(good).reasons)


def test_a_map_of_too_low_a_rank_and_equal_seeds_are_said(red, green, pair):
    pairs = pair(red, green)
    few = replace(pairs, x=pairs.x[:3], y=pairs.y[:3])
    reasons = judge(diagnosed(red, green, few, "linear", None)).reasons
    assert any("the map has rank 3" in reason for reason in reasons)
    assert any("cannot be seen by both" in reason for reason in reasons)
    twin = untrained("twin", variation="green")
    assert any("one seed" in reason for reason in judge(diagnosed(red, twin, pair(red, twin), "linear", None)).reasons)


def test_figures_are_plain_and_finite(red, green, pair, states):
    flat = diagnosed(red, green, pair(red, green), "affine", states).to_dict()
    assert flat["held_method"] == "affine"
    assert flat["own_states"] == int((states.visits > 0).sum())
    assert all(value is None or isinstance(value, bool | int | str) or np.isfinite(value) for value in flat.values())
    assert 0 <= flat["own_overlap"] <= 1
    assert flat["effective_rank_x"] <= flat["width_x"] == WIDTH


def test_constant_or_few_latents_leave_indicators_undefined(red, green, pair):
    pairs = pair(red, green)
    flat = replace(pairs, y=torch.ones_like(pairs.y), y_held=torch.ones_like(pairs.y_held))
    result = diagnosed(red, green, flat, "naive", None)
    assert (result.cka, result.effective_rank_y) == (None, 0.0)
    two = replace(pairs, **{name: getattr(pairs, name)[:1] for name in ("x", "y", "x_held", "y_held")})
    few = diagnosed(red, green, two, "naive", None)
    assert (few.cka, few.mutual_knn, few.knn_chance) == (None, None, None)
