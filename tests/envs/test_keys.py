"""Observations of several keys as the environment gives them are what its batches make of them."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from minigrid.wrappers import RGBImgPartialObsWrapper
from rooms import DISCRETE, KEYS, registered
from torch import nn

from rlstitch.agents import Agent
from rlstitch.envs import World, make_vec, read_keys
from rlstitch.errors import InvalidInputError

MISSION = World("MiniGrid-Fetch-5x5-N2-v0", keys=("image", "mission"))
NUMBERS = "KeyedNumbers-v0"


class Numbers(gymnasium.Env):
    """Dictionaries in a dictionary, and numbers of several kinds."""

    def __init__(self):
        inner = spaces.Dict({"side": spaces.Discrete(3, start=-1), "lamps": spaces.MultiBinary(2)})
        self.observation_space = spaces.Dict({"arm": inner, "light": spaces.Box(0, 1, (4, 5, 3), np.float32)})
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}


@pytest.fixture(scope="module", autouse=True)
def rooms():
    with registered():
        gymnasium.register(NUMBERS, Numbers)
        yield


def given(world, seeds=(0,)):
    """What the environment gives at the begin of episodes."""
    made = gymnasium.make(world.environment, disable_env_checker=True)
    if world.environment.startswith("MiniGrid"):
        made = RGBImgPartialObsWrapper(made)
    return [made.reset(seed=seed)[0] for seed in seeds]


def begun(world, seeds=(0,)):
    env = make_vec(world, len(seeds), seed=None)
    observations = env.reset(seed=list(seeds))[0]
    env.close()
    return observations


def stacked(observations):
    first = observations[0]
    if isinstance(first, dict):
        return {key: stacked([one[key] for one in observations]) for key in first}
    return observations if isinstance(first, str) else np.stack(observations)


@pytest.mark.parametrize(
    "world",
    [
        World(KEYS, size=20, look="inverted"),
        World(KEYS, keys=("place", "order")),
        World(KEYS, keys=("camera",), crop=30),
        MISSION,
        World(NUMBERS),
    ],
)
def test_one_and_a_batch_are_as_make_vec_gives_them(world):
    read, single = read_keys(world, given(world)[0])
    assert single
    np.testing.assert_array_equal(read, begun(world))
    read, single = read_keys(world, stacked(given(world, (3, 4))))
    assert not single
    np.testing.assert_array_equal(read, begun(world, (3, 4)))


def test_an_agent_predicts_from_a_dictionary():
    world = World(KEYS, keys=("place", "order"))
    torch.manual_seed(0)
    agent = Agent.from_modules(nn.Linear(2 + 1536, 8), nn.Linear(8, 4), world)
    one, several = given(world)[0], stacked(given(world, range(8)))
    actions, _ = agent.predict(several, deterministic=True)
    np.testing.assert_array_equal(actions, agent.predict(begun(world, range(8)), deterministic=True)[0])
    assert agent.predict(one, deterministic=True)[0] == actions[0]


@pytest.mark.parametrize(
    ("world", "change", "message"),
    [
        (World(KEYS), {"place": None}, "observes camera, order, place; 'place' is missing"),
        (World(KEYS), {"speed": 1.0}, "observes camera, order, place; 'speed' is unknown"),
        (World(KEYS), {"camera": np.zeros((40, 40, 3))}, r"camera: expected one of Box\(0, 255, \(40, 40, 3\)"),
        (World(KEYS), {"camera": np.zeros((40, 30, 3), np.uint8)}, r"found ndarray \(40, 30, 3\)"),
        (World(KEYS), {"place": "here"}, "place: expected one of Box.* found here"),
        (World(KEYS), {"place": [[1.0, 2.0], [3.0]]}, "place: expected one of Box.* found list"),
        (World(KEYS), {"order": 3}, "order: expected one of Text.* found 3"),
        (World(KEYS), {"order": ["go", "up"]}, "by every key, found 1 of camera, 2 of order"),
        (World(KEYS), {"place": np.zeros((0, 2))}, "place: expected one of Box"),
        (World(KEYS, keys=("camera",), frame_stack=2), {}, "frame_stack: observations that are given by key"),
        (World(DISCRETE), {}, r"expected one image, found a dictionary of \['camera', 'order', 'place'\]"),
        (World(NUMBERS), {}, "observes arm.lamps, arm.side, light; 'arm.lamps' is missing"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key(world, change, message):
    observation = {**given(World(KEYS))[0], **change}
    with pytest.raises(InvalidInputError, match=message) as refusal:
        read_keys(world, {key: value for key, value in observation.items() if value is not None})
    assert "\n" not in str(refusal.value)


def test_numbers_outside_of_a_space_are_refused():
    observation = given(World(NUMBERS))[0]
    with pytest.raises(InvalidInputError, match=r"arm.side: expected one of Discrete\(3, start=-1\).* found 2"):
        read_keys(World(NUMBERS), {**observation, "arm": {**observation["arm"], "side": 2}})
