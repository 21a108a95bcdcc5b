"""Atari: games, seeds, whole games and raw scores, looks of one rollout, settings that are refused."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from rlstitch.envs import StableBaselinesVecEnv, World, family_of, make_vec, record_actions, replay_episodes
from rlstitch.envs.families.atari.games import behind_glass, facts
from rlstitch.errors import InvalidInputError, MissingExtraError, UnknownNameError
from rlstitch.rollouts.display import playing_speed
from rlstitch.rollouts.image_pairs import collect_image_pairs

pytest.importorskip("ale_py", reason="needs rlstitch[atari]")
BREAKOUT = World("ALE/Breakout-v5", size=42, frame_stack=2)


def played(world, steps, autoreset="same_step", num_envs=2):
    env = make_vec(world, num_envs, seed=None, autoreset=autoreset)
    rng, (observations, _) = np.random.default_rng(0), env.reset(seed=[3, 4][:num_envs])
    results = [(observations, None, None, None)]
    actions = rng.integers(env.single_action_space.n, size=(steps, num_envs))
    results += [env.step(row)[:4] for row in actions]
    env.close()
    return results


def test_games_repeat_with_their_seeds_through_the_games_that_follow():
    """Breakout at random loses five lives in some 130 to 230 steps: the second game of each follows without a seed."""
    first, second = played(BREAKOUT, 260), played(BREAKOUT, 260)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_equal(one, other)
    ends = np.array([terminated for _, _, terminated, _ in first[1:]])
    assert (ends.sum(axis=0) >= 1).all()
    assert sum(rewards.sum() for _, rewards, _, _ in first[1:]) > 0


def test_pixels_and_ram_are_two_sensors_of_the_same_games():
    """The same rewards and ends through two games of each seed; later games follow without a seed."""
    ram = World("ALE/Breakout-v5", sensor="ram", frame_stack=2)
    images, bytes_ = played(BREAKOUT, 260), played(ram, 260)
    for seen, read in zip(images[1:], bytes_[1:], strict=True):
        np.testing.assert_equal(seen[1:], read[1:])
    assert bytes_[0][0].dtype == np.float32
    assert bytes_[0][0].shape == (2, 256)
    assert 0 <= bytes_[-1][0].min() < bytes_[-1][0].max() <= 1
    recording = record_actions(BREAKOUT, [5], [[1, 2, 2, 3]])
    assert next(replay_episodes(recording, ram)).shape == (5, 256)


def test_a_life_lost_ends_an_episode_for_the_learner_while_the_game_goes_on():
    ram = World("ALE/Breakout-v5", sensor="ram")
    plain, learner = (StableBaselinesVecEnv(make_vec(ram, 2, seed=0), terminal_on_life_loss=on) for on in (False, True))
    for env in (plain, learner):
        env.reset()
    rng, lost, games = np.random.default_rng(0), 0, 0
    for _ in range(260):
        actions = rng.integers(4, size=2)
        (seen, rewards, over, _), (seen_too, rewards_too, ends, infos) = (env.step(actions) for env in (plain, learner))
        np.testing.assert_equal([seen, rewards], [seen_too, rewards_too])
        assert (over <= ends).all()
        assert ["episode" in info for info in infos] == over.tolist()
        lost, games = lost + ends.sum(), games + over.sum()
    assert games >= 2
    assert 5 * games <= lost <= 5 * games + 8


def test_a_game_depends_on_its_own_seed_alone():
    env = make_vec(BREAKOUT, 2, seed=0, autoreset="disabled")
    env.reset(seed=[9, 3])
    env.step(np.array([1, 2]))
    again, _ = env.reset(seed=[3, 0], options={"reset_mask": np.array([True, False])})
    kept = env.step(np.array([0, 2]))[0]
    env.close()
    np.testing.assert_array_equal(again[0], played(BREAKOUT, 0)[0][0][0])
    assert kept.shape == (2, 42, 42, 6)


def test_looks_are_functions_of_the_resized_images_of_one_rollout():
    worlds = {look: replace(BREAKOUT, look=look) for look in ("standard", "inverted", "red", "hue:120")}
    seen = {look: played(world, 3)[-1][0] for look, world in worlds.items()}
    np.testing.assert_array_equal(seen["inverted"], 255 - seen["standard"])
    np.testing.assert_array_equal(seen["hue:120"][..., 1::3], seen["standard"][..., ::3])
    assert (seen["red"] <= seen["standard"]).all()
    assert len({images.tobytes() for images in seen.values()}) == 4
    assert family_of(BREAKOUT).shares_frames(worlds["red"], worlds["inverted"])
    assert not family_of(BREAKOUT).shares_frames(BREAKOUT, replace(BREAKOUT, size=84))
    pairs = collect_image_pairs(worlds["standard"], worlds["inverted"], count=8, max_steps=64)
    np.testing.assert_array_equal(pairs.y, 255 - pairs.x)


def test_coloured_glass_keeps_its_own_channel_and_halves_the_others():
    grey = np.full((1, 1, 3), 200, np.uint8)
    assert behind_glass(grey, (255, 0, 0)).ravel().tolist() == [200, 100, 100]


@pytest.mark.parametrize("seen", [replace(BREAKOUT, look="green", size=84), replace(BREAKOUT, crop=180)])
def test_recorded_games_are_played_again_in_another_look_and_size(seen):
    recording = record_actions(BREAKOUT, [5], [[1, 2, 2, 3]])
    frames = next(replay_episodes(recording, seen))
    assert frames.shape == (5, seen.size, seen.size, 6)


def test_shapes_and_actions_are_known_without_playing():
    family = family_of("ALE/Pong-v5")
    assert family.observation_kind(World("ALE/Pong-v5")) == ("ALE/Pong-v5", (210, 160, 3))
    assert family.observation_kind(World("ALE/Pong-v5", size=84, frame_stack=4))[1] == (84, 84, 12)
    for full, count in ((False, 6), (True, 18)):
        assert family.action_space(World("ALE/Pong-v5", make_kwargs={"full_action_space": full})).n == count


def test_tasks_limit_games_cost_time_and_filter_actions():
    limited = played(replace(BREAKOUT, task="length:3+time-cost:0.5"), 3, autoreset="disabled")
    assert limited[-1][3].all()
    assert not limited[-1][2].any()
    assert limited[-1][1].tolist() == [-0.5, -0.5]
    delayed, plain = (played(replace(BREAKOUT, task=task), 6)[-1][0] for task in ("delayed:2", "standard"))
    assert (delayed != plain).any()


@pytest.mark.parametrize(
    ("world", "message"),
    [
        (World("ALE/Pong-v5", make_kwargs={"frameskip": 0}), "make_kwargs: ALE/Pong-v5: .*frameskip"),
        (World("ALE/Pong-v5", make_kwargs={"sticky": 0.1}), "make_kwargs: ALE/Pong-v5: .*sticky"),
        (World("ALE/Pong-v5", action_repeat=4), "action_repeat: expected 1 for ALE/Pong-v5"),
        (World("ALE/Pong-v5", actions="continuous"), "actions: ALE/Pong-v5 has discrete ones only"),
        (World("ALE/Pong-v5", look="far"), "has no 'far'"),
        (World("ALE/Pong-v5", tile_size=16), "tile_size: ALE/Pong-v5 has no such option"),
    ],
)
def test_what_a_game_cannot_have_is_one_line(world, message):
    with pytest.raises(InvalidInputError, match=message):
        make_vec(world, 1, seed=0)


def test_how_fast_people_watch_a_game_does_not_depend_on_its_settings():
    settings = {"noop_max": 10, "use_fire_reset": False}
    assert playing_speed(World("ALE/Pong-v5", make_kwargs=settings)) == playing_speed(World("ALE/Pong-v5")) > 1


def test_an_unknown_game_is_named_with_its_neighbours():
    with pytest.raises(UnknownNameError, match=r"unknown environment 'ALE/Pongg-v5'; did you mean ALE/Pong-v5"):
        make_vec(World("ALE/Pongg-v5"), 1, seed=0)


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py", None)
    facts.cache_clear()
    with pytest.raises(MissingExtraError, match=r"Atari needs .* pip install 'rlstitch\[atari\]'"):
        facts("ALE/Pong-v5")
