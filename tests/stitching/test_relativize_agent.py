"""Relative agents made after training: what they keep, what does not change them, and what is refused."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from stitch_samples import WIDTH, mixing, moved, rotation, unlike_weights, untrained

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import load_agent, save_agent
from rlstitch.agents.controller import build_controller
from rlstitch.agents.encoder import CNNEncoder, RelativeEncoder
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.stitching.actions import compare_actions
from rlstitch.stitching.relativize import Distillation, Relativized, relativize_agent, visited_states
from rlstitch.stitching.stitch import stitch_agents

IDENTITY = "ab" * 32
QUICK = {"anchor_set": IDENTITY, "steps": 60, "batch_size": 32}


def relativized(agent: Agent, anchor_images: np.ndarray, states: np.ndarray, **options) -> Relativized:
    """Relativize; options of the distillation and of the projection stand side by side."""
    names = [field.name for field in fields(Distillation) if field.name in options]
    how = Distillation(**{name: options.pop(name) for name in names})
    return relativize_agent(agent, anchor_images, states, distillation=how, **options)


def features(agent: Agent, images: np.ndarray, **options) -> torch.Tensor:
    """What a relativized agent's controller sees."""
    made = relativized(agent, images[:24], images, **{**QUICK, "steps": 1, **options}).agent
    return made.encode(images)


def test_its_encoder_is_the_old_one_and_similarities_to_the_anchors(red, images):
    before = {name: tensor.clone() for name, tensor in red.encoder.state_dict().items()}
    made = relativized(red, images[:24], images, normalization="center", name="relative", **QUICK).agent
    encoder = made.encoder
    assert isinstance(encoder, RelativeEncoder)
    assert unlike_weights(encoder.base, red.encoder) == []
    assert all(torch.equal(tensor, red.encoder.state_dict()[name]) for name, tensor in before.items())
    assert (made.card.name, made.card.method, made.controller.latent_dim) == ("relative", "relativized", 24)
    assert made.card.anchors is not None
    assert (made.card.anchors.identity, made.card.anchors.count) == (IDENTITY, 24)
    # Cosines after centring by the anchors' mean, worked out in NumPy.
    latents, anchors = red.encode(images).double().numpy(), red.encode(images[:24]).double().numpy()
    x, a = latents - anchors.mean(0), anchors - anchors.mean(0)
    expected = (x / np.linalg.norm(x, axis=1, keepdims=True)) @ (a / np.linalg.norm(a, axis=1, keepdims=True)).T
    np.testing.assert_allclose(made.encode(images).numpy(), expected, atol=1e-4)


def test_rotating_the_latent_space_changes_nothing(red, images):
    shift = torch.linspace(-1, 1, WIDTH)
    turned = moved(red, 1.7 * rotation(WIDTH), shift)
    assert not torch.allclose(turned.encode(images), red.encode(images), atol=0.1)
    relative = [features(agent, images, normalization="center") for agent in (red, turned)]
    torch.testing.assert_close(*relative, atol=1e-4, rtol=0)
    # A map that is no rotation is seen by plain cosines.
    mixed = features(moved(red, mixing(WIDTH)), images, normalization="center")
    assert float((mixed - relative[0]).abs().max()) > 0.05


def test_agents_of_equal_angles_share_their_controllers(red, images, pair):
    """What relative stitching rests on: the controller of one relative agent acts the same on the other's encoder."""
    turned = moved(red, rotation(WIDTH), name="turned")
    one, two = (
        relativized(agent, images[:24], images, normalization="center", **{**QUICK, "steps": 200}).agent
        for agent in (red, turned)
    )
    crossed = stitch_agents(one, two, pair(one, two), method="relative")
    np.testing.assert_array_equal(crossed.agent.act(images), two.act(images))
    assert crossed.report.action_agreement == 1.0
    assert crossed.report.kl < 1e-4
    naive = stitch_agents(red, turned, pair(red, turned), method="naive")
    assert naive.report.action_agreement < 1.0


def test_the_seed_decides(red, images):
    def controller(seed: int) -> torch.nn.Module:
        torch.rand(seed + 1)  # what the process has drawn before does not matter
        return relativized(red, images[:16], images, seed=seed, **QUICK).agent.controller

    assert unlike_weights(controller(1), controller(1)) == []
    assert unlike_weights(controller(1), controller(2)) != []


