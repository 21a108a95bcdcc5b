"""Laws of stitching: what must come out where the right answer is known, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from stitch_samples import TRANSLATIONS, WIDTH, fit_map, mixing, moved, rotation, unlike_weights, untrained

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import load_agent, save_agent, weights_sha256
from rlstitch.agents.controller import build_controller
from rlstitch.agents.encoder import TranslatedEncoder, build_encoder
from rlstitch.errors import IncompatibleError, InvalidInputError, UnknownNameError
from rlstitch.rollouts.evaluation import evaluate
from rlstitch.stitching.choice import is_tie
from rlstitch.stitching.methods import BUILT_IN, CANDIDATES
from rlstitch.stitching.pairs import LatentPairs
from rlstitch.stitching.stitch import (
    check_relative,
    joined_name,
    stitch_agents,
)

SHIFT = torch.linspace(-2, 2, WIDTH)


def logits(agent: Agent, images: np.ndarray) -> np.ndarray:
    return agent.action_parameters(images).numpy()


def test_naive_with_itself_is_the_agent_itself(red, pair, images):
    result = stitch_agents(red, red, pair(red, red), method="naive")
    assert unlike_weights(result.agent.encoder, red.encoder) == []
    assert unlike_weights(result.agent.controller, red.controller) == []
    np.testing.assert_array_equal(logits(result.agent, images), logits(red, images))
    report = result.report
    assert (report.action_agreement, report.kl, report.residual, report.r2) == (1.0, 0.0, 0.0, 1.0)
    assert (report.pairs, report.condition_number, report.rank) == (0, None, None)


@pytest.mark.parametrize("method", TRANSLATIONS)
def test_a_translation_to_itself_changes_no_action(method, red, pair, images):
    result = stitch_agents(red, red, pair(red, red), method=method)
    np.testing.assert_allclose(logits(result.agent, images), logits(red, images), atol=1e-3)
    np.testing.assert_array_equal(result.agent.act(images), red.act(images))


PLANTED = [
    ("orthogonal", rotation(WIDTH), None),
    ("orthogonal", rotation(WIDTH), SHIFT),
    ("linear", mixing(WIDTH), None),
    ("affine", mixing(WIDTH), SHIFT),
    ("affine", rotation(WIDTH), SHIFT),
    ("auto", rotation(WIDTH), SHIFT),
    ("auto", mixing(WIDTH), SHIFT),
    ("scaled_orthogonal", 3 * rotation(WIDTH), SHIFT),
    ("ridge", mixing(WIDTH), None),
    ("balanced", mixing(WIDTH), SHIFT),
    ("calibrated", mixing(WIDTH), SHIFT),
    ("robust", rotation(WIDTH), SHIFT),
    ("task_matched", mixing(WIDTH), SHIFT),
    ("local", mixing(WIDTH), SHIFT),
    ("residual", mixing(WIDTH), SHIFT),
]


@pytest.mark.parametrize(("method", "matrix", "shift"), PLANTED)
def test_a_planted_map_is_recovered(method, matrix, shift, red, pair, images):
    other = moved(red, matrix, shift)
    np.testing.assert_allclose(logits(other, images), logits(red, images), atol=2e-3)  # moved and moved back
    result = stitch_agents(red, other, pair(red, other), method=method)
    np.testing.assert_allclose(logits(result.agent, images), logits(red, images), atol=0.02)
    np.testing.assert_array_equal(result.agent.act(images), red.act(images))
    assert result.report.action_agreement == 1.0
    assert result.report.kl < 1e-3
    assert result.report.r2 > 0.999
    naive = stitch_agents(red, other, pair(red, other), method="naive")
    assert naive.report.action_agreement < 0.9
    assert naive.report.kl > 10 * result.report.kl
    assert (naive.agent.act(images) != red.act(images)).any()


def test_a_low_rank_map_keeps_most_of_a_planted_one(red, pair):
    other = moved(red, mixing(WIDTH), SHIFT)
    report = stitch_agents(red, other, pair(red, other), method="low_rank").report
    assert report.rank < WIDTH
    assert 0.9 < report.r2 < 0.9999


def test_a_map_of_each_frame_is_one_map_and_needs_frames_that_are_encoded_alone(red, pair):
    spec = {**red.encoder.spec(), "image_shape": (56, 56, 6), "frames": 2}
    stacked = Agent(build_encoder(spec), red.controller, red.card)
    turn, half = rotation(WIDTH // 2).float(), WIDTH // 2
    x, x_held = (torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(n)) for n in (40, 20))
    y, y_held = (torch.cat([z[:, :half] @ turn, z[:, half:] @ turn], dim=1) for z in (x, x_held))
    result = stitch_agents(stacked, stacked, LatentPairs(x, y, x_held, y_held, distinct_views=60), method="per_frame")
    assert result.report.r2 > 0.999
    matrix = result.translation.matrix
    assert torch.equal(matrix[:half, :half], matrix[half:, half:])
    assert not matrix[:half, half:].any()
    assert not matrix[half:, :half].any()
    one = LatentPairs(x[:1], y[:1], x_held, y_held, distinct_views=21)  # two frames, where a map needs three
    with pytest.raises(InvalidInputError, match="pairs: per_frame needs at least 2, found 1"):
        stitch_agents(stacked, stacked, one, method="per_frame")
    with pytest.raises(IncompatibleError, match="found 1 of 'red' and 1 of 'red'"):
        stitch_agents(red, red, pair(red, red), method="per_frame")
    with pytest.raises(IncompatibleError, match="found 2 of 'red' and 1 of 'red'"):
        stitch_agents(stacked, red, pair(red, red), method="per_frame")


@pytest.mark.parametrize("method", ["local", "residual"])
def test_a_map_that_is_not_affine_is_saved_loaded_and_its_size_is_checked(method, red, pair, images, tmp_path):
    result = stitch_agents(red, moved(red, mixing(WIDTH)), pair(red, red), method=method).agent
    again = load_agent(save_agent(result, tmp_path / "both"))
    np.testing.assert_array_equal(logits(again, images), logits(result, images))
    spec = result.encoder.spec()
    spec["translation"]["size"] = 65_536
    with pytest.raises(InvalidInputError, match="parameters, expected at most"):
        build_encoder(spec, most=100_000)


def test_there_and_back_is_where_it_began(red, pair, images):
    other = moved(red, mixing(WIDTH), SHIFT)
    crossed = stitch_agents(red, other, pair(red, other), method="affine", name="there").agent
    back = stitch_agents(crossed, red, pair(crossed, red), method="affine", name="back").agent
    assert [parent.name for parent in back.card.parents] == ["there", "red"]
    np.testing.assert_allclose(back.encode(images), red.encode(images), atol=0.02)
    np.testing.assert_array_equal(back.act(images), red.act(images))


def test_a_stitched_agent_remembers_its_parents_and_leaves_them_alone(red, pair):
    green = untrained("green", seed=2, variation="green")
    before = [weights_sha256(part) for agent in (red, green) for part in (agent.encoder, agent.controller)]
    result = stitch_agents(red, green, pair(red, green), method="affine").agent
    encoder, controller = result.card.parents
    assert (encoder.name, encoder.role, encoder.sha256) == ("red", "encoder", weights_sha256(red.encoder))
    assert (controller.name, controller.role) == ("green", "controller")
    assert controller.sha256 == weights_sha256(green.controller)
    assert isinstance(result.encoder, TranslatedEncoder)
    assert weights_sha256(result.encoder.base) == encoder.sha256
    assert weights_sha256(result.controller) == controller.sha256
    assert (result.card.method, result.card.training) == ("affine", None)
    with torch.no_grad():
        for parameter in [*result.encoder.parameters(), *result.controller.parameters()]:
            parameter.zero_()
    assert before == [weights_sha256(part) for agent in (red, green) for part in (agent.encoder, agent.controller)]


def test_its_world_is_the_encoders_look_and_the_controllers_task(red, pair):
    green = untrained("green", seed=2, variation="green", task="scrambled")
    world = stitch_agents(red, green, pair(red, green)).agent.card.world
    assert (world.environment, world.variation, world.task) == ("MiniGrid-DoorKey-5x5-v0", "red", "scrambled")


def test_it_is_saved_loaded_and_evaluated_like_any_agent(red, pair, images, tmp_path):
    green = untrained("green", seed=2, variation="green")
    result = stitch_agents(red, green, pair(red, green), method="affine", name="both").agent
    again = load_agent(save_agent(result, tmp_path / "both"))
    assert again.card == result.card
    np.testing.assert_array_equal(logits(again, images), logits(result, images))
    one, two = (evaluate(agent, episodes=6, seed=4) for agent in (result, again))
    np.testing.assert_array_equal(one.returns, two.returns)
    np.testing.assert_array_equal(one.lengths, two.lengths)


@pytest.mark.parametrize(
    ("matrix", "noise", "count", "expected"),
    [
        (rotation(WIDTH), 0.5, 60, {"orthogonal"}),  # fewest freedoms
        (mixing(WIDTH), 0.0, 60, {"affine", "balanced"}),  # no rotation, and shifted
        (rotation(WIDTH), 0.0, 60, {"orthogonal"}),  # a tie: every map is right
    ],
)
def test_auto_takes_the_map_that_changes_fewest_actions(matrix, noise, count, expected, red, pair):
    other = moved(red, matrix, SHIFT)
    clean = pair(red, other)
    y = clean.y[:count] + noise * torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(0))
    pairs = replace(clean, x=clean.x[:count], y=y)
    result = stitch_agents(red, other, pairs, method="auto")
    assert result.report.method in expected
    assert result.report.choice.startswith(f"chose {result.report.method}: ")
    assert all(name in result.report.choice for name in (*CANDIDATES, f"over {count} pairs", "condition number"))
    assert unlike_weights(result.translation, fit_map(result.report.method, pairs.x, pairs.y)) == []


def test_auto_gives_ties_to_the_better_conditioned_map(red, pair):
    """Where every map is right, the differences between them are rounding."""
    other = moved(red, rotation(WIDTH))
    choice = stitch_agents(red, other, pair(red, other), method="auto").report.choice
    assert "chose orthogonal" in choice
    assert "condition number 1; ties with linear" in choice


@pytest.mark.parametrize(
    ("count", "mean", "noise", "expected"),
    [(64, 0.02, 0.5, False), (64, 0.0005, 0.0, True), (4096, 0.005, 0.5, True), (4096, 0.05, 0.5, False)],
)
def test_few_pairs_make_no_tie(count, mean, noise, expected):
    """64 pairs cannot tell 2 % from 0: their interval is no reason to prefer another map."""
    drawn = np.random.default_rng(0).normal(size=count)
    assert is_tie(mean + noise * (drawn - drawn.mean())) is expected


def test_auto_does_not_look_at_the_held_out_pairs(red, pair):
    pairs = pair(red, red)
    spoilt = replace(pairs, y_held=pairs.y_held + 5.0)
    chosen, clean = (stitch_agents(red, red, result, method="auto").report for result in (spoilt, pairs))
    assert (chosen.method, chosen.choice) == (clean.method, clean.choice)
    assert chosen.residual > 1.0 > clean.residual
    assert chosen.held_out == len(pairs.x_held)


def test_auto_matched_has_one_candidate_more(red, pair):
    other = moved(red, mixing(WIDTH), SHIFT)
    choice = stitch_agents(red, other, pair(red, other), method="auto_matched").report.choice
    assert all(name in choice for name in (*CANDIDATES, "task_matched"))


def test_auto_needs_pairs_to_choose_by(red, pair):
    pairs = pair(red, red)
    with pytest.raises(InvalidInputError, match="pairs"):
        stitch_agents(red, red, replace(pairs, x=pairs.x[:3], y=pairs.y[:3]), method="auto")


@pytest.mark.parametrize("method", [*TRANSLATIONS, "low_rank", "auto", "auto_matched"])
def test_too_few_pairs_are_refused_by_the_names_of_the_option_and_the_method(method, red, pair):
    least = dict.fromkeys(("orthogonal", "scaled_orthogonal", "linear", "ridge"), 2)
    needed = (least | {"robust": 4, "residual": 10, "auto": 4, "auto_matched": 4}).get(method, 3)
    pairs = pair(red, red)

    def few(count: int) -> LatentPairs:
        return LatentPairs(pairs.x[:count], pairs.y[:count], pairs.x_held, pairs.y_held, pairs.distinct_views)

    with pytest.raises(InvalidInputError, match=f"^pairs: {method} needs at least {needed}, found {needed - 1}$"):
        stitch_agents(red, red, few(needed - 1), method=method)
    assert stitch_agents(red, red, few(needed), method=method).report.pairs == needed


def test_no_map_is_fitted_on_the_held_out_pairs(red, pair):
    green = untrained("green", seed=2, variation="green")
    pairs = pair(red, green)
    for method in TRANSLATIONS:
        result, other = (
            stitch_agents(red, green, each, method=method) for each in (pairs, replace(pairs, x_held=pairs.x_held + 1))
        )
        assert unlike_weights(result.translation, other.translation) == [], method
        assert result.report != other.report


def test_pairs_of_other_agents_are_refused(red, pair):
    pairs = pair(red, red)
    wide = LatentPairs(pairs.x, pairs.y.repeat(1, 2), pairs.x_held, pairs.y_held.repeat(1, 2), pairs.distinct_views)
    expected = f"y holds latents of width {2 * WIDTH}, agent 'red' gives {WIDTH}; gather the pairs of these two agents"
    with pytest.raises(IncompatibleError, match=re.escape(expected)):
        stitch_agents(red, red, wide)


def test_widths_may_differ_for_a_translation_but_not_for_naive(red, pair):
    wide = untrained("wide", seed=2, encoder__latent_dim=20)
    pairs = pair(red, wide)
    with pytest.raises(
        IncompatibleError, match=f"'red' gives latents of width {WIDTH}, the controller of 'wide' takes 20"
    ):
        stitch_agents(red, wide, pairs, method="naive")
    for method in TRANSLATIONS:
        assert stitch_agents(red, wide, pairs, method=method).agent.encoder.latent_dim == 20


def test_an_unknown_method_offers_the_nearest(red, pair):
    with pytest.raises(UnknownNameError, match="unknown stitching method 'afine'; did you mean affine"):
        stitch_agents(red, red, pair(red, red), method="afine")


def test_environments_without_common_observations_are_refused(red, pair):
    full = untrained("full", seed=2, view="full", environment="MiniGrid-Empty-8x8-v0")
    with pytest.raises(IncompatibleError, match="no common observations"):
        stitch_agents(full, red, pair(red, red))


def relative(name: str, anchors: int = 16, **overrides) -> Agent:
    return untrained(name, representation="relative", relative__anchors=anchors, **overrides)


def test_relative_agents_of_one_anchor_set_join_with_nothing_between(pair, images):
    one, two = relative("one"), relative("two", seed=2, variation="green")
    assert one.card.anchors is not None
    result = stitch_agents(one, two, pair(one, two), method="relative")
    assert result.agent.card.anchors == one.card.anchors
    assert unlike_weights(result.agent.encoder, one.encoder) == []
    assert unlike_weights(result.agent.controller, two.controller) == []
    assert (result.report.pairs, result.report.condition_number) == (0, None)
    # It can be joined again: its encoder is relative to the same set.
    assert stitch_agents(result.agent, two, pair(result.agent, two), method="relative").agent.card.parents


def test_relative_needs_one_anchor_set(pair):
    one, two = relative("one"), relative("two", anchors=17, seed=2)
    identities = [agent.card.anchors.identity for agent in (one, two)]
    expected = f"different anchor sets: 'one' to {identities[0]}, 'two' to {identities[1]}"
    with pytest.raises(IncompatibleError, match=expected):
        stitch_agents(one, two, pair(one, two), method="relative")


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("method", ["relative", "naive"])
def test_a_relative_and_an_absolute_agent_do_not_join_without_a_map(method, order, red, pair):
    agents = [relative("near"), red][::order]
    expected = {
        "relative": "agent 'red' is absolute, relative stitching needs both relative to one anchor set",
        "naive": "agent 'near' is relative and 'red' is absolute: their latents mean different things",
    }[method]
    with pytest.raises(IncompatibleError, match=re.escape(expected)):
        stitch_agents(*agents, pair(*agents), method=method)
    assert stitch_agents(*agents, pair(*agents), method="affine").agent.card.method == "affine"


def test_names_of_stitched_agents_are_names_of_agents():
    long = ["a" * 90, "b" * 90]
    one, two = joined_name(*long, "affine"), joined_name(*long, "linear")
    assert one != two
    assert max(len(one), len(two)) <= 100
    assert joined_name("a", "b", "auto") == "a--b--auto"


def test_every_method_is_tried_here():
    assert set(BUILT_IN) == {"naive", "relative", *TRANSLATIONS, "low_rank", "per_frame", "auto", "auto_matched"}
    assert {method for method, _, _ in PLANTED} == {*TRANSLATIONS, "auto"}


def test_agents_that_project_differently_on_one_anchor_set_are_refused():
    def relative(name, normalization):
        one = untrained(name, seed=1)
        spec = {"kind": "relative", "base": one.encoder.spec(), "anchors": 8, "anchor_set": "ab"}
        controller = build_controller({**one.controller.spec(), "latent_dim": 8})
        return Agent(build_encoder({**spec, "normalization": normalization}), controller, one.card)

    check_relative(relative("a", "whiten"), relative("b", "whiten"))
    with pytest.raises(IncompatibleError, match=r"cosine after whiten.*cosine after center"):
        check_relative(relative("a", "whiten"), relative("b", "center"))
