"""Environments with other actions than Discrete from 0 and float32 Boxes, through the whole pipeline."""

from __future__ import annotations

import copy
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from rooms import SPACES, registered
from stable_baselines3 import A2C, PPO
from torch.distributions import Bernoulli, Categorical, kl_divergence

from rlstitch.agents import actions_of, build_controller, load_agent
from rlstitch.agents.actions import best_actions, draw_noise, noise_kind
from rlstitch.api.evaluate import evaluate
from rlstitch.api.import_agent import import_agent
from rlstitch.api.stitch import stitch
from rlstitch.api.train import train
from rlstitch.config.training import TrainConfig
from rlstitch.envs import StableBaselinesVecEnv, World, make_vec
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.rollouts.actors import Policy
from rlstitch.stitching.actions import action_divergence, compare_actions
from rlstitch.stitching.methods import DEFAULT
from rlstitch.stitching.relativize import Distillation, relativize_agent, visited_states

SETTINGS = {
    "device": "cpu",
    "num_envs": 2,
    "total_steps": 32,
    "ppo": {"n_steps": 16, "n_minibatches": 2, "n_epochs": 1},
    "encoder": {"latent_dim": 8},
    "controller": {"hidden": [8], "norm": "none"},
    "evaluation": {"every_steps": 32, "episodes": 2, "video": False},
}


@pytest.fixture(scope="module", autouse=True)
def rooms():
    with registered():
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("work"))
        patch.setattr("rlstitch.api.train.FINAL_EPISODES", 2)
        yield


@pytest.fixture(scope="module")
def trained(place):
    done = {}

    def make(name):
        if name not in done:
            config = TrainConfig.model_validate({"environment": name, **SETTINGS})
            done[name] = train(config, progress="none").agent
        return done[name]

    return make


@pytest.mark.parametrize("name", SPACES)
def test_an_agent_is_trained_and_predicts_what_its_environment_takes(trained, name):
    agent = load_agent(trained(name).card.name)
    assert agent.card.controller["actions"] == actions_of(SPACES[name]).model_dump(mode="json")
    room = gymnasium.make(name)
    image, _ = room.reset(seed=0)
    for deterministic in (True, False):
        action, _ = agent.predict(image, deterministic=deterministic)
        room.step(action)  # the room asserts that it takes the action
    batch, _ = agent.predict(np.stack([image, image]))
    assert all(SPACES[name].contains(action) for action in batch)


@pytest.mark.parametrize("name", ["DotRoomFromFive-v0", "DotRoomChoicesFrom-v0", "DotRoomSwitches-v0"])
def test_two_agents_are_evaluated_and_stitched(trained, name):
    agent = trained(name)
    result = evaluate(agent, episodes=4)
    assert result.random.episodes == 4
    inverted = replace(agent.card.world, look="inverted")
    other = type(agent)(agent.encoder, agent.controller, agent.card.model_copy(update={"world": inverted}))
    outcome = stitch(agent, other, pairs=40, episodes=3, save=False)
    assert [cell.method for cell in outcome.cells] == ["random", "native", "naive", DEFAULT]
    assert 0 <= outcome.report.action_agreement <= 1
    assert np.isfinite(outcome.report.kl)


@pytest.mark.parametrize("name", ["DotRoomChoices-v0", "DotRoomSwitches-v0"])
def test_a_relativized_controller_acts_as_its_own_did(trained, name):
    agent = copy.deepcopy(trained(name))
    with torch.no_grad():
        agent.controller.action_head.weight.mul_(1000)  # an untrained one prefers nothing
    states = visited_states(agent, count=200, num_envs=8)
    short, long = (
        relativize_agent(
            agent, states[::8], states, anchor_set="0" * 64, distillation=Distillation(steps=steps, batch_size=64)
        )
        for steps in (1, 400)
    )
    assert long.kl < 0.8 * short.kl


