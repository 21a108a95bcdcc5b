"""CarRacing: looks, camera, actions and tasks on the backend that is exact."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import FunctionType

import numpy as np
import pytest
from gymnasium import spaces

from rlstitch.envs import World, make_vec, record_actions, replay_episodes
from rlstitch.envs.families.car_racing.car_racing import CAR_RACING
from rlstitch.envs.families.car_racing.cars import (
    ACTIONS,
    FAR_ZOOM,
    GROUND_ROWS,
    MULTICOLOUR,
    PALETTES,
    ZOOM,
    drawn_when_seen,
    make_car,
    recolour,
    split_look,
)
from rlstitch.errors import InvalidInputError, MissingExtraError, UnknownNameError

pytest.importorskip("Box2D")

from rlstitch.envs.families.car_racing.drawing import CarDrawing

CAR = "CarRacing-v3"
# Gas out of the zoom of the first second, then to and fro: road, grass, kerb and a turned car come into view.
PLAN = [3] * 30 + [1] * 8 + [3] * 12 + [2] * 10 + [4] * 4 + [0] * 4


@pytest.fixture(scope="module")
def drives():
    """The same drive on each ground, `(T, 96, 96, 3)`."""
    return {ground: drive(ground) for ground in PALETTES}


def drive(ground: str, *, far: bool = False) -> np.ndarray:
    car = make_car(ground, discrete=True, far=far)
    frames = [car.reset(seed=5)[0], *(car.step(action)[0] for action in PLAN)]
    car.close()
    return np.stack(frames)


def test_discrete_actions_are_these_continuous_ones():
    discrete, continuous = make_car(discrete=True), make_car(discrete=False)
    np.testing.assert_array_equal(discrete.reset(seed=3)[0], continuous.reset(seed=3)[0])
    for action in PLAN:
        one, other = discrete.step(action), continuous.step(ACTIONS[action])
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1:4] == other[1:4]


@pytest.mark.parametrize("ground", ["red", "blue", "yellow", "violet"])
def test_recoloured_pictures_are_nearly_those_that_are_drawn_in_that_colour(drives, ground):
    """The palette is the oracle. Measured: 0.07 levels a pixel at most; 0.3 % of pixels are off by more than 8."""
    wrong = np.abs(recolour(drives["green"], ground).astype(int) - drives[ground])
    assert wrong.mean() < 0.2
    assert (wrong.max(axis=-1) > 8).mean() < 0.01
    assert (wrong[:, GROUND_ROWS:] == 0).all()  # the bar of indicators
    assert np.abs(drives["green"].astype(int) - drives[ground])[:, :GROUND_ROWS].mean() > 20


@pytest.mark.parametrize("rows", [GROUND_ROWS, GROUND_ROWS + 6])
def test_a_crop_leaves_of_the_bar_what_it_shows_of_it(drives, rows):
    whole = recolour(drives["green"], "red")
    np.testing.assert_array_equal(recolour(drives["green"][:, :rows], "red"), whole[:, :rows])


def test_plain_ground_takes_the_papers_colours_exactly():
    plain = np.array([*PALETTES["green"], (102, 102, 102), (255, 0, 0), (0, 0, 0)], dtype=np.uint8).reshape(1, 1, 5, 3)
    for ground, (background, grass) in PALETTES.items():
        background_there, grass_there, *rest = recolour(plain, ground)[0, 0].tolist()
        assert (tuple(background_there), tuple(grass_there)) == (background, grass)
        assert rest == plain[0, 0, 2:].tolist()
    assert recolour(plain, "green") is plain


def test_looks_are_taken_apart():
    assert split_look("standard")[:2] == ("green", False)
    ground, far, rest = split_look("red+far+inverted+blue")
    assert (ground, far) == ("blue", True)
    np.testing.assert_array_equal(rest.apply(np.full((1, 1, 1, 3), 7, np.uint8)), 248)
    with pytest.raises(UnknownNameError, match="look 'farr'; did you mean far"):
        World(CAR, "farr")


def test_the_far_camera_moves_nothing_but_itself(drives):
    near, far = drives["green"], drive("green", far=True)
    road = [(np.ptp(frames[-1, :GROUND_ROWS].astype(int), axis=-1) < 8).mean() for frames in (near, far)]
    assert road[1] < 0.6 * road[0]  # as much road fills less of the picture
    np.testing.assert_array_equal(drive("green"), near)  # and another car's camera stays where it was
    np.testing.assert_array_equal(near[:, GROUND_ROWS:], far[:, GROUND_ROWS:])


def test_a_world_is_drawn_in_its_look():
    worlds = [World(CAR, look, actions="discrete", crop=GROUND_ROWS, size=42) for look in ("red", "red+inverted")]
    seen = []
    for world in worlds:
        env = make_vec(world, 2, seed=1)
        seen.append(env.reset(seed=[5, 6])[0])
        assert seen[-1].shape == (2, 42, 42, 3)
        env.close()
    assert np.abs(255 - seen[0].astype(int) - seen[1]).max() <= 2  # rounding, twice in each mean


def test_replay_changes_ground_and_camera_and_nothing_else():
    world = World(CAR, "green", actions="discrete", action_repeat=4)
    recording = record_actions(world, [3], [[3] * 5 + [1] * 2])
    for variation in ("green", "red", "far"):
        frames = next(replay_episodes(recording, World(CAR, variation, actions="discrete", action_repeat=4, crop=80)))
        assert frames.shape == (8, 80, 96, 3)
    with pytest.raises(InvalidInputError, match="CarRacing-v3 with action_repeat 4, as recorded"):
        next(replay_episodes(recording, World(CAR, actions="discrete", action_repeat=2)))


def test_slow_driving_costs_no_time_and_speeding_ends_it():
    env = make_vec(World(CAR, task="slow", actions="discrete"), 1, seed=0, autoreset="disabled")
    env.reset(seed=3)
    rewards, ended = [], False
    while not ended and len(rewards) < 300:
        _, reward, terminated, truncated, _ = env.step(np.array([3]))
        rewards.append(float(reward[0]))
        ended = bool(terminated[0])
        assert not truncated[0]
    assert ended
    assert rewards[-1] == -100
    assert min(rewards[:-1]) == pytest.approx(0)
    assert max(rewards[:-1]) > 3  # tiles are still worth something
    env.close()


@pytest.mark.parametrize("far", [False, True])
def test_what_lies_outside_the_view_is_left_out_and_no_pixel_changes(far):
    """Gymnasium's own drawing is the oracle; its zoom is a constant of its module."""
    from gymnasium.envs.box2d.car_racing import CarRacing

    car, seen = drawn_when_seen(make_car(discrete=True, far=far, drawn=False)), []
    original = CarRacing._render
    constants = {**original.__globals__, "ZOOM": FAR_ZOOM if far else ZOOM}
    render = FunctionType(original.__code__, constants)
    note = car.unwrapped._render
    car.unwrapped._render = lambda mode: note(mode) or seen.append(render(car.unwrapped, mode))
    for seed in (3, 4):
        car.reset(seed=seed)
        car.unwrapped.car.hull.position += (60.0 * (seed - 3), 0)  # one car at the field's edge
        for action in PLAN:
            image = car.step(action)[0]
            np.testing.assert_array_equal(image, seen[-1])