def test_it_is_saved_and_loaded(red, images, tmp_path):
    made = relativized(red, images[:24], images, name="kept", **QUICK).agent
    again = load_agent(save_agent(made, tmp_path / "kept"))
    assert again.card == made.card
    torch.testing.assert_close(again.encode(images), made.encode(images), rtol=0, atol=0)
    np.testing.assert_array_equal(again.act(images), made.act(images))


def test_continuous_controllers_are_distilled_too(red, images):
    torch.manual_seed(0)
    actions = {"kind": "box", "low": [-1.0], "high": [1.0]}
    controller = build_controller({"latent_dim": WIDTH, "actions": actions, "hidden": [16], "norm": "none"})
    with torch.no_grad():
        controller.log_std.fill_(-0.7)
    agent = Agent(red.encoder, controller, red.card)
    states = np.concatenate([images] * 4)
    made: Relativized = relativized(agent, images[:24], states, **{**QUICK, "steps": 300})
    assert np.abs(made.agent.act(images) - agent.act(images)).mean() < 0.1
    assert made.agent.controller.log_std.item() == pytest.approx(-0.7)
    assert made.action_agreement > 0.8  # within a tenth of the range


def test_what_was_trained_through_a_projection_gets_another_one_and_acts_as_before(images):
    """Its own projection and controller teach; the encoder before them stays."""
    through = untrained("through", representation="relative", relative__anchors=24)
    made = relativized(through, images[:30], images, anchor_set=IDENTITY, steps=400, noise=0.0).agent
    assert isinstance(through.encoder, RelativeEncoder)
    assert isinstance(made.encoder, RelativeEncoder)
    assert isinstance(made.encoder.base, CNNEncoder)
    assert unlike_weights(made.encoder.base, through.encoder.base) == []
    torch.testing.assert_close(made.encoder.anchors, through.encoder.base(through.images(images[:30])))
    assert (made.encoder.anchor_set, made.controller.latent_dim, made.card.method) == (IDENTITY, 30, "relativized")
    assert (made.act(images) == through.act(images)).mean() > 0.95


def test_twice_is_refused(red, images):
    made = relativized(red, images[:16], images, name="once", **QUICK).agent
    with pytest.raises(IncompatibleError, match=f"agent 'once' is relative already, to anchor set {IDENTITY}"):
        relativized(made, images[:16], images, **QUICK)


@pytest.mark.parametrize(("anchors", "states", "message"), [(1, 84, "anchors: .* found 1"), (8, 19, "states: .* 19")])
def test_too_few_of_either_are_refused(anchors, states, message, red, images):
    with pytest.raises(InvalidInputError, match=message):
        relativized(red, images[:anchors], images[:states], **QUICK)


def test_visited_states_are_those_of_the_agents_own_world():
    agent = untrained("green", variation="green")
    states = visited_states(agent, count=70, num_envs=8, seed=4)
    assert (states.shape, states.dtype) == ((70, 56, 56, 3), np.uint8)
    np.testing.assert_array_equal(states, visited_states(agent, count=70, num_envs=8, seed=4))
    assert (states != visited_states(agent, count=70, num_envs=8, seed=5)).any()
    floor = (states == (40, 130, 40)).all(axis=-1)
    assert floor.any()


def test_a_view_that_is_met_once_is_learned_too(red, images):
    """A rare view decides as much as a common one where one wrong step is the last."""
    states = np.concatenate([np.repeat(images[:1], 4000, axis=0), images])
    options = {"anchor_set": IDENTITY, "steps": 300, "noise": 0.05}
    often, once = (relativized(red, images, shown, **options) for shown in (images, states))
    assert often.distinct_views == once.distinct_views == len(images)
    assert _change(once.agent, red, images) < 1.7 * _change(often.agent, red, images)


def test_what_is_reported_comes_from_views_that_were_not_distilled_on(red, images):
    """Many steps on few views fit those by heart; the report must not be taken from them."""
    options = {"anchor_set": IDENTITY, "similarity": "cosine", "steps": 1000, "learning_rate": 0.01, "noise": 0.0}
    made = relativized(red, images[:8], np.repeat(images, 9, axis=0), **options)
    assert made.judged_views == 8
    assert made.kl > 1.5 * _change(made.agent, red, images)


