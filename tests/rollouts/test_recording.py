"""Rollouts of environments that draw themselves, with discrete and with continuous actions."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from rooms import CONTINUOUS, DISCRETE, DotRoom, registered, untrained

from rlstitch.envs import World, make_vec, replay_episodes
from rlstitch.envs.replay import Recording
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.rollouts.actors import RandomAgent
from rlstitch.rollouts.anchors import choose_replay_anchor_set
from rlstitch.rollouts.drivers import HeldActions, draw_actions
from rlstitch.rollouts.evaluation import evaluate
from rlstitch.rollouts.image_pairs import collect_paired_images
from rlstitch.rollouts.recording import collect_frames, collect_recording, paired_episodes, paired_images, play_episodes
from rlstitch.rollouts.video import record

KINDS = [DISCRETE, CONTINUOUS]
LOPSIDED = spaces.Box(np.array([-1, 0.5], np.float32), np.array([1e-3, 2], np.float32))


@pytest.fixture(scope="module", autouse=True)
def rooms():
    with registered():
        yield


def test_random_actions_stay_within_any_bounds():
    noise = np.random.default_rng(0).normal(size=(20_000, 2)) * 5  # far into the tails
    for actions in (
        RandomAgent(LOPSIDED).act(np.zeros((20_000, 1)), noise=noise),
        draw_actions(np.random.default_rng(0), LOPSIDED, 20_000),
    ):
        assert actions.dtype == np.float32
        assert ((actions >= LOPSIDED.low) & (actions <= LOPSIDED.high)).all()
    np.testing.assert_allclose(actions.mean(axis=0), [-0.5, 1.25], atol=0.02)
    with pytest.raises(InvalidInputError, match="expected Discrete, MultiDiscrete, MultiBinary or a bounded Box"):
        draw_actions(np.random.default_rng(0), spaces.Text(4), 3)


@pytest.mark.parametrize("space", [spaces.Discrete(50), LOPSIDED])
def test_actions_are_held_and_each_slot_has_its_own(space):
    held = HeldActions(np.random.default_rng(1), space, 3)
    rows = np.stack([held.next() for _ in range(400)]).reshape(400, 3, -1)
    for slot in range(3):
        changes = [not np.array_equal(a, b) for a, b in pairwise(rows[:, slot])]
        assert 30 < sum(changes) < 80  # every 8 steps on average
    assert not np.array_equal(rows[:, 0], rows[:, 1])
    restless = HeldActions(np.random.default_rng(1), space, 1, longest=1)
    rows = np.stack([restless.next() for _ in range(100)]).reshape(100, -1)
    assert sum(not np.array_equal(a, b) for a, b in pairwise(rows)) > 90


@pytest.mark.parametrize("deterministic", [False, True])
def test_an_episode_of_continuous_actions_depends_on_its_number_alone(deterministic):
    agent = untrained(World(CONTINUOUS))
    few, many = (evaluate(agent, episodes=7, num_envs=n, deterministic=deterministic) for n in (2, 7))
    np.testing.assert_array_equal(few.lengths, many.lengths)
    np.testing.assert_allclose(few.returns, many.returns)
    video = record(agent, episodes=2, deterministic=deterministic)
    np.testing.assert_array_equal(video.outcomes.lengths, few.lengths[:2])
    random = evaluate(RandomAgent(make_vec(World(CONTINUOUS), 1, seed=0).single_action_space), World(CONTINUOUS))
    assert 0 < random.successes.mean() < 1


class Uphill(DotRoom):
    """Zero is no action here, and only arrivals are reported."""

    def __init__(self) -> None:
        super().__init__(steered=True)
        self.action_space = spaces.Box(0.25, 1, (2,), np.float32)

    def step(self, action):
        picture, reward, terminated, truncated, info = super().step(action)
        return picture, reward, terminated, truncated, info if terminated else {}


def test_idle_slots_and_rare_reports_disturb_nothing():
    gymnasium.register("Uphill-v0", Uphill, max_episode_steps=25)
    try:
        random, world = RandomAgent(spaces.Box(0.25, 1, (2,), np.float32)), World("Uphill-v0")
        one, five = (evaluate(random, world, episodes=30, num_envs=n) for n in (1, 5))
        np.testing.assert_array_equal(one.returns, five.returns)
        np.testing.assert_array_equal(one.successes, five.successes)
        np.testing.assert_array_equal(one.successes, one.returns > 0.4)
        assert 0 < one.successes.sum() < 30
    finally:
        del gymnasium.registry["Uphill-v0"]


@pytest.mark.parametrize("environment", KINDS)
def test_an_episode_of_a_recording_depends_on_its_number_alone(environment):
    world = World(environment)
    agent = untrained(replace(world, look="inverted"))
    whole = collect_recording(world, episodes=7, seed=1, agents=[agent])
    assert whole.episodes[3:5] == collect_recording(world, episodes=2, seed=1, first=3, agents=[agent]).episodes
    assert whole.episodes[:2] == collect_recording(world, episodes=2, seed=1).episodes
    assert whole != collect_recording(world, episodes=7, seed=2, agents=[agent])
    assert [len(frames) for frames in replay_episodes(whole)] == [len(one.actions) + 1 for one in whole.episodes]


def test_agents_play_in_their_own_look():
    """Under its own look an agent's episode is what it does there; the turn of agents is after both random ones."""
    world = World(CONTINUOUS)
    agent = untrained(replace(world, look="inverted"))
    agent.controller.log_std.data.fill_(-30.0)  # as good as greedy
    recording = collect_recording(world, episodes=3, agents=[agent])
    [frames] = [frames for i, frames in enumerate(replay_episodes(recording)) if i == 2]
    np.testing.assert_allclose(recording.episodes[2].actions, agent.act(255 - frames[:-1]), atol=1e-5)


