"""Tasks in environments that draw themselves: the corridor of `conftest.py`, whose every step is known."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from episodes_recorded import record_episodes
from gymnasium import spaces

from rlstitch.envs import StableBaselinesVecEnv, World, make_vec, replay_episodes
from rlstitch.envs.gymnasium_batch import with_task
from rlstitch.envs.tasks.task import Task
from rlstitch.errors import InvalidInputError, UnknownNameError

ON, WAIT, BACK = 1, 0, 2


def positions(frames):
    return [int(frame[0, 0, 0]) for frame in frames]


def walk(task, actions, *, seed=0, **fields):
    """Positions, rewards and ends of one corridor, which begins at 0 (even seeds) and ends at 3 or after 5 steps."""
    env = make_vec(World("Corridor-v0", task=task, **fields), 1, seed=seed, autoreset="disabled")
    env.reset()
    result = [env.step(np.array([action])) for action in actions]
    return [(positions(frames)[0], float(r[0]), bool(t[0]), bool(c[0])) for frames, r, t, c, _ in result]


@pytest.mark.parametrize(
    ("task", "actions", "last"),
    [
        ("time-cost:0.5", [ON, ON], (2, -1.5, False, False)),
        ("time-cost:0.5", [ON, ON, ON], (3, 9.5, True, False)),
        ("length:2", [ON], (1, -1, False, False)),
        ("length:2", [ON, BACK], (0, -1, False, True)),
        ("length:8", [WAIT] * 7, (0, -1, False, False)),
        ("length:8", [WAIT] * 8, (0, -1, False, True)),
        ("delayed:2", [ON, BACK, WAIT], (3, 10, True, False)),
        ("delayed:1", [ON, BACK, BACK, WAIT], (0, -1, False, False)),
    ],
)
def test_the_last_step_of_a_known_environment(task, actions, last):
    assert walk(task, actions)[-1] == last


def test_costs_and_lengths_count_the_steps_of_the_environment_not_the_decisions():
    assert walk("time-cost:0.5+length:4", [WAIT, WAIT], action_repeat=2) == [
        (0, -3, False, False),
        (0, -3, False, True),
    ]
    assert walk("length:3", [WAIT, WAIT], action_repeat=2) == [(0, -2, False, False), (0, -1, False, True)]


class Halved(gymnasium.RewardWrapper):
    """A family's own change of rewards."""

    def reward(self, reward):
        return reward / 2


@pytest.mark.parametrize(("max_steps", "expected"), [(None, 5), (3, 3), (8, 8)])
def test_a_limit_of_a_task_replaces_gymnasiums_under_any_alteration(max_steps, expected):
    task = Task(alterations=(Halved,), max_steps=max_steps, step_cost=1.0)
    env = with_task(gymnasium.make("Corridor-v0", disable_env_checker=True), task)
    env.reset(seed=0)
    steps = []
    while not steps or not steps[-1][3]:
        steps.append(env.step(WAIT))
    assert len(steps) == expected
    assert {step[1] for step in steps} == {-1.5}  # what it costs is not halved


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_with_fewer_actions(workers):
    world = World("Corridor-v0", task="without:0+scrambled+length:3")  # 0 goes back, 1 goes on
    env = make_vec(world, 2, seed=0, workers=workers)
    assert env.single_action_space == spaces.Discrete(2)
    assert env.action_space == spaces.MultiDiscrete([2, 2])
    env.reset()
    assert positions(env.step(np.array([1, 1]))[0]) == [1, 2]
    frames, rewards, terminations, truncations, infos = env.step(np.array([0, 1]))
    assert (positions(frames), rewards.tolist()) == ([0, 1], [-1, 10])
    frames, _, terminations, truncations, infos = env.step(np.array([0, 0]))
    assert (terminations.tolist(), truncations.tolist()) == ([False, False], [True, False])
    assert positions(infos["final_obs"][:1]) == [0]
    assert positions(frames) == [0, 0]
    with pytest.raises(InvalidInputError, match="actions: expected 0 to 1, found"):
        env.step(np.array([2, 0]))
    env.close()


def test_slips_repeat_what_was_carried_out():
    world = World("CorridorLong-v0", task="slippery:0.4")
    env = make_vec(world, 1, seed=8)
    env.reset()
    dice, last, position = np.random.default_rng((0x736C6970, 8)), None, 0
    rng = np.random.default_rng(0)
    for _ in range(60):
        chosen = int(rng.choice([WAIT, BACK, ON], p=[0.3, 0.5, 0.2]))
        slipped = dice.random() < 0.4
        last = last if slipped and last is not None else chosen
        position = max(0, position + (0, 1, -1)[last])
        frames, _, terminations, *_ = env.step(np.array([chosen]))
        if position == 3:
            assert terminations.tolist() == [True]
            position, last = 0, None
        assert positions(frames) == [position]


def test_a_replay_slips_alike_and_seeds_slip_apart():
    world = World("CorridorLong-v0", task="slippery:0.5")
    recording = record_episodes(world, [0, 2, 4, 6], lambda images: np.array([images[0, 0, 0, 1] % 3]), max_steps=30)
    assert len({episode.states for episode in recording.episodes}) > 1
    for frames, episode in zip(replay_episodes(recording), recording.episodes, strict=True):
        assert len(frames) == len(episode.actions) + 1


def test_continuous_actions_keep_their_meaning():
    env = make_vec(World("Steered-v0", task="length:2+time-cost:0.5"), 1, seed=0)
    assert isinstance(env.single_action_space, spaces.Box)
    with pytest.raises(InvalidInputError, match=r"'length:2\+without:0' gives discrete actions another meaning"):
        make_vec(World("Steered-v0", task="length:2+without:0"), 1, seed=0)


def test_stable_baselines_learns_of_a_new_limit():
    env = StableBaselinesVecEnv(make_vec(World("Corridor-v0", task="length:2+without:2"), 1, seed=0))
    assert env.action_space == spaces.Discrete(2)
    env.reset()
    env.step(np.array([WAIT]))
    _, _, dones, infos = env.step(np.array([WAIT]))
    assert dones.tolist() == [True]
    assert infos[0]["TimeLimit.truncated"] is True
    assert infos[0]["episode"]["l"] == 2


def test_words_of_other_families_are_refused_when_it_is_made():
    with pytest.raises(UnknownNameError, match="unknown task 'no-time-cost'"):
        make_vec(World("Corridor-v0", task="no-time-cost"), 1, seed=0)
    with pytest.raises(InvalidInputError, match="an action's number, found 'left'"):
        make_vec(World("Corridor-v0", task="without:left"), 1, seed=0)


def test_envpool_has_tasks_of_actions_alone():
    for task in ("no-time-cost", "slippery:0.1", "length:5"):
        with pytest.raises(InvalidInputError, match=f"{task}.*backend gymnasium"):
            make_vec(World("MiniGrid-DoorKey-5x5-v0", task=task, backend="envpool"), 1, seed=0)
