"""What an agent sees of what is drawn: cut, size, stack; and actions that are repeated."""

from __future__ import annotations

import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecFrameStack

from rlstitch.envs import StableBaselinesVecEnv, World, cell_world, make_vec
from rlstitch.envs.frames import Observer, shrink
from rlstitch.errors import InvalidInputError

LONG, SHORT = "CorridorLong-v0", "Corridor-v0"


def naive_shrink(images: np.ndarray, side: int) -> np.ndarray:
    """Each pixel is the mean over the rectangle it covers, weighed by how much of each old pixel lies in it."""
    _, height, width, _ = images.shape
    out = np.zeros((len(images), side, side, images.shape[3]))
    for i in range(side):
        for j in range(side):
            top, bottom, left, right = (
                i * height / side,
                (i + 1) * height / side,
                j * width / side,
                (j + 1) * width / side,
            )
            total = 0.0
            for row in range(int(top), min(int(np.ceil(bottom)), height)):
                for column in range(int(left), min(int(np.ceil(right)), width)):
                    share = (min(bottom, row + 1) - max(top, row)) * (min(right, column + 1) - max(left, column))
                    out[:, i, j] += share * images[:, row, column]
                    total += share
            out[:, i, j] /= total
    return out


@pytest.mark.parametrize(("height", "width", "side"), [(12, 12, 4), (21, 24, 8), (10, 7, 5), (9, 30, 7)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_shrink_to_the_means_of_areas(height, width, side, channels):
    images = np.random.default_rng(0).integers(0, 256, (3, height, width, channels), dtype=np.uint8)
    small = shrink(images, side)
    assert small.dtype == np.uint8
    assert np.abs(small - naive_shrink(images, side)).max() <= 0.5 + 1e-9


def test_a_picture_shrinks_alike_in_any_batch():
    images = np.random.default_rng(0).integers(0, 256, (7, 210, 160, 3), dtype=np.uint8)
    together = shrink(images, 84)
    for image, small in zip(images, together, strict=True):
        np.testing.assert_array_equal(shrink(image[None], 84)[0], small)


def test_an_image_of_the_right_size_is_left_alone():
    images = np.zeros((2, 6, 6, 3), dtype=np.uint8)
    assert shrink(images, 6) is images


def test_the_look_meets_the_colours_that_were_drawn():
    """A threshold before the mean gives the mean of the thresholds, not the threshold of the mean."""
    drawn = np.zeros((1, 2, 2, 1), dtype=np.uint8)
    drawn[0, 0] = 200
    seen = Observer(World("E", size=1), lambda x: (x > 100).astype(np.uint8) * 255, (2, 2, 1), 1).see(drawn)
    assert seen.item() in (127, 128)


def test_a_stack_holds_the_last_images_of_its_own_episode():
    observer = Observer(World("E", frame_stack=3), lambda x: x, (1, 1, 1), 2)

    def images(*values: int) -> np.ndarray:
        return np.array(values, dtype=np.uint8).reshape(-1, 1, 1, 1)

    observer.start(np.array([0, 1]), images(1, 50))
    assert observer.observations.reshape(2, 3).tolist() == [[1, 1, 1], [50, 50, 50]]
    before = observer.observations
    observer.step(images(2, 51))
    assert observer.observations.reshape(2, 3).tolist() == [[1, 1, 2], [50, 50, 51]]
    assert before.reshape(2, 3).tolist() == [[1, 1, 1], [50, 50, 50]]  # what was handed out stays as it was
    observer.start(np.array([1]), images(70))
    assert observer.observations.reshape(2, 3).tolist() == [[1, 1, 2], [70, 70, 70]]


def test_zeros_pad_a_stack_at_the_start_of_an_episode_only():
    observer = Observer(World("E", frame_stack=3, padding="zeros"), lambda x: x, (1, 1, 1), 2)
    observer.start(np.array([0, 1]), np.array([7, 8], dtype=np.uint8).reshape(2, 1, 1, 1))
    assert observer.observations.reshape(2, 3).tolist() == [[0, 0, 7], [0, 0, 8]]
    observer.step(observer.observations[..., -1:] + 1)
    assert observer.observations.reshape(2, 3).tolist() == [[0, 7, 8], [0, 8, 9]]


def test_zero_padding_is_that_of_stable_baselines():
    world = World(SHORT, frame_stack=3, padding="zeros")
    ours = StableBaselinesVecEnv(make_vec(world, 2, seed=3))
    theirs = VecFrameStack(StableBaselinesVecEnv(make_vec(World(SHORT), 2, seed=3)), 3)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    for step in range(8):  # beyond the end of an episode
        (seen, *_, infos), (expected, *_, expected_infos) = (
            env.step(np.array([1, step % 3])) for env in (ours, theirs)
        )
        np.testing.assert_array_equal(seen, expected)
        for mine, other in zip(infos, expected_infos, strict=True):
            if "terminal_observation" in other:
                np.testing.assert_array_equal(mine["terminal_observation"], other["terminal_observation"])


@pytest.mark.parametrize("autoreset", ["same_step", "disabled"])
def test_repeated_actions_end_with_the_episode(autoreset):
    """The third cell ends it: two steps at a time from the first one arrive at once, and then no step is wasted."""
    env = make_vec(World(LONG, action_repeat=2, frame_stack=2), 2, seed=None, autoreset=autoreset)
    first, _ = env.reset(seed=[0, 1])
    assert first[:, 0, 0, [0, 3]].tolist() == [[0, 0], [1, 1]]
    seen, rewards, terminated, _, infos = env.step(np.array([1, 1]))
    assert rewards.tolist() == [-2, 9]
    assert terminated.tolist() == [False, True]
    last = seen[1] if autoreset == "disabled" else infos["final_obs"][1]
    assert last[0, 0, [0, 3]].tolist() == [1, 3]
    assert seen[0, 0, 0, [0, 3]].tolist() == [0, 2]
    if autoreset == "same_step":
        assert seen[1, 0, 0, [0, 3]].tolist() == [1, 1]
        _, rewards, terminated, _, _ = env.step(np.array([1, 0]))
        assert rewards.tolist() == [10, -2]  # the second step of the first environment was not taken
        assert terminated.tolist() == [True, False]


def test_limits_count_the_environments_steps():
    env = make_vec(World(SHORT, action_repeat=2), 1, seed=None, autoreset="disabled")  # cut after 5 steps
    env.reset(seed=0)
    for decision in range(3):
        _, rewards, terminated, truncated, _ = env.step(np.array([0]))
        assert (rewards[0], terminated[0], truncated[0]) == (-2 if decision < 2 else -1, False, decision == 2)


@pytest.mark.parametrize("workers", [0, 1])
def test_options_hold_in_other_processes_too(workers):
    env = make_vec(World(SHORT, "inverted", action_repeat=2, frame_stack=2, size=2, crop=4), 2, seed=3, workers=workers)
    observations, _ = env.reset()
    assert observations.shape == (2, 2, 2, 6)
    assert env.step(np.array([1, 1]))[0][1, 0, 0].tolist() == [255, 255, 255, 253, 253, 255]
    env.close()


def test_too_few_rows_and_the_wrong_kind_of_actions_are_refused():
    with pytest.raises(InvalidInputError, match="crop: expected at most 5, the rows that Corridor-v0 draws, found 6"):
        make_vec(World(SHORT, crop=6), 1, seed=None)
    with pytest.raises(InvalidInputError, match="actions: Corridor-v0 has discrete ones only, found 'continuous'"):
        make_vec(World(SHORT, actions="continuous"), 1, seed=None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"action_repeat": 0}, "action_repeat: expected at least 1, found 0"),
        ({"frame_stack": 33}, "frame_stack: expected at most 32, found 33"),
        ({"size": 1.5}, "size: expected a whole number, found 1.5"),
        ({"crop": True}, "crop: expected a whole number, found True"),
        ({"backend": "box2d"}, "backend: expected 'gymnasium' or 'envpool', found 'box2d'"),
        ({"actions": "both"}, "actions: expected 'own', 'discrete' or 'continuous', found 'both'"),
        ({"frame_stack": None}, "frame_stack: expected a whole number, found nothing"),
    ],
)
def test_worlds_refuse_what_cannot_be_seen(fields, message):
    with pytest.raises(InvalidInputError, match=message):
        World(SHORT, **fields)


def test_a_cell_sees_as_the_encoder_and_plays_as_the_controller():
    encoder = World(SHORT, "inverted", size=8, frame_stack=2, action_repeat=2, backend="envpool")
    controller = World(SHORT, "standard", "scrambled", size=4, frame_stack=4, action_repeat=3, crop=3)
    assert cell_world(encoder, controller) == World(
        SHORT, "inverted", "scrambled", size=8, frame_stack=2, action_repeat=3, backend="gymnasium"
    )
    assert World.from_dict(encoder.to_dict()) == encoder
