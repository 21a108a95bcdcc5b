"""Tasks in MiniGrids, step by step against Gymnasium's own environment and a plain loop over its rewards."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from episodes_recorded import record_episodes
from gymnasium import spaces
from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper

from rlstitch.envs import StableBaselinesVecEnv, World, make_vec, replay_episodes

EMPTY, OBSTACLES, BABY = "MiniGrid-Empty-5x5-v0", "MiniGrid-Dynamic-Obstacles-5x5-v0", "BabyAI-GoToRedBallNoDists-v0"
TO_THE_GOAL = [2, 2, 1, 2, 2]
LEFT, FORWARD = 0, 2
NEVER = 10**9


class Scalar:
    """One MiniGrid, its rewards and limits worked out one at a time. Actions are the environment's."""

    def __init__(self, environment, seed, *, limit=None, cost=0.0, constant=False, slip=0.0):
        made = gymnasium.make(environment, disable_env_checker=True)
        self.env = ImgObsWrapper(RGBImgPartialObsWrapper(made.unwrapped, tile_size=4))
        self.limit, self.cost, self.constant, self.slip = limit, cost, constant, slip
        self.dice = np.random.default_rng((0x736C6970, seed))
        self.image = self.start(seed)

    def start(self, seed=None):
        self.steps, self.last = 0, None
        image, _ = self.env.reset(seed=seed)
        if self.env.unwrapped.max_steps != NEVER:
            self.own_limit = self.env.unwrapped.max_steps
        self.env.unwrapped.max_steps = NEVER  # limits are counted here
        return image

    def step(self, action):
        if self.slip:
            slipped = self.dice.random() < self.slip
            action = self.last if slipped and self.last is not None else action
        self.last = action
        self.image, reward, terminated, _, _ = self.env.step(action)
        self.steps += 1
        limit = self.limit or self.own_limit
        success = reward > 0
        if success:
            reward = 1.0 if self.constant else 1 - 0.9 * (self.steps / limit)
        return reward - self.cost, terminated, self.steps >= limit, success and terminated


CASES = [
    (EMPTY, "standard", list(range(7)), {}),
    (EMPTY, "scrambled", [1, 2, 3, 4, 5, 6, 0], {}),
    (EMPTY, "without:left+length:13", [1, 2, 3, 4, 5, 6], {"limit": 13}),
    (EMPTY, "length:150+no-idle", [0, 1, 2, 3, 4, 5], {"limit": 150}),
    (EMPTY, "no-time-cost+length:30", list(range(7)), {"constant": True, "limit": 30}),
    (EMPTY, "time-cost:0.01", list(range(7)), {"cost": 0.01}),
    (EMPTY, "no-time-cost+time-cost:0.25+slippery:0.3", list(range(7)), {"constant": True, "cost": 0.25, "slip": 0.3}),
    (OBSTACLES, "slippery:0.5+length:9", [0, 1, 2], {"slip": 0.5, "limit": 9}),
    (OBSTACLES, "no-time-cost+scrambled", [1, 2, 0], {"constant": True}),
    (BABY, "length:7+no-time-cost", list(range(7)), {"limit": 7, "constant": True}),
    ("MiniGrid-MemoryS7-v0", "length:20+without:pickup+scrambled", [1, 2, 4, 5, 6, 0], {"limit": 20}),
]


@pytest.mark.parametrize(("environment", "task", "mapping", "parts"), CASES)
def test_every_step_equals_the_plain_loop(environment, task, mapping, parts):
    """Over several episodes of a batch that resets itself."""
    world, count, steps = World(environment, task=task, tile_size=4), 3, 160
    env = make_vec(world, count, seed=40)
    oracles = [Scalar(environment, 40 + i, **parts) for i in range(count)]
    assert env.single_action_space == spaces.Discrete(len(mapping))
    np.testing.assert_array_equal(env.reset()[0], [oracle.image for oracle in oracles])
    rng, ends, successes = np.random.default_rng(1), 0, 0
    # More often forward than not, so that goals are reached.
    ahead = mapping.index(FORWARD)
    for _ in range(steps):
        actions = np.where(rng.random(count) < 0.5, ahead, rng.integers(len(mapping), size=count))
        frames, rewards, terminations, truncations, infos = env.step(actions)
        for i, oracle in enumerate(oracles):
            reward, terminated, truncated, success = oracle.step(mapping[actions[i]])
            assert rewards[i] == pytest.approx(reward, abs=1e-12)
            assert (terminations[i], truncations[i], infos["success"][i]) == (terminated, truncated, success)
            if terminated or truncated:
                np.testing.assert_array_equal(infos["final_obs"][i], oracle.image)
                assert infos["final_info"]["success"][i] == success
                oracle.image = oracle.start()
                ends, successes = ends + 1, successes + success
            np.testing.assert_array_equal(frames[i], oracle.image)
    assert ends >= 3
    assert successes >= (environment == EMPTY)


