"""Live models of Stable-Baselines3 in the place of agents, through the functions of the library."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper
from rooms import DISCRETE, registered
from sb3_samples import TinyExtractor
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize
from torch import nn

import rlstitch
from rlstitch.api.pairs import collect_pairs
from rlstitch.envs import World
from rlstitch.errors import InvalidInputError, RlstitchError
from rlstitch.rollouts.evaluation import evaluate as play

SHORT = {"max_episode_steps": 30}


def cart():
    return Monitor(gymnasium.make("CartPole-v1", **SHORT))


def car():
    return gymnasium.make("MountainCarContinuous-v0", **SHORT)


@pytest.fixture
def ppo():
    return PPO("MlpPolicy", cart(), n_steps=64, seed=0, device="cpu")


@pytest.fixture(autouse=True)
def rooms(workplace):
    with registered():
        yield


@pytest.mark.parametrize("kind", [A2C, DQN, SAC, TD3, DDPG, PPO])
def test_a_model_plays_as_what_is_imported_of_it(kind):
    options = {"n_steps": 64} if kind is PPO else {}
    model = kind("MlpPolicy", car() if kind in (SAC, TD3, DDPG, PPO) else cart(), seed=0, device="cpu", **options)
    outcome = rlstitch.evaluate(model, episodes=2, deterministic=True)
    world = World("MountainCarContinuous-v0" if kind in (SAC, TD3, DDPG, PPO) else "CartPole-v1", make_kwargs=SHORT)
    imported = rlstitch.import_agent(model, name="other", world=world, episodes=0).agent
    expected = play(imported, episodes=2, deterministic=True)
    np.testing.assert_array_equal(outcome.evaluation.returns, expected.returns)
    assert outcome.name == kind.__name__


def test_stack_and_normalization_are_the_models_own():
    environments = VecFrameStack(VecNormalize(DummyVecEnv([cart])), 2)
    model = PPO("MlpPolicy", environments, n_steps=64, device="cpu")
    with pytest.raises(RlstitchError, match="normaliz"):
        rlstitch.evaluate(model, episodes=1)
    model = PPO("MlpPolicy", VecFrameStack(DummyVecEnv([cart]), 2), n_steps=64, device="cpu")
    world = rlstitch.evaluate(model, episodes=1).evaluation.world
    assert (world.frame_stack, world.padding) == (2, "zeros")


def test_a_model_of_a_wrapped_minigrid_plays_in_the_minigrid():
    grid = ImgObsWrapper(RGBImgPartialObsWrapper(gymnasium.make("MiniGrid-LavaGapS5-v0")))
    model = PPO("CnnPolicy", grid, n_steps=64, seed=0, device="cpu")
    one, other = (rlstitch.evaluate(model, env=env, episodes=3).evaluation for env in (None, "MiniGrid-LavaGapS5-v0"))
    np.testing.assert_array_equal(one.returns, other.returns)
    np.testing.assert_array_equal(one.lengths, other.lengths)
    small = ImgObsWrapper(RGBImgPartialObsWrapper(gymnasium.make("MiniGrid-LavaGapS5-v0"), tile_size=6))
    with pytest.raises(RlstitchError, match="56"):
        rlstitch.evaluate(PPO("CnnPolicy", small, n_steps=64, device="cpu"), episodes=1)


def test_two_models_are_joined_by_every_function(ppo, quick):
    other = A2C("MlpPolicy", cart(), seed=1, device="cpu")
    options = {"pairs": 40, "episodes": 2}
    joined = rlstitch.stitch(ppo, other, save=False, **options)
    assert [cell.encoder for cell in joined.cells[-1:]] == ["PPO"]
    assert rlstitch.diagnose(ppo, other, **options).controller == "A2C"
    assert collect_pairs(ppo, other, "pairs.npz", count=20).count == 20
    assert rlstitch.export_agent(ppo).path.name == "PPO.pt2"
    grafted = rlstitch.graft(ppo, sensor="state", rounds=1, states=60, steps=2, episodes=2, save=False)
    assert grafted.agent.card.world.sensor == "state"
    assert rlstitch.relativize(ppo, anchors=16, drivers=[other], episodes=2, save=False).folder is None


def test_agents_and_models_make_a_matrix(ppo):
    rlstitch.import_agent(ppo, name="agent", world=World("CartPole-v1", make_kwargs=SHORT), episodes=0)
    options = {"methods": ["naive"], "episodes": 2, "pairs": 20, "same_seed": True}
    outcome = rlstitch.matrix([ppo, ppo], env=cart, **options)
    assert {(cell.encoder, cell.controller): cell.state for cell in outcome.results.cells} == {
        ("PPO", "PPO-2"): "done", ("PPO-2", "PPO"): "done"
    }  # fmt: skip
    assert all(cell.world.startswith("live/cart-") for cell in outcome.results.cells)
    assert [cell.encoder for cell in rlstitch.matrix(["agent", ppo], **options).results.cells] == ["PPO", "agent"]


def test_the_environment_of_a_model_can_be_given(ppo):
    ppo.save("model.zip")
    loaded = PPO.load("model.zip", device="cpu")
    with pytest.raises(InvalidInputError, match=r"the PPO has no environment; give one with env="):
        rlstitch.evaluate(loaded)
    expected = rlstitch.evaluate(ppo, episodes=2).evaluation.returns
    for env in (cart, World("CartPole-v1", make_kwargs=SHORT)):
        np.testing.assert_array_equal(rlstitch.evaluate(loaded, env=env, episodes=2).evaluation.returns, expected)
    assert rlstitch.evaluate(ppo, env="CartPole-v1", episodes=2).evaluation.world.environment == "CartPole-v1"


@pytest.mark.parametrize("thing", [nn.Linear(4, 2), None, 3, ["agent"], {"agent": 1}])
def test_anything_else_is_refused_by_its_class(thing):
    calls = [rlstitch.evaluate, rlstitch.relativize, rlstitch.export_agent, rlstitch.graft]
    calls += [lambda thing: rlstitch.stitch(thing, thing), lambda thing: rlstitch.matrix([thing, thing])]
    calls += [lambda thing: rlstitch.diagnose(thing, thing), rlstitch.load_agent]
    calls += [lambda thing: rlstitch.save_agent(thing, "agents/x"), lambda thing: rlstitch.push(thing, "a/b")]
    for call in calls:
        with pytest.raises(InvalidInputError, match=rf"^agent: expected .*{type(thing).__name__}") as refusal:
            call(thing)
        assert "\n" not in str(refusal.value)
        assert "import_agent" in str(refusal.value)


def test_what_a_model_has_of_its_users_own_is_refused_by_name():
    policy = {"features_extractor_class": TinyExtractor}
    model = PPO("CnnPolicy", gymnasium.make(DISCRETE), n_steps=64, policy_kwargs=policy, device="cpu")
    with pytest.raises(InvalidInputError, match="TinyExtractor"):
        rlstitch.evaluate(model)