@pytest.mark.parametrize("algorithm", [PPO, A2C])
@pytest.mark.parametrize("name", ["DotRoomChoices-v0", "DotRoomSwitches-v0"])
def test_a_model_of_stable_baselines_is_imported(place, tmp_path, algorithm, name):
    env = StableBaselinesVecEnv(make_vec(World(name), 2, seed=0))
    sizes = {"batch_size": 8} if algorithm is PPO else {}
    model = algorithm("CnnPolicy", env, n_steps=4, seed=0, device="cpu", **sizes)
    model.save(tmp_path / "model.zip")
    agent = import_agent(
        tmp_path / "model.zip", name=f"{name}-{algorithm.__name__}", world=World(name), episodes=2
    ).agent
    images = np.random.default_rng(0).integers(0, 256, (20, 40, 40, 3), dtype=np.uint8)
    first = np.moveaxis(images, -1, 1)
    expected, _ = model.predict(first, deterministic=True)
    np.testing.assert_array_equal(agent.predict(images, deterministic=True)[0], expected)
    with pytest.raises(IncompatibleError, match="the model was trained on"):
        import_agent(tmp_path / "model.zip", name="x", world=World("DotRoomFromFive-v0"), episodes=0)
    env.close()


@pytest.mark.parametrize("space", [spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(3), spaces.Discrete(4)], ids=str)
def test_sampled_actions_follow_the_distribution_of_the_parameters(space):
    actions, rng = actions_of(space), np.random.default_rng(0)
    parameters = rng.normal(size=actions.width)
    noise = draw_noise(rng, noise_kind(actions), (20_000, actions.width))
    drawn = best_actions(actions, parameters + noise).reshape(20_000, -1)
    if actions.kind == "multi_binary":
        np.testing.assert_allclose(drawn.mean(axis=0), 1 / (1 + np.exp(-parameters)), atol=0.02)
        return
    sizes = getattr(actions, "nvec", (actions.width,))
    for column, part in zip(drawn.T, np.split(parameters, np.cumsum(sizes)[:-1]), strict=True):
        shares = np.bincount(column, minlength=len(part)) / len(column)
        np.testing.assert_allclose(shares, np.exp(part) / np.exp(part).sum(), atol=0.02)


@pytest.mark.parametrize("space", [spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(3)], ids=str)
def test_differences_of_actions_are_those_of_independent_choices(space):
    actions = actions_of(space)
    controller = build_controller({"latent_dim": 4, "actions": actions.model_dump()})
    actual, true = torch.randn(2, 6, actions.width, generator=torch.Generator().manual_seed(0))
    if actions.kind == "multi_binary":
        expected = kl_divergence(Bernoulli(logits=true), Bernoulli(logits=actual)).sum(dim=1)
    else:
        pairs = zip(true.split([2, 3], dim=1), actual.split([2, 3], dim=1), strict=True)
        expected = sum(kl_divergence(Categorical(logits=p), Categorical(logits=q)) for p, q in pairs)
    torch.testing.assert_close(action_divergence(controller, actual, true), expected)
    changes, same = compare_actions(controller, actual, true), compare_actions(controller, true, true)
    greedy = (best_actions(actions, actual.numpy()) == best_actions(actions, true.numpy())).all(axis=1)
    np.testing.assert_array_equal(changes.same.numpy(), greedy)
    assert ((changes.overlap >= 0) & (changes.overlap < 1)).all()
    torch.testing.assert_close(same.overlap, torch.ones(6))


def test_actions_that_are_none_are_refused(trained):
    env = make_vec(World("DotRoomChoices-v0"), 1, seed=0)
    env.reset()
    for wrong in ([[0, 3]], [[-1, 0]], [[0.0, 1.0]], [0, 1]):
        with pytest.raises(InvalidInputError, match="actions: expected"):
            env.step(np.asarray(wrong))
    env.close()
    agent = trained("DotRoomChoices-v0")
    for space in (
        spaces.Discrete(6),
        spaces.MultiDiscrete([2, 4]),
        spaces.MultiDiscrete([2, 2]),
        spaces.MultiBinary(6),
    ):
        with pytest.raises(IncompatibleError, match="the environment takes"):
            Policy(agent, space)
    with pytest.raises(InvalidInputError, match=r"shape: expected one of 2 numbers, found \(3,\)"):
        build_controller({"latent_dim": 4, "actions": {"kind": "box", "low": [0, 0], "high": [1, 1], "shape": [3]}})
