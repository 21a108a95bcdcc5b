"""Continuous actions: the same road as discrete ones, through batches, tasks, recordings and Stable-Baselines3."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from episodes_recorded import record_episodes
from gymnasium import spaces
from rooms import CONTINUOUS, DISCRETE, RESTLESS, SIZE, STRIDE, DotRoom, registered
from stable_baselines3 import PPO

from rlstitch.envs import (
    StableBaselinesVecEnv,
    World,
    family_of,
    make_vec,
    record_actions,
    replay_episodes,
)
from rlstitch.errors import InvalidInputError, UnknownNameError

STEERED = World(CONTINUOUS)


@pytest.fixture(scope="module", autouse=True)
def rooms():
    with registered():
        yield


def wander(seed=0):
    generator = np.random.default_rng(seed)
    return lambda observations: generator.uniform(-1, 1, (len(observations), 2)).astype(np.float32)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_does_what_single_rooms_do(workers):
    env = make_vec(STEERED, 2, seed=5, autoreset="disabled", workers=workers)
    assert env.single_action_space == spaces.Box(-1, 1, (2,), np.float32)
    singles = [DotRoom(steered=True) for _ in range(2)]
    expected = [single.reset(seed=5 + i)[0] for i, single in enumerate(singles)]
    np.testing.assert_array_equal(env.reset()[0], expected)
    choose = wander(1)
    for _ in range(3):
        actions = choose(np.zeros((2, 1))) / 4
        frames, rewards, *_ = env.step(actions)
        steps = [single.step(action) for single, action in zip(singles, actions, strict=True)]
        np.testing.assert_array_equal(frames, [step[0] for step in steps])
        assert rewards.tolist() == [step[1] for step in steps]
    env.close()


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros(2), r"expected floating-point numbers \(2, 2\), found float64 \(2,\)"),
        (np.zeros((2, 3)), r"found float64 \(2, 3\)"),
        (np.zeros((2, 2), int), r"found int64 \(2, 2\)"),
        ([[0.0, 0.0], [0.0, 1.5]], r"expected \[-1.0, -1.0\] to \[1.0, 1.0\], found \[0.0, 1.5\]"),
        ([[0.0, np.nan], [0.0, 0.0]], r"found \[0.0, nan\]"),
        ([[0.0, -np.inf], [0.0, 0.0]], r"found \[0.0, -inf\]"),
    ],
)
def test_actions_that_are_none_are_refused(actions, message):
    env = make_vec(STEERED, 2, seed=0)
    env.reset()
    with pytest.raises(InvalidInputError, match=f"actions: .*{message}"):
        env.step(np.asarray(actions))
    env.close()


def test_bounds_belong_to_the_actions():
    env = make_vec(STEERED, 2, seed=0)
    before, _ = env.reset()
    before = before.copy()
    after, *_ = env.step(np.array([[-1.0, 1.0], [1.0, -1.0]]))
    env.close()
    assert not np.array_equal(before[0], after[0]), "an action on the bound had no effect"


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-np.inf, np.inf, (2,), np.float32),
        spaces.Box(0, np.inf, (2,), np.float64),
        spaces.Box(0, 255, (2,), np.uint8),
        spaces.Box(np.array([0, 1], np.float32), np.array([1, 1], np.float32)),
        spaces.Tuple([spaces.Discrete(2), spaces.Discrete(2)]),
        spaces.Dict(turn=spaces.Discrete(2)),
        spaces.Text(4),
    ],
    ids=str,
)
def test_other_actions_are_refused(space):
    class Odd(DotRoom):
        def __init__(self):
            super().__init__()
            self.action_space = space

    gymnasium.register("Odd-v0", Odd)
    try:
        with pytest.raises(
            InvalidInputError, match=r"Odd-v0: expected the actions Discrete, .*; found (Box|Tuple|Dict|Text)"
        ):
            make_vec(World("Odd-v0"), 1, seed=0)
    finally:
        del gymnasium.registry["Odd-v0"]


def test_tasks_are_of_discrete_actions():
    make_vec(World(DISCRETE, task="scrambled"), 1, seed=0).close()
    with pytest.raises(InvalidInputError, match=r"task: 'scrambled' .* DotRoomSteered-v0 takes continuous ones .*Box"):
        make_vec(World(CONTINUOUS, task="scrambled"), 1, seed=0)


def test_what_is_recorded_is_replayed_under_another_look():
    recording = record_episodes(STEERED, [3, 4], wander(), max_steps=9)
    first = recording.episodes[0]
    assert all(len(action) == 2 and np.float32(action[0]) == action[0] for action in first.actions)
    frames, inverted = (list(replay_episodes(recording, World(CONTINUOUS, look))) for look in ("standard", "inverted"))
    for one, other, episode in zip(frames, inverted, recording.episodes, strict=True):
        assert one.shape == (len(episode.actions) + 1, SIZE, SIZE, 3)
        np.testing.assert_array_equal(other, 255 - one)


def test_given_actions_are_played_until_they_run_out():
    actions = np.full((1, 4, 2), 1 / STRIDE, dtype=np.float32)
    [episode] = record_actions(STEERED, [7], actions).episodes
    room = DotRoom(steered=True)
    room.reset(seed=7)
    assert list(episode.rewards) == [room.step(action)[1] for action in actions[0]]
    [discrete] = record_actions(World(DISCRETE), [7], [[0, 1]]).episodes
    assert discrete.actions == (0, 1)
    for wrong in ([[0.5]], [["up"]], [[[0, 1]]]):
        with pytest.raises(InvalidInputError, match="action"):
            record_actions(World(DISCRETE), [7], wrong)
    with pytest.raises(InvalidInputError, match="actions: expected floating-point numbers"):
        record_actions(STEERED, [7], [[0, 1]])


def test_a_view_does_not_hide_chance():
    """A view means nothing to an environment that draws itself: naming another one skips no check."""
    recording = record_episodes(World(RESTLESS), [0], lambda _: np.array([0]), max_steps=3)
    with pytest.raises(InvalidInputError, match="not deterministic"):
        list(replay_episodes(recording, World(RESTLESS, view="full")))


def test_stable_baselines_trains_on_it():
    env = StableBaselinesVecEnv(make_vec(STEERED, 2, seed=0))
    assert env.action_space == spaces.Box(-1, 1, (2,), np.float32)
    # Its Gaussian policy leaves the bounds and is clipped to them.
    settings = {"net_arch": [8], "log_std_init": 2.0}
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=8, n_epochs=1, seed=0, policy_kwargs=settings)
    model.learn(16)
    assert model.num_timesteps == 16
    env.close()


def test_who_is_drawn_from_tiles():
    assert family_of("MiniGrid-Empty-5x5-v0").symbolic
    assert not family_of(DISCRETE).symbolic
    with pytest.raises(UnknownNameError, match="DotRoom"):
        family_of("DotRom-v0")
