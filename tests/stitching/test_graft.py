"""States of a graft, the fit of its encoder, and how far it agrees where a controller can be driven."""

import copy
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch
from stitch_samples import untrained, untrained_cart

from rlstitch.agents import build_encoder
from rlstitch.envs import World, make_vec
from rlstitch.envs.replay import Player
from rlstitch.stitching.graft.fit import EncoderFit
from rlstitch.stitching.graft.graft import Graft, Grafting
from rlstitch.stitching.graft.locate import fit_locator
from rlstitch.stitching.graft.states import States, pair_states, play_states


@pytest.fixture(scope="module")
def cart():
    return untrained_cart()


def states_of(agent, world):
    """States of some episodes, which are played again under the other sensor; and these episodes."""
    runs = list(play_states(agent, 60, strays=(0.3,), seed=1, first=0))
    episodes = [run.episode for run in runs]
    seen = [run.observations for run in runs]
    return pair_states(agent, world, episodes, seen, by=agent.card.world, first=0), runs


@pytest.mark.parametrize("padding", ["first", "zeros"])
def test_stacks_hold_what_the_world_observes(cart, padding):
    world = World("CartPole-v1", sensor="pixels", look="inverted", size=24, frame_stack=3, padding=padding)
    states, runs = states_of(cart, world)
    player = Player(world)
    with closing(player.environment):
        seen = []
        for run in runs:
            actions = iter(run.episode.actions)
            seen.append(player.play(run.episode.seed, lambda _, __, actions=actions: next(actions, None))[1][:-1])
    expected = torch.from_numpy(np.concatenate(seen)).permute(0, 3, 1, 2).float() / 255
    assert torch.equal(states.inputs(torch.arange(len(states))), expected)
    assert torch.equal(states.own, torch.cat([torch.from_numpy(run.observations[:-1]) for run in runs]))
    assert torch.equal(states.latents, torch.cat([cart.encode(run.observations[:-1]) for run in runs]))
    assert 0 < states.held.sum() < len(states)


def test_scaled_channels_are_taken_up_by_the_first_convolution(cart):
    states, _ = states_of(cart, World("CartPole-v1", sensor="pixels", size=24, frame_stack=2))
    fit = EncoderFit({"kind": "cnn", "arch": "small", "image_shape": [24, 24, 6], "latent_dim": 5}, 2, 0)
    fit.prepare(states)
    images = states.inputs(torch.arange(len(states)))
    changed = torch.cat([images[:, 3:] - images[:, :3], images[:, 3:]], dim=1)
    deviation, mean = torch.std_mean(changed.transpose(0, 1).flatten(1), dim=1)
    normal = (changed - mean[:, None, None]) / deviation.clamp_min(1e-3)[:, None, None]
    with torch.no_grad():
        assert torch.allclose(fit.finished()(images), fit.encoder(normal), atol=1e-4)


@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("target", ["latents", "actions"])
def test_a_fit_heeds_latents_and_actions_by_their_weights(cart, target, weight):
    states, _ = states_of(cart, World("CartPole-v1", sensor="state", frame_stack=2))
    spec = {"kind": "mlp", "observation_shape": [8], "hidden": [8], "latent_dim": cart.controller.latent_dim}
    weights = (weight, 1.0) if target == "latents" else (1.0, weight)
    fitted = []
    for sign in (1, -1):
        fit = EncoderFit(spec, 2, 0)
        changed = replace(states, **{target: sign * getattr(states, target)})
        fit.train(changed, cart.controller, steps=3, learning_rate=1e-2, weights=weights, seed=0)
        fitted.append(fit.latents(states))
    assert torch.equal(*fitted) == (weight == 0)


@pytest.mark.parametrize("divergence", ["forward", "reverse"])
def test_of_states_that_look_alike_a_fit_gives_the_mean_of_the_divergence(cart, divergence):
    """The arithmetic mean of the probabilities minimizes the one, the geometric mean the other."""
    states, _ = states_of(cart, World("CartPole-v1", sensor="state", frame_stack=2))
    logits = torch.tensor([4.0, -2.0])
    actions = torch.zeros_like(states.actions)
    actions[:, 0] = logits[torch.arange(len(states)) % 2]
    alike = replace(states, stacks=torch.full_like(states.stacks, -1), actions=actions)
    controller = copy.deepcopy(cart.controller)
    fit = EncoderFit({"kind": "mlp", "observation_shape": [8], "latent_dim": controller.latent_dim}, 2, 0)
    with torch.no_grad():
        controller.action_head.weight *= 10  # so that its probabilities are not all about a half
    options = {"steps": 300, "learning_rate": 0.03, "weights": (0.0, 1.0), "seed": 0}
    fit.train(alike, controller, divergence=divergence, **options)
    with torch.no_grad():
        fitted = controller.action_parameters(fit.latents(alike)[:1]).softmax(dim=1)[0, 0]
    means = {"forward": logits.sigmoid().mean(), "reverse": logits.mean().sigmoid()}
    assert float(fitted) == pytest.approx(float(means[divergence]), abs=0.05)


CROP = {"kind": "crop", "image_shape": [24, 24, 9], "frames": 3, "side": 6, "latent_dim": 5}


@pytest.mark.parametrize("padding", ["first", "zeros"])
def test_squares_that_are_cut_once_are_those_of_the_encoder(cart, padding):
    states, _ = states_of(cart, World("CartPole-v1", sensor="pixels", size=24, frame_stack=3, padding=padding))
    fit = EncoderFit(CROP, 3, 0)
    fit.encoder.eval()
    with torch.no_grad():
        expected = fit.encoder(states.inputs(torch.arange(len(states))))
    torch.testing.assert_close(fit.latents(fit.taken(states)), expected)


@pytest.mark.parametrize("seed", range(4))
def test_a_locator_finds_what_latents_depend_on(seed):
    torch.manual_seed(seed)
    places = torch.randint(2, 20, (600, 2))
    images = torch.full((600, 3, 32, 32), 255, dtype=torch.uint8)
    images[:, :, 24:] = 0
    for image, (column, row) in zip(images, places.tolist(), strict=True):
        image[:, row : row + 3, column : column + 3] = torch.tensor([128, 102, 230])[:, None, None]
    latents = places.float() @ torch.randn(2, 5) + torch.randn(600, 5)
    nothing = torch.zeros(600, 0)
    states = States(images, torch.arange(600)[:, None], nothing, latents, nothing, torch.zeros(600, dtype=torch.bool))
    locator = build_encoder({**CROP, "image_shape": [32, 32, 3], "frames": 1}).locator
    fit_locator(locator, states, seed=seed)
    with torch.no_grad():
        errors = 16 * locator(images.float() / 255)[:, :2] + 16 - places - 1.5
    assert (errors.abs() < 3).float().mean() > 0.95


def test_a_grafted_encoder_drives_the_controller_as_its_own_does():
    red = untrained("red")
    world = World(red.card.world.environment, look="inverted")
    grafted = Graft(red, world, Grafting(rounds=2, states=300, steps=160, learning_rate=3e-3, seed=3), name="grafted")
    while not grafted.finished:
        grafted.next_round()
    first, last = (one.fit for one in grafted.rounds)
    assert last.agreement > 0.9
    assert last.kl < first.kl
    assert last.r2_state == ()
    with closing(make_vec(world, 4, seed=9)) as environment:
        assert grafted.agent().act(environment.reset(seed=9)[0]).shape == (4,)
