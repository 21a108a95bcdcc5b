"""What environments observe, as one array: images of every kind, vectors, texts, and several keys in one vector."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from rlstitch.envs import World, family_of, make_vec, with_sensor
from rlstitch.envs.parts import split_parts
from rlstitch.envs.reading import BITS, WORDS, code_text, read_space
from rlstitch.errors import InvalidInputError, UnknownNameError

CAMERA = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


class Scene(gymnasium.Env[Any, Any]):
    """Observes the same at every step."""

    observation_space = spaces.Dict(
        {
            "camera": spaces.Box(0, 255, (4, 5, 3), np.uint8),
            "robot": spaces.Dict({"arm": spaces.Box(-1, 1, (2,), np.float64), "gear": spaces.Discrete(3, start=1)}),
            "order": spaces.Text(40),
        }
    )
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return {"camera": CAMERA, "robot": {"arm": np.array([0.5, -1]), "gear": 3}, "order": "Go left!"}, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.reset()[0], 0.0, False, False, {}


@pytest.fixture(autouse=True, scope="module")
def scene():
    gymnasium.register("Scene-v0", Scene)
    yield
    del gymnasium.registry["Scene-v0"]


@pytest.mark.parametrize(
    ("space", "shape"),
    [
        (spaces.Box(0, 255, (4, 5), np.uint8), (4, 5, 1)),
        (spaces.Box(0, 255, (4, 5, 2), np.uint8), (4, 5, 2)),
        (spaces.Box(0, 255, (4, 5, 4), np.uint8), (4, 5, 4)),
        (spaces.Box(0, 255, (3, 4, 5), np.uint8), (4, 5, 3)),
        (spaces.Box(0, 255, (4, 4, 16), np.uint8), (4, 4, 16)),
        (spaces.Box(0, 255, (4, 5, 3), np.int64), (4, 5, 3)),
        (spaces.Box(0, 1, (4, 4, 7), bool), (4, 4, 7)),
        (spaces.Box(0, 1, (4, 5, 3), np.float32), (4, 5, 3)),
        (spaces.Box(0, 1, (3, 4, 5), np.float64), (4, 5, 3)),
    ],
)
def test_images_of_every_kind_are_bytes(space, shape):
    space.seed(3)
    sample = space.sample()
    kind, seen, read = read_space(space, "E-v0")
    image = read(sample)
    assert (kind, seen, image.shape, image.dtype) == ("image", shape, shape, np.uint8)
    assert image.max() > image.min()
    back = np.moveaxis(image, -1, 0) if sample.shape[0] == 3 else image
    # Nothing is lost of whole numbers; of others less than half of a 255th.
    assert np.abs(back.reshape(sample.shape) * (float(space.high.max()) / 255) - sample).max() <= 0.5 / 255 + 1e-9


def test_texts_are_words_in_order():
    one, same, other = (code_text(text) for text in ("Fetch a red key", "fetch a red, key", "a red key fetch"))
    assert one.shape == (WORDS * BITS,)
    assert set(np.unique(one)) == {-1.0, 0.0, 1.0}
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    np.testing.assert_array_equal(one[:BITS], other[3 * BITS : 4 * BITS])  # a word has one code
    with pytest.raises(InvalidInputError, match=f"text: expected at most {WORDS} words, found {WORDS + 1}"):
        code_text("go " * (WORDS + 1))


def test_keys_are_parts_of_one_vector():
    world = with_sensor(World("Scene-v0", "inverted"))
    layout = family_of(world).layout(world)
    assert world.sensor == "pixels"
    assert {part.key: (part.kind, part.shape) for part in layout} == {
        "camera": ("image", (4, 5, 3)),
        "robot.arm": ("vector", (2,)),
        "robot.gear": ("vector", (3,)),
        "order": ("text", (WORDS * BITS,)),
    }
    with closing(make_vec(world, 2, seed=0)) as env:
        env.reset()
        observations = env.step(np.array([0, 1]))[0]
    assert observations.shape == (2, *family_of(world).observation_kind(world)[1])
    parts = split_parts(observations, layout)
    np.testing.assert_array_equal(parts["camera"], [255 - CAMERA] * 2)  # the look is of the image alone
    np.testing.assert_array_equal(parts["robot.arm"][0], [0.5, -1])
    np.testing.assert_array_equal(parts["robot.gear"][0], [0, 0, 1])
    np.testing.assert_array_equal(parts["order"][0], code_text("go left"))


@pytest.mark.parametrize(
    ("keys", "sensor", "shape"),
    [(["camera"], "pixels", (4, 5, 3)), (["robot.arm"], "state", (2,)), (["robot.gear", "robot.arm"], "state", (5,))],
)
def test_keys_are_chosen(keys, sensor, shape):
    world = with_sensor(World("Scene-v0", keys=keys))
    assert world.sensor == sensor
    with closing(make_vec(world, 1, seed=0)) as env:
        assert env.reset()[0].shape == (1, *shape)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"keys": ["arm"]}, "unknown key of Scene-v0 'arm'; did you mean robot.arm"),
        ({"frame_stack": 2}, "frame_stack: observations of several keys are not stacked"),
        ({"keys": ["robot.arm", "order"], "size": 8}, "size: the sensor state gives vectors, not images"),
        ({"environment": "CartPole-v1", "keys": ["x"]}, "keys: expected none for CartPole-v1, which observes Box"),
    ],
)
def test_keys_that_do_not_fit_are_refused(fields, message):
    with pytest.raises((InvalidInputError, UnknownNameError), match=message):
        make_vec(World(**{"environment": "Scene-v0", **fields}), 1, seed=0)
