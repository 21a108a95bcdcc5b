"""LunarLander: Gymnasium's own numbers, a drawing close to its own, skies, tasks and sensors."""

from __future__ import annotations

import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from rlstitch.envs import World, make_vec, record_actions, replay_episodes
from rlstitch.envs.families.lunar_lander.drawing import SKIES, Drawing, split_sky
from rlstitch.envs.families.lunar_lander.lander import SceneObservation, make_lander, read_scenes
from rlstitch.envs.frames import shrink
from rlstitch.envs.looks.look import get_look
from rlstitch.errors import InvalidInputError, MissingExtraError, UnknownNameError

pytest.importorskip("Box2D")
LANDER = "LunarLander-v3"
PLAN = [0, 2, 2, 1, 2, 3, 3, 2, 0, 0, 1, 2] * 12


def landing(seed: int, **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Some images of Gymnasium's environment, and our scenes of the same moments; both give the same numbers."""
    theirs = gymnasium.make(LANDER, render_mode="rgb_array", **kwargs)
    ours = SceneObservation(make_lander())
    for name, value in kwargs.items():
        setattr(ours.unwrapped, name, value)
    state, _ = theirs.reset(seed=seed)
    scene, _ = ours.reset(seed=seed)
    np.testing.assert_array_equal(scene[:8], state)
    theirs.render()
    images, scenes = [], []
    for step, action in enumerate(PLAN):
        state, *result, _ = theirs.step(action)
        scene, *same, _ = ours.step(action)
        np.testing.assert_array_equal(scene[:8], state)
        assert result == same
        image = theirs.render()
        if step % 10 == 0:
            images.append(image)
            scenes.append(scene)
        if result[1]:
            break
    return np.stack(images), np.stack(scenes)


@pytest.fixture(scope="module")
def seen() -> tuple[np.ndarray, np.ndarray]:
    return landing(3)


def test_images_are_nearly_gymnasiums_shrunk(seen: tuple[np.ndarray, np.ndarray]) -> None:
    """Measured over whole episodes (docs/lunar-lander.md): 0.27 levels a pixel."""
    images, scenes = seen
    wrong = np.abs(shrink(images, 64).astype(int) - Drawing("standard", 64, 64)(scenes))
    assert wrong.mean() < 0.5
    assert (wrong.max(axis=-1) > 32).mean() < 0.002


@pytest.mark.parametrize("kwargs", [{"gravity": -3.0}, {"enable_wind": True, "wind_power": 15.0}])
def test_gravity_and_wind_are_gymnasiums(kwargs: dict[str, Any]) -> None:
    landing(5, **kwargs)


def test_motion_of_a_tenth_of_a_pixel_is_seen(seen: tuple[np.ndarray, np.ndarray]) -> None:
    _, scenes = seen
    moved = scenes[:1].copy()
    read_scenes(moved).bodies[..., 0] += 0.1 / 30
    draw = Drawing("standard", 64, 64)
    assert (draw(scenes[:1]) != draw(moved)).sum() > 10


def test_an_episode_succeeds_where_the_lander_comes_to_rest() -> None:
    """Gymnasium's heuristic lands with seed 0; without any action the lander crashes."""
    from gymnasium.envs.box2d.lunar_lander import heuristic

    one = make_lander(drawn=False)
    ended = {}
    for plays in (True, False):
        env = make_vec(World(LANDER), 1, seed=0)
        states, _ = env.reset(seed=0)
        done = np.zeros(1, dtype=bool)
        while not done[0]:
            states, rewards, *done_flags, infos = env.step(np.array([heuristic(one, states[0]) if plays else 0]))
            done = np.logical_or(*done_flags)
        ended[plays] = bool(infos["success"][0]), float(rewards[0])
        env.close()
    assert ended == {True: (True, 100.0), False: (False, -100.0)}


@pytest.mark.parametrize(("size", "rows"), [(64, 16), (64, 32), (64, 40), (64, 48), (1600, 1200)])
def test_a_crop_is_the_upper_part_of_the_whole_image(size: int, rows: int, seen: tuple[np.ndarray, np.ndarray]) -> None:
    """The ground may lie below it, in it or across its edge, and be drawn on many small cells."""
    whole = Drawing("white", size, 64)(seen[1][:2]).astype(int)
    upper = Drawing("white", rows, 64, height=400 * rows // size)(seen[1][:2])
    assert np.abs(whole[:, :rows] - upper).max() <= 1


@pytest.mark.parametrize("sky", SKIES)
def test_the_sky_has_its_colour_and_the_ground_another(sky: str, seen: tuple[np.ndarray, np.ndarray]) -> None:
    (image,) = Drawing(sky, 40, 40)(seen[1][:1])
    assert tuple(image[0, 0]) == SKIES[sky][0]
    assert tuple(image[-1, 20]) == SKIES[sky][1]
    assert split_sky(sky)[0] == sky


def test_pixel_functions_are_applied_before_shrinking_where_they_can_be(seen: tuple[np.ndarray, np.ndarray]) -> None:
    plain, changed, noisy = (Drawing(look, 48, 48)(seen[1]) for look in ("red", "red+inverted", "red+noise:0.05"))
    assert np.abs(255 - plain.astype(int) - changed).max() <= 3  # rounded at every layer
    np.testing.assert_array_equal(noisy, get_look("noise:0.05").apply(plain))


def test_a_crop_and_a_size_show_the_same_as_the_whole_image(seen: tuple[np.ndarray, np.ndarray]) -> None:
    whole = shrink(Drawing("white", 400, 600)(seen[1][:3])[:, :300], 50)
    assert np.abs(whole.astype(int) - Drawing("white", 50, 50, 300)(seen[1][:3])).mean() < 0.1


def test_both_sensors_observe_the_same_episode_and_replays_are_exact() -> None:
    worlds = [World(LANDER, task="wind", action_repeat=4),
              World(LANDER, "red", "wind", action_repeat=4, sensor="pixels", size=40, frame_stack=2)]  # fmt: skip
    recording = record_actions(worlds[0], [3], [PLAN[:12]])
    states, images = (next(replay_episodes(recording, world)) for world in worlds)
    assert (states.shape, states.dtype) == ((13, 8), np.float32)
    assert (images.shape, images.dtype) == ((13, 40, 40, 6), np.uint8)


def test_actions_are_four_or_two_engines() -> None:
    for world, space in (
        (World(LANDER), spaces.Discrete(4)),
        (World(LANDER, task="no-idle"), spaces.Discrete(3)),
        (World(LANDER, actions="continuous"), spaces.Box(-1, 1, (2,), np.float32)),
        (World("LunarLanderContinuous-v3"), spaces.Box(-1, 1, (2,), np.float32)),
    ):
        env = make_vec(world, 2, seed=0)
        assert env.single_action_space == space
        env.reset()
        env.step(env.action_space.sample())
        env.close()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "gravity:3"}, "gravity:NUMBER with a number above -12 and below 0, found '3'"),
        ({"task": "gravity"}, "gravity:NUMBER with a number above -12 and below 0, found ''"),
        ({"task": "wind:nan"}, "wind:POWER with a number above 0 and below 20, found 'nan'"),
        ({"look": "blue", "sensor": "pixels"}, "LunarLander has the skies black, white, red, green, found 'blue'"),
        ({"look": "recolour:red=ffffff", "sensor": "pixels"}, "changes the colours of MiniGrid's objects"),
        ({"look": "far", "sensor": "pixels"}, "moves the camera"),
        ({"look": "red"}, "the sensor state gives vectors, not images"),
        ({"make_kwargs": {"gravity": -3}}, "which has the tasks gravity and wind"),
        ({"backend": "envpool"}, "it needs the backend gymnasium"),
        ({"keys": ("position",)}, "keys: LunarLander-v3 has no such option; expected"),
        ({"view": "full"}, "view: LunarLander-v3 has no such option; expected 'agent', found 'full'"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make_vec(World(LANDER, **fields), 1, seed=0)


def test_an_unknown_task_names_the_family() -> None:
    with pytest.raises(UnknownNameError, match="unknown LunarLander task 'gravitee'"):
        World(LANDER, task="gravitee:-3")


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("gymnasium.envs.box2d")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "Box2D", None)
    with pytest.raises(MissingExtraError, match=r"LunarLander needs .* pip install 'rlstitch\[box2d\]'"):
        make_lander()
