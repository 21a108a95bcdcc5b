from dataclasses import replace

import numpy as np
import pytest
from episodes_recorded import record_episodes

from rlstitch.envs import World, render_views, replay_episodes
from rlstitch.errors import InvalidInputError

DOOR = World("MiniGrid-DoorKey-5x5-v0", tile_size=3)


def random_policy(n, seed=0):
    generator = np.random.default_rng(seed)
    return lambda observations: generator.integers(n, size=len(observations))


@pytest.fixture(scope="module")
def door_recording():
    return record_episodes(DOOR, [3, 4], random_policy(7), max_steps=40)


def test_what_was_recorded_is_what_happened():
    recording = record_episodes(World("Corridor-v0"), [0, 1], lambda observations: np.array([1]))
    first, second = recording.episodes
    assert (first.actions, first.rewards, first.terminated, first.truncated) == ((1, 1, 1), (-1, -1, 10), True, False)
    assert (second.seed, second.actions) == (1, (1, 1))
    waited = record_episodes(World("Corridor-v0"), [0], lambda observations: np.array([0])).episodes[0]
    assert (len(waited.actions), waited.terminated, waited.truncated) == (5, False, True)
    cut = record_episodes(World("Corridor-v0"), [0], lambda observations: np.array([0]), max_steps=2).episodes[0]
    assert (len(cut.actions), cut.terminated, cut.truncated) == (2, False, False)


def test_replay_gives_paired_frames_under_any_look(door_recording):
    plain = list(replay_episodes(door_recording))
    assert [len(frames) for frames in plain] == [len(one.actions) + 1 for one in door_recording.episodes]
    for look in ("inverted", "red"):
        for frames, others in zip(plain, replay_episodes(door_recording, replace(DOOR, look=look)), strict=True):
            assert frames.shape == others.shape
            if look == "inverted":
                np.testing.assert_array_equal(others, 255 - frames)
            else:  # equal frames are equal under the other look too, and different ones different
                same = (frames[1:] == frames[:-1]).all(axis=(1, 2, 3))
                np.testing.assert_array_equal(same, (others[1:] == others[:-1]).all(axis=(1, 2, 3)))


def test_replay_in_another_view_and_size(door_recording):
    full = next(replay_episodes(door_recording, replace(DOOR, view="full", tile_size=4)))
    assert full.shape == (len(door_recording.episodes[0].actions) + 1, 20, 20, 3)


def test_replay_of_an_environment_that_draws_itself():
    recording = record_episodes(World("Corridor-v0"), [0, 1], random_policy(3))
    for frames, inverted in zip(
        replay_episodes(recording), replay_episodes(recording, World("Corridor-v0", "inverted")), strict=True
    ):
        np.testing.assert_array_equal(inverted, 255 - frames)


@pytest.mark.parametrize("look", ["standard", "inverted"])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("reward", "the reward of step 0 is .*, and was"),
        ("state", "it showed other states"),
        ("end", "it ended after 1 of 2 steps|it ended in another way"),
        ("way", "it ended in another way"),
    ],
)
def test_an_environment_that_no_seed_governs_is_found_out(fault, message, look):
    recording = record_episodes(World(f"Dice-{fault}-v0"), [0], lambda observations: np.array([0]), max_steps=3)
    with pytest.raises(InvalidInputError, match=f"Dice-{fault}-v0 is not deterministic: .*({message})"):
        list(replay_episodes(recording, World(f"Dice-{fault}-v0", look)))


def test_altered_recordings_are_found_out(door_recording):
    first, *others = door_recording.episodes
    altered = replace(door_recording, episodes=(replace(first, states="0" * 64), *others))
    with pytest.raises(InvalidInputError, match="it showed other states"):
        list(replay_episodes(altered))


def test_other_worlds_are_refused(door_recording):
    for world in (World("MiniGrid-Empty-5x5-v0"), replace(DOOR, task="scrambled")):
        with pytest.raises(InvalidInputError, match="world: expected MiniGrid-DoorKey-5x5-v0 with task standard"):
            next(replay_episodes(door_recording, world))


def test_symbolic_views_and_replay_agree(door_recording):
    """Two ways to the same pairs: drawing symbolic views, and playing again."""
    from rlstitch.envs import make_vec

    env = make_vec(DOOR, 1, seed=None, autoreset="disabled")
    episode = door_recording.episodes[0]
    env.reset(seed=episode.seed)
    views = [env.symbolic()[0]]
    for action in episode.actions:
        env.step(np.array([action]))
        views.append(env.symbolic()[0])
    played = next(replay_episodes(door_recording, replace(DOOR, look="green")))
    np.testing.assert_array_equal(played, render_views(np.stack(views), variation="green", tile_size=3))
