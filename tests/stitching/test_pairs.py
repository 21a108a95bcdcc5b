"""Pairs of latents: the same views under both agents, and none on both sides of the split."""

from __future__ import annotations

import pytest
import torch
from stitch_samples import untrained

from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.stitching.pairs import LatentPairs, gather_pairs


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


def test_a_world_of_few_views_is_shared_out():
    agent = untrained("small", environment="MiniGrid-Empty-5x5-v0")
    pairs = gather_pairs(agent, agent, pairs=512, held=128)
    assert pairs.distinct_views < 100
    assert len(pairs.x) + len(pairs.x_held) == pairs.distinct_views
    assert len(pairs.x_held) == pairs.distinct_views // 5
    few = gather_pairs(agent, agent, pairs=10, held=128)
    assert (len(few.x), len(few.x_held)) == (10, few.distinct_views - 10)
    assert (pairs.exhausted, few.exhausted) == (True, False)


def test_the_seed_decides(red, green):
    one, two, other = (gather_pairs(red, green, pairs=20, held=8, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.x, two.x)
    assert torch.equal(one.y_held, two.y_held)
    assert not torch.equal(one.x, other.x)


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
