"""Controls: what they are of, and what they give where the right answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stitch_samples import WIDTH, mixing, moved, unlike_weights

from rlstitch.agents.encoder import MLPEncoder
from rlstitch.agents.specs import MLPSpec
from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.views import own_images
from rlstitch.stitching.controls import chance_controls, split_control, stitch_control, untrained_agent, with_controls
from rlstitch.stitching.stitch import stitch_agents


@pytest.fixture(scope="module")
def other(red):
    return moved(red, mixing(WIDTH))


def test_each_method_that_fits_a_map_has_three():
    assert with_controls(["naive", "affine"]) == [
        "naive",
        "affine",
        "affine-shuffled",
        "affine-untrained",
        "affine-self",
    ]
    assert with_controls(["affine-self", "relative"]) == ["affine-self", "relative"]
    refined = [*chance_controls("affine"), "affine-refined-2-untrained"]
    assert with_controls(["affine-refined-2"])[1:] == [*refined, "affine-self"]
    assert chance_controls("affine") == ["affine-shuffled", "affine-untrained"]
    assert chance_controls("affine, round 2") == chance_controls("affine-refined-2") == refined
    assert split_control("task_matched-shuffled") == ("task_matched", "shuffled")
    assert split_control("affine") == ("affine", "")
    assert split_control("a-new-one") == ("a-new-one", "")


@pytest.mark.parametrize("method", ["affine", "orthogonal"])
def test_only_the_controllers_own_encoder_does_as_well_as_a_planted_map(method, red, other, pair):
    pairs = pair(red, other)
    reports = {
        name: stitch_control(red, other, pairs, name, pair(untrained_agent(red), other)).report
        for name in with_controls([method])
    }
    plain, shuffled, untrained, own = reports.values()
    assert own.r2 > 0.999
    assert own.action_agreement == 1.0
    assert plain.r2 > shuffled.r2 + 0.2
    assert plain.kl < min(shuffled.kl, untrained.kl)
    assert shuffled.r2 < 0.2


def test_a_control_without_a_name_is_the_method_itself(red, other, pair):
    pairs = pair(red, other)
    one = stitch_control(red, other, pairs, "affine")
    assert unlike_weights(one.translation, stitch_agents(red, other, pairs).translation) == []
    with pytest.raises(InvalidInputError, match="affine-untrained: expected pairs of the untrained encoder"):
        stitch_control(red, other, pairs, "affine-untrained")


def test_an_untrained_encoder_has_fresh_weights_every_time_the_same(red, views):
    before = [tensor.clone() for tensor in red.encoder.state_dict().values()]
    fresh = untrained_agent(red)
    assert set(unlike_weights(fresh.encoder, red.encoder)) == set(red.encoder.state_dict())
    assert unlike_weights(fresh.encoder, untrained_agent(red).encoder) == []
    assert all(map(torch.equal, before, red.encoder.state_dict().values()))
    assert np.isfinite(fresh.encode(own_images(fresh, views.views)).numpy()).all()


def test_statistics_of_inputs_stay_in_an_untrained_encoder(red):
    encoder = MLPEncoder(MLPSpec(observation_shape=(3,), latent_dim=WIDTH))
    encoder.observe(torch.arange(12.0).reshape(4, 3))
    agent = untrained_agent(type(red)(encoder, red.controller, red.card))
    kept = [name for name, _ in encoder.named_buffers()]
    assert kept
    assert set(unlike_weights(agent.encoder, encoder)) == {name for name, _ in encoder.named_parameters()}


def test_rounds_of_refinement_are_of_the_control_and_not_of_the_method(red, other, pair):
    pairs, fresh = pair(red, other), pair(untrained_agent(red), other)
    refined = stitch_control(red, other, pairs, "affine-refined-1")
    control = stitch_control(red, other, pairs, "affine-refined-1-untrained", fresh)
    assert (refined.report.round, control.report.round) == (1, 1)
    assert unlike_weights(control.agent.encoder.base, untrained_agent(red).encoder) == []
    assert control.report.kl > refined.report.kl
    with pytest.raises(InvalidInputError, match="affine-refined-1-shuffled: rounds of refinement add pairs"):
        stitch_control(red, other, pairs, "affine-refined-1-shuffled")
