"""Refinement: the map is fitted again on states that the stitched agent meets, and never on those held out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stitch_samples import WIDTH, mixing, moved, unlike_weights

from rlstitch.errors import InvalidInputError
from rlstitch.stitching.pairs import LatentPairs, gather_images
from rlstitch.stitching.refine import refine_stitch

FEW = 6
"""Pairs, fewer than the latents are wide."""


@pytest.fixture(scope="module")
def other(red):
    return moved(red, mixing(WIDTH))


@pytest.fixture
def few(red, other, pair) -> LatentPairs:
    """Pairs that do not span the latent space."""
    pairs = pair(red, other)
    return replace(pairs, x=pairs.x[:FEW], y=pairs.y[:FEW])


@pytest.mark.parametrize("method", ["affine", "orthogonal", "task_matched"])
def test_states_that_are_met_complete_a_map_that_the_first_pairs_left_open(method, red, other, few):
    first, *rounds = refine_stitch(red, other, few, rounds=3, method=method)
    assert [stitch.report.round for stitch in (first, *rounds)] == [None, 1, 2, 3]
    assert [stitch.report.met for stitch in (first, *rounds)] == [None, FEW, FEW, FEW]
    assert first.report.pairs == FEW
    assert FEW < rounds[-1].report.pairs <= 4 * FEW
    assert rounds[-1].report.r2 > first.report.r2
    assert rounds[-1].report.kl < first.report.kl
    assert rounds[-1].agent.card.name == first.agent.card.name
    assert all(0 <= stitch.report.met_agreement <= 1 for stitch in rounds)


def test_without_rounds_it_is_the_stitch_itself_and_equal_seeds_give_equal_maps(red, other, few):
    (only,) = refine_stitch(red, other, few, rounds=0)
    one, again, another = (refine_stitch(red, other, few, rounds=1, seed=seed) for seed in (0, 0, 1))
    assert unlike_weights(one[0].translation, only.translation) == []
    assert unlike_weights(one[1].translation, again[1].translation) == []
    assert unlike_weights(one[1].translation, another[1].translation) != []


def test_no_state_whose_view_is_held_out_is_fitted_on(red, other, few):
    x, y = (agent.encode(seen) for agent, seen in zip((red, other), gather_images(red, other, count=500), strict=True))
    first, last = refine_stitch(red, other, replace(few, x_held=x, y_held=y), rounds=1)
    assert (last.report.met, last.report.pairs) == (FEW, FEW)
    assert unlike_weights(first.translation, last.translation) == []


def test_what_cannot_be_refined_is_refused(red, other, few):
    with pytest.raises(InvalidInputError, match="refine: expected a method that fits a map, found 'naive'"):
        refine_stitch(red, other, few, rounds=1, method="naive")
    with pytest.raises(InvalidInputError, match="refine: expected 0 rounds or more, found -1"):
        refine_stitch(red, other, few, rounds=-1)