def test_agents_of_another_view_are_refused(agent_maker, world):
    full = agent_maker(replace(world, view="full"))
    with pytest.raises(IncompatibleError, match="takes the full view, the world gives agent"):
        collect_recording(world, agents=[full])
    # An environment that draws itself has no views.
    odd = untrained(World(DISCRETE, view="full"))
    assert len(collect_recording(World(DISCRETE), episodes=3, agents=[odd]).episodes) == 3


@pytest.mark.parametrize("environment", KINDS)
def test_pairs_come_from_many_episodes_and_are_distinct(environment):
    world = World(environment)
    agent = untrained(world)
    x, y = collect_paired_images(world, replace(world, look="inverted"), count=64, agents=[agent])
    np.testing.assert_array_equal(x, 255 - y)
    assert len({image.tobytes() for image in x}) == len(x) == 64
    targets = {tuple(np.argwhere(image[..., 0] == 200).mean(axis=0)) for image in x}
    assert len(targets) >= 6  # a target an episode (some are hidden in part by the dot)
    again, _ = collect_paired_images(world, world, count=64, agents=[agent])
    np.testing.assert_array_equal(x, again)


@pytest.mark.parametrize("environment", KINDS)
def test_pairs_of_episodes_are_those_of_their_replays(environment):
    world, other = World(environment), World(environment, look="inverted")
    agents = [untrained(one) for one in (world, other, replace(world, look="hue:90"))]
    played = list(play_episodes(world, 10, seed=1, max_steps=30, first=0, agents=agents))
    seen = map(np.concatenate, zip(*paired_episodes(played, world, other), strict=True))
    recording = Recording(world, tuple(one.episode for one in played))
    for ours, replayed in zip(seen, paired_images(recording, world, other), strict=True):
        np.testing.assert_array_equal(ours, replayed)
    blank = [replace(one, observations=np.zeros_like(one.observations)) for one in played]
    kept = [(not x.any(), not y.any()) for x, y in paired_episodes(blank, world, other)]
    turns = [(True, False)] * 3 + [(False, True), (False, False)]  # random twice, then the agents, in their own looks
    assert kept == 2 * turns
    for number, one in enumerate(played):
        rewards = (one.episode.rewards[0] + 1, *one.episode.rewards[1:])
        changed = replace(one, episode=replace(one.episode, rewards=rewards))
        with pytest.raises(InvalidInputError, match="not deterministic"):
            list(paired_episodes([*played[:number], changed], world, other))


def test_frames_are_collected_until_there_are_enough():
    recording = collect_frames(World(CONTINUOUS), 300, seed=3)
    frames = sum(len(episode.actions) + 1 for episode in recording.episodes)
    assert frames >= 300
    assert sum(len(episode.actions) + 1 for episode in recording.episodes[:-16]) < 300
    assert recording == collect_frames(World(CONTINUOUS), 300, seed=3)


@pytest.mark.parametrize("environment", KINDS)
@pytest.mark.parametrize("method", ["random", "farthest", "kmedoids"])
def test_replay_anchors_are_drawn_under_every_look(environment, method):
    recording = collect_recording(World(environment), episodes=4)
    anchors = choose_replay_anchor_set(recording, 12, method=method)
    played = list(replay_episodes(recording))
    expected = np.stack([played[episode][step] for episode, step in anchors.frames])
    assert len({image.tobytes() for image in expected}) == 12
    np.testing.assert_array_equal(anchors.render(), expected)
    np.testing.assert_array_equal(anchors.render("inverted"), 255 - expected)
    assert anchors.actions.dtype == (np.int64 if environment == DISCRETE else np.float32)


def test_fewer_frames_than_anchors_are_taken_where_that_is_allowed():
    recording = collect_recording(World(DISCRETE), episodes=1, max_steps=3)
    distinct = len({frame.tobytes() for frame in next(replay_episodes(recording))})
    with pytest.raises(InvalidInputError, match=f"k: expected at most {distinct}"):
        choose_replay_anchor_set(recording, 50)
    assert len(choose_replay_anchor_set(recording, 50, fewer=True)) == distinct
