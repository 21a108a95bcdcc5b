"""Environments as a program has them at hand: functions, and objects of Gymnasium and Stable-Baselines3."""

from __future__ import annotations

import threading

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from gymnasium.wrappers.vector import FlattenObservation, RecordEpisodeStatistics
from rooms import DISCRETE, DotRoom, registered
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

from rlstitch.envs import World, as_world, family_of, make_vec
from rlstitch.errors import InvalidInputError


def room() -> gymnasium.Env:
    return TimeLimit(DotRoom(), 25)


def cart(**kwargs) -> gymnasium.Env:
    return gymnasium.make("CartPole-v1", **kwargs)


def drawn_cart() -> gymnasium.Env:
    """An environment with a window, which cannot be copied."""
    made = cart(render_mode="rgb_array")
    made.reset(seed=0)
    made.render()
    return made


class Locked(DotRoom):
    """Holds what cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


@pytest.fixture(autouse=True)
def rooms():
    with registered():
        yield


def outcomes(world, steps=20):
    env = make_vec(world, 3, seed=5)
    observations = [env.reset(seed=5)[0]]
    rewards = []
    for step in range(steps):
        shown, reward, *_ = env.step(np.full(3, step % env.single_action_space.n))
        observations.append(shown)
        rewards.append(reward)
    env.close()
    return np.array(observations), np.array(rewards)


@pytest.mark.parametrize(
    "make",
    [
        lambda: room,
        lambda: DotRoom,
        room,
        lambda: gymnasium.make(DISCRETE),
        lambda: Monitor(room()),
        lambda: SyncVectorEnv([room, room]),
        lambda: RecordEpisodeStatistics(SyncVectorEnv([room])),
        lambda: gymnasium.make_vec(DISCRETE, 2, vectorization_mode="sync"),
        lambda: DummyVecEnv([room, room]),
        lambda: DummyVecEnv([lambda: Monitor(room())]),
        lambda: VecNormalize(VecTransposeImage(VecMonitor(DummyVecEnv([room]))), training=False),
        lambda: make_vec(World(DISCRETE), 2, seed=0),
    ],
    ids=lambda make: "",
)
def test_it_is_the_environment_that_is_named(make):
    live = as_world(make())
    for mine, named in zip(outcomes(live), outcomes(World(DISCRETE)), strict=True):
        np.testing.assert_array_equal(mine, named)


def test_processes_of_stable_baselines_are_made_again():
    batch = SubprocVecEnv([lambda: Monitor(cart())], start_method="fork")
    mine, named = outcomes(as_world(batch))[0], outcomes(World("CartPole-v1"))[0]
    batch.close()
    np.testing.assert_array_equal(mine, named)


def test_a_batch_that_has_no_single_environments_is_made_by_its_id():
    batch = gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="vector_entry_point")
    np.testing.assert_array_equal(outcomes(as_world(batch))[0], outcomes(World("CartPole-v1"))[0])


def test_an_environment_is_left_as_it_was():
    env = room()
    env.reset(seed=3)
    env.step(1)
    before = env.unwrapped.dot.copy()
    outcomes(as_world(env))
    np.testing.assert_array_equal(env.unwrapped.dot, before)
    env.step(1)


def test_the_same_object_is_the_same_environment():
    env = room()
    assert as_world(env) == as_world(env) != as_world(room())
    assert as_world(room, look="inverted", frame_stack=2).look == "inverted"
    assert family_of(as_world(lambda: gymnasium.make("MiniGrid-Empty-5x5-v0"))).name == "MiniGrid"


def test_a_frame_stack_is_a_field_of_the_world():
    batch = VecFrameStack(DummyVecEnv([room]), 3)
    world = as_world(batch)
    assert (world.frame_stack, world.padding) == (3, "zeros")
    assert as_world(batch, padding="first").padding == "first"
    env = make_vec(world, 1, seed=7)
    batch.seed(7)
    np.testing.assert_array_equal(env.reset(seed=7)[0], batch.reset())
    np.testing.assert_array_equal(env.step(np.array([2]))[0], batch.step([2])[0])
    env.close()


@pytest.mark.parametrize("make", [lambda: cart, drawn_cart, lambda: lambda: cart(render_mode="rgb_array")])
def test_pixels_are_what_it_renders(make):
    shown = make_vec(as_world(make(), sensor="pixels", size=32), 1, seed=0)
    named = make_vec(World("CartPole-v1", sensor="pixels", size=32), 1, seed=0)
    np.testing.assert_array_equal(shown.reset(seed=1)[0], named.reset(seed=1)[0])


class Odd(VecEnvWrapper):
    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        return self.venv.step_wait()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: 3, "env: expected an id, a World, a function .*, found int"),
        (lambda: [room], "env: expected an id, .*, found list"),
        (lambda: lambda: 3, "env: expected a function that makes a gymnasium.Env, it made a int"),
        (Locked, "env: a Locked cannot be copied .* expected a function that makes it"),
        (lambda: Odd(DummyVecEnv([room])), "env: Odd wraps a batch"),
        (lambda: FlattenObservation(SyncVectorEnv([room])), "env: FlattenObservation wraps a batch"),
        (lambda: lambda: cart(), "render mode 'rgb_array' for its pixels, a .* has None"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_refused(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make_vec(as_world(make(), sensor="pixels"), 1, seed=0)


def test_arguments_go_to_the_function():
    assert make_vec(as_world(DotRoom, make_kwargs={"channels": 4}), 1, seed=0).single_observation_space.shape[-1] == 4
    with pytest.raises(InvalidInputError, match=r"make_kwargs: live/DotRoom-.* does not take them: .*'colour'"):
        make_vec(as_world(DotRoom, make_kwargs={"colour": 4}), 1, seed=0)
