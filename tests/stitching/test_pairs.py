"""Pairs of latents: the same views under both agents, and none on both sides of the split."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stitch_samples import untrained

from rlstitch.agents import Agent, build_controller, build_encoder
from rlstitch.envs import World, family_of, render_views
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.rollouts.views import collect_views
from rlstitch.stitching.controls import untrained_agent
from rlstitch.stitching.pairs import FEWEST_HELD, LatentPairs, gather_images, gather_latents, gather_pairs


@pytest.fixture(scope="module")
def green():
    return untrained("green", seed=2, variation="green")


def test_rows_are_the_same_views_in_each_agents_own_look(red, green):
    same = gather_pairs(red, red, pairs=30, held=10)
    assert torch.equal(same.x, same.y)
    assert torch.equal(same.x_held, same.y_held)
    # One encoder under two looks: what differs between the two sides is the look alone.
    recoloured = untrained("recoloured", variation="green")
    pairs = gather_pairs(red, recoloured, pairs=30, held=10)
    assert not torch.equal(pairs.x, pairs.y)
    assert len(pairs.x) == len(pairs.y) == 30
    assert len(pairs.x_held) == len(pairs.y_held) == 10
    assert pairs.distinct_views == 40


def test_no_latent_is_fitted_on_and_judged_on(red, green):
    pairs = gather_pairs(red, green, pairs=50, held=20)
    rows = [{row.tobytes() for row in side.numpy()} for side in (pairs.x, pairs.x_held)]
    assert not rows[0] & rows[1]
    assert (len(rows[0]), len(rows[1])) == (50, 20)
    gaps = torch.cdist(pairs.x_held, pairs.x)
    assert float(gaps.min()) > 1e-4


@pytest.mark.parametrize(("environment", "few"), [("MiniGrid-Empty-5x5-v0", True), ("MiniGrid-DoorKey-5x5-v0", False)])
def test_a_world_of_few_views_keeps_some_that_no_map_is_fitted_on(environment, few):
    agent = untrained("small", environment=environment)
    pairs = gather_pairs(agent, agent, pairs=512, held=128)
    fitted, held = ({row.tobytes() for row in side.numpy()} for side in (pairs.x, pairs.x_held))
    assert not fitted & held
    assert len(fitted) + len(held) == len(pairs.x) + len(pairs.x_held) == pairs.distinct_views
    assert len(held) >= pairs.met_later
    assert len(held) >= min(FEWEST_HELD, pairs.coverage.distinct // 10)
    # Only where further steps show too few views, some are kept from the fit.
    assert (len(pairs.x) < pairs.coverage.distinct) == few == (pairs.met_later < FEWEST_HELD)


def test_what_is_known_of_other_views_is_an_estimate():
    agent = untrained("small")
    pairs = gather_pairs(agent, agent, pairs=512, held=128)
    views = collect_views(agent.card.world, count=640, seed=0, agents=[agent, agent])
    assert pairs.coverage == views.coverage
    once = int((views.counts == 1).sum())
    assert pairs.coverage.unseen == once / views.total
    assert pairs.coverage.observations == views.total == 20_016
    assert 50 < pairs.coverage.episodes < 2000
    further = collect_views(agent.card.world, seed=9, agents=[agent, agent], known=views.views, max_steps=8000)
    # An estimate for observations that are as if drawn: right within a factor of a few.
    assert 0 < further.counts.sum() / further.total < 10 * max(pairs.coverage.unseen, 1e-3)


def test_more_views_than_pairs_are_split_at_random():
    agent = untrained("small", environment="MiniGrid-Empty-5x5-v0")
    few = gather_pairs(agent, agent, pairs=10, held=128)
    assert (len(few.x), len(few.x_held), few.met_later) == (10, few.distinct_views - 10, 0)


@pytest.mark.parametrize(("covered", "count"), [(0.0, 60), (1.0, 20)])
def test_coverage_chooses_the_number_of_pairs(monkeypatch, covered, count):
    for name, value in (("FEW_PAIRS", 20), ("MANY_PAIRS", 60), ("COVERED", covered)):
        monkeypatch.setattr(f"rlstitch.stitching.pairs.{name}", value)
    agent = untrained("small")
    chosen, same = (gather_pairs(agent, agent, pairs=pairs, held=8) for pairs in (None, count))
    assert len(chosen.x) == count
    assert torch.equal(chosen.x, same.x)


def test_the_seed_decides(red, green):
    one, two, other = (gather_pairs(red, green, pairs=20, held=8, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.x, two.x)
    assert torch.equal(one.y_held, two.y_held)
    assert not torch.equal(one.x, other.x)


def test_several_encoders_see_the_same_states_with_the_same_split(red, green):
    other = untrained_agent(red)
    one, two = gather_latents([red, other], green, pairs=20, held=8, seed=3)
    alone = gather_pairs(red, green, pairs=20, held=8, seed=3)
    for side in ("x", "y", "x_held", "y_held"):
        assert torch.equal(getattr(one, side), getattr(alone, side))
    assert torch.equal(two.y, one.y)
    assert torch.equal(two.y_held, one.y_held)
    # The other encoder with the same agents playing: its latents are of the same states, in the same order.
    again = gather_pairs(other, green, pairs=20, held=8, seed=3, drivers=[green, red])
    assert torch.equal(two.x, again.x)
    assert torch.equal(two.x_held, again.x_held)
    assert not torch.equal(two.x, one.x)


@pytest.mark.parametrize(("pairs", "held"), [(0, 8), (-1, 8), (8, 0)])
def test_no_pairs_at_all_are_refused(pairs, held, red):
    with pytest.raises(InvalidInputError, match=r"(pairs|held): expected at least 1, found"):
        gather_pairs(red, red, pairs=pairs, held=held)


def test_agents_of_two_views_have_no_common_pairs(red):
    full = untrained("full", view="full")
    with pytest.raises(IncompatibleError, match="view"):
        gather_pairs(red, full)


def test_rows_must_match():
    two, three = torch.zeros(2, 4), torch.zeros(3, 4)
    with pytest.raises(InvalidInputError, match=r"fitting pairs: expected two matrices .* found \(2, 4\) and \(3, 4\)"):
        LatentPairs(two, three, two, two, 5)
    with pytest.raises(InvalidInputError, match="held-out pairs: there are none"):
        LatentPairs(two, two, two[:0], two[:0], 2)


def test_symbols_and_pixels_of_a_row_show_the_same_state(red):
    world = World("MiniGrid-DoorKey-5x5-v0", sensor="symbolic")
    encoder = build_encoder({"kind": "mlp", "observation_shape": family_of(world).observation_kind(world)[1]})
    card = red.card.model_copy(update={"name": "symbolic", "world": world})
    controller = build_controller({**red.controller.spec(), "latent_dim": encoder.latent_dim})
    symbolic = Agent(encoder, controller, card)
    for one, other in ((symbolic, red), (red, symbolic)):
        codes, images = sorted(gather_images(one, other, count=60), key=np.ndim)
        cells = np.split(codes.reshape(60, 7, 7, -1), [11, 17, 20, 25], axis=-1)
        views = np.stack([cell.argmax(-1) for cell in cells], axis=-1).astype(np.uint8)
        assert np.array_equal(render_views(views, variation="red"), images)
    pairs = gather_pairs(symbolic, red, pairs=60, held=20)
    assert (pairs.x.shape, pairs.y.shape, len(pairs.x_held)) == ((60, 64), (60, red.encoder.latent_dim), 20)