def test_a_success_is_one_whatever_time_costs():
    env = make_vec(World(EMPTY, task="time-cost:2"), 1, seed=0, autoreset="disabled")
    env.reset()
    results = [env.step(np.array([action])) for action in TO_THE_GOAL]
    assert [float(rewards[0]) for _, rewards, *_ in results] == pytest.approx([-2, -2, -2, -2, 1 - 0.9 * 5 / 100 - 2])
    assert [bool(infos["success"][0]) for *_, infos in results] == [False] * 4 + [True]


def test_the_reward_of_a_success_follows_the_length():
    for length, expected in ((5, 0.1), (10, 0.55), (1000, 0.9955)):
        env = make_vec(World(EMPTY, task=f"length:{length}"), 1, seed=0, autoreset="disabled")
        env.reset()
        for action in TO_THE_GOAL:
            _, rewards, terminations, truncations, _ = env.step(np.array([action]))
        assert float(rewards[0]) == pytest.approx(expected)
        assert (bool(terminations[0]), bool(truncations[0])) == (True, length == 5)


def test_stable_baselines_learns_which_ends_are_limits():
    env = StableBaselinesVecEnv(make_vec(World(EMPTY, task="length:5+time-cost:0.5+without:done"), 2, seed=0))
    assert env.action_space == spaces.Discrete(6)
    env.reset()
    for action in TO_THE_GOAL:
        _, rewards, dones, infos = env.step(np.array([action, LEFT]))
    assert dones.tolist() == [True, True]
    # Arriving at the very limit is an end; waiting for it is not.
    assert [info["TimeLimit.truncated"] for info in infos] == [False, True]
    assert [info["is_success"] for info in infos] == [True, False]
    assert [info["episode"]["l"] for info in infos] == [5, 5]
    assert [info["episode"]["r"] for info in infos] == pytest.approx([0.1 - 2.5, -2.5])
    assert rewards.tolist() == pytest.approx([0.1 - 0.5, -0.5])


def test_slipping_is_a_function_of_the_episode_and_leaves_its_layout_alone():
    plain, one, two = (
        make_vec(World("MiniGrid-DoorKey-6x6-v0", task=task), 4, seed=5)
        for task in ("standard", "slippery:0.5", "slippery:0.5")
    )
    np.testing.assert_array_equal(plain.reset()[0], one.reset()[0])
    two.reset()
    rng, differed = np.random.default_rng(0), 0
    for step in range(40):
        actions = rng.integers(3, size=4)
        expected, result, again = (env.step(actions)[0] for env in (plain, one, two))
        np.testing.assert_array_equal(result, again)
        if step == 0:
            np.testing.assert_array_equal(result, expected)  # the first action is carried out in any case
        differed += int((result != expected).any())
    assert differed > 10
    assert not np.array_equal(one.reset(seed=6)[0], one.reset(seed=5)[0])
    np.testing.assert_array_equal(one.reset(seed=5)[0], plain.reset(seed=5)[0])


@pytest.mark.parametrize(
    ("environment", "task"),
    [
        ("MiniGrid-Dynamic-Obstacles-Random-5x5-v0", "slippery:0.3+length:25"),
        ("MiniGrid-DoorKey-5x5-v0", "without:done+scrambled:seed=4+time-cost:0.02"),
        ("MiniGrid-DoorKey-5x5-v0", "no-time-cost+no-idle+slippery:0.1"),
    ],
)
def test_replays_are_equal_under_another_look(environment, task):
    world = World(environment, task=task, tile_size=4)
    rng, width = np.random.default_rng(3), make_vec(world, 1, seed=0).single_action_space.n
    recording = record_episodes(world, range(6), lambda images: rng.integers(width, size=len(images)), max_steps=40)
    # The replay raises where rewards, ends or symbolic states differ from the recorded ones.
    other = World(environment, "inverted", task, tile_size=2)
    lengths = [len(frames) - 1 for frames in replay_episodes(recording, other)]
    assert lengths == [len(episode.actions) for episode in recording.episodes]
    assert len({episode.states for episode in recording.episodes}) > 1


def test_a_grid_under_an_id_of_its_own_has_the_tasks_of_its_family():
    gymnasium.register("OwnGrid-v0", "minigrid.envs:EmptyEnv", kwargs={"size": 5})
    try:
        env = make_vec(World("OwnGrid-v0", task="without:drop+no-time-cost+length:5"), 1, seed=0)
        assert env.single_action_space == spaces.Discrete(6)
        env.reset()
        assert [float(env.step(np.array([action]))[1][0]) for action in TO_THE_GOAL] == [0, 0, 0, 0, 1]
    finally:
        del gymnasium.registry["OwnGrid-v0"]