def test_one_image_is_drawn_for_an_action_that_is_repeated(monkeypatch):
    """The images are those of a car that draws every step, also where an episode ends within an action."""
    drawn = []
    draw = CarDrawing.image
    monkeypatch.setattr(CarDrawing, "image", lambda self: drawn.append(1) or draw(self))
    env = make_vec(
        World(CAR, "red", task="length:10", actions="discrete", action_repeat=4), 1, seed=0, autoreset="disabled"
    )
    seen = [env.reset(seed=5)[0][0], *(env.step(np.array([action]))[0][0] for action in (3, 3, 1))]
    assert len(drawn) == len(seen)
    car = make_car("red", discrete=True)
    every = [car.reset(seed=5)[0], *(car.step(action)[0] for action in [3] * 8 + [1] * 2)]
    np.testing.assert_array_equal(seen, [every[step] for step in (0, 4, 8, 10)])


def test_each_episode_has_one_of_many_colours_on_the_same_track():
    world = World(CAR, "multicolor+far", actions="discrete")
    assert world.look == "far+multicolour"
    near = World(CAR, "multicolour", actions="discrete")
    env = make_vec(near, 6, seed=0, autoreset="disabled")
    seen = env.reset(seed=0)[0], env.step(np.full(6, 3))[0]
    plain = {ground: make_vec(replace(near, look=ground), 6, seed=0, autoreset="disabled") for ground in MULTICOLOUR}
    own = {ground: (one.reset(seed=0)[0], one.step(np.full(6, 3))[0]) for ground, one in plain.items()}
    grounds = [[g for g in MULTICOLOUR if np.array_equal(own[g][0][i], seen[0][i])] for i in range(6)]
    assert sorted({ground for (ground,) in grounds}) == sorted(MULTICOLOUR)
    for i, (ground,) in enumerate(grounds):
        np.testing.assert_array_equal(own[ground][1][i], seen[1][i])
    np.testing.assert_array_equal(env.reset(seed=0)[0], seen[0])


@pytest.mark.parametrize(
    ("look", "does"), [("far", "moves the camera"), ("red+multicolour", "changes the ground with the episode")]
)
def test_envpool_says_which_looks_it_cannot_draw(look, does):
    with pytest.raises(InvalidInputError, match=f"{does}, which .* cannot do; it needs the backend gymnasium"):
        CAR_RACING.pixel_look(World(CAR, look, backend="envpool"))


def test_tasks_say_what_the_actions_mean():
    for task, count in (("no-idle", 4), ("scrambled", 5), ("without:brake", 4)):
        env = make_vec(World(CAR, task=task, actions="discrete"), 1, seed=0)
        assert env.single_action_space == spaces.Discrete(count)
        env.close()
    with pytest.raises(InvalidInputError, match="'no-idle' gives discrete actions another meaning, CarRacing-v3 takes"):
        make_vec(World(CAR, task="no-idle"), 1, seed=0)


def test_observations_are_told_by_their_shape():
    world = World(CAR, actions="discrete", frame_stack=2, size=48)
    assert CAR_RACING.observation_kind(world)[1] == (48, 48, 6)
    assert CAR_RACING.observation_kind(World(CAR, crop=84, backend="envpool"))[1] == (84, 96, 3)


def test_a_missing_package_is_one_line(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("gymnasium.envs.box2d")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "Box2D", None)
    with pytest.raises(MissingExtraError, match=r"CarRacing needs .* pip install 'rlstitch\[box2d\]'"):
        make_car(discrete=True)