def _change(one: Agent, two: Agent, images: np.ndarray) -> float:
    return compare_actions(
        one.controller,
        one.controller.action_parameters(one.encode(images)),
        two.controller.action_parameters(two.encode(images)),
    ).mean_kl


def test_without_judging_there_are_no_figures(red, images):
    judged, plain = (relativized(red, images[:16], images, judge=judge, **QUICK) for judge in (True, False))
    assert np.isfinite([judged.action_agreement, judged.kl]).all()
    assert np.isnan([plain.action_agreement, plain.kl]).all()


@pytest.mark.parametrize(
    ("layers", "similarity"),
    [({"hidden": []}, "dot"), ({"hidden": [8]}, "euclidean"), ({"hidden": [8], "value_hidden": [8]}, "euclidean")],
)
def test_controllers_of_any_layers_keep_their_actions_and_values(layers, similarity, red, images):
    """Distances are distilled about their mean, in units of their own: the student's weights must know in the end."""
    spec = {"latent_dim": WIDTH, "actions": {"kind": "discrete", "n": 7}, "norm": "none", **layers}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        agent = Agent(red.encoder, build_controller(spec), red.card)
    options = {**QUICK, "steps": 800, "learning_rate": 0.01, "noise": 0.0, "similarity": similarity}
    made = relativized(agent, images[:24], images, judge=False, **options).agent
    (logits, values), (new_logits, new_values) = (one.controller(one.encode(images)) for one in (agent, made))
    assert (logits.softmax(1) - new_logits.softmax(1)).std() < 0.5 * logits.softmax(1).std()
    assert (values - new_values).std() < 0.5 * values.std()


def test_kernels_need_many_anchors(red, images):
    """Between few of them they leave gaps, which cosines do not; with thousands nothing need be distilled."""
    options = {**QUICK, "steps": 1, "judge": False}
    made = [relativized(red, np.tile(images, (n, 1, 1, 1)), images, **options).agent for n in (1, 4, 25)]
    kinds = [agent.encoder.spec()["similarity"] for agent in made]
    assert (len(images), kinds) == (84, ["cosine", "gaussian", "kernel_ridge"])


def test_anchors_are_not_what_it_is_judged_on(red, images):
    made = relativized(red, images, images, **QUICK)
    assert (made.judged_views, np.isnan(made.kl)) == (0, True)


def test_one_view_alone_is_refused(red, images):
    with pytest.raises(InvalidInputError, match="2 or more distinct views to distil on, found 1"):
        relativized(red, *(np.repeat(images[:1], count, axis=0) for count in (24, 30)), **QUICK)


def test_anchors_are_distilled_on_too(red, images):
    """Another encoder leads to views that the agent never meets: of these its controller knows the anchors."""
    made = relativized(red, images, images[:20], **QUICK)
    assert made.distinct_views == len(images)


def test_by_ridge_weights_a_layer_norm_gets_latents_of_one_length(red, images):
    agent = Agent(red.encoder, build_controller({**red.controller.spec(), "norm": "layer"}), red.card)
    made = relativized(agent, images[:60], images, similarity="kernel_ridge", anchor_set=IDENTITY)
    entry = made.agent.controller.trunk[0]
    lengths = torch.linalg.vector_norm(entry.weight.T + entry.bias, dim=1)
    torch.testing.assert_close(lengths, lengths[:1].expand(60))
    assert agent.encode(images[:60]).norm(dim=1).std() > 1e-3
    assert made.kl < 0.01


def test_ridge_weights_keep_the_controller_and_join_spaces_of_one_shape(red, images, pair):
    """Nothing is distilled: the weights predict the latents that the controller takes."""
    agents = red, moved(red, 1.7 * rotation(WIDTH), name="turned")
    anchors, unseen = images[:60], images[60:]
    made = [relativized(agent, anchors, images, similarity="kernel_ridge", anchor_set=IDENTITY) for agent in agents]
    one, two = (result.agent for result in made)
    assert one.controller.spec() == {**red.controller.spec(), "latent_dim": 60, "entry": WIDTH}
    assert made[0].judged_views > 0
    assert made[0].kl < 0.05
    torch.testing.assert_close(one.encode(unseen), two.encode(unseen), atol=1e-3, rtol=0)
    crossed = stitch_agents(one, two, pair(one, two), method="relative").agent
    torch.testing.assert_close(crossed.action_parameters(unseen), two.action_parameters(unseen), atol=1e-3, rtol=0)
