"""Looks as Gymnasium wrappers."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper

from rlstitch.envs import LookWrapper, VectorLookWrapper, get_variation
from rlstitch.errors import InvalidInputError, UnknownNameError

LOOK = "hue:120+noise:0.1,seed=2"


class Told(gymnasium.ObservationWrapper):
    """The corridor's picture in a dictionary, beside a number."""

    def __init__(self, env):
        super().__init__(env)
        number = spaces.Box(0, 9, (1,), np.int64)
        self.observation_space = spaces.Dict({"image": env.observation_space, "number": number})

    def observation(self, observation):
        return {"image": observation, "number": np.array([3])}


def walk(env, count=7):
    """Observations, and the last ones of episodes, of a walk that goes on and comes to ends."""
    observations, _ = env.reset(seed=1)
    seen = [observations]
    for _ in range(count):
        observations, _, _, _, infos = env.step(np.ones(env.num_envs, dtype=np.int64))
        seen.append(observations)
        seen += [final for final in infos.get("final_obs", []) if final is not None]
    return seen


def corridors(mode, wrap=lambda env: env):
    return SyncVectorEnv([lambda: wrap(gymnasium.make("Corridor-v0"))] * 3, autoreset_mode=mode)


def test_one_environment():
    plain, wrapped = gymnasium.make("Corridor-v0"), LookWrapper(gymnasium.make("Corridor-v0"), LOOK)
    assert wrapped.observation_space == plain.observation_space
    look = get_variation(LOOK)
    np.testing.assert_array_equal(wrapped.reset(seed=3)[0], look.apply(plain.reset(seed=3)[0]))
    for action in (1, 2, 1):
        ours, theirs = wrapped.step(action), plain.step(action)
        np.testing.assert_array_equal(ours[0], look.apply(theirs[0]))
        assert ours[1:] == theirs[1:]
        assert wrapped.observation_space.contains(ours[0])


def test_the_wrapper_is_made_again_from_its_spec():
    wrapped = LookWrapper(gymnasium.make("Corridor-v0"), LOOK)
    again = gymnasium.make(wrapped.spec)
    np.testing.assert_array_equal(again.reset(seed=0)[0], wrapped.reset(seed=0)[0])
    assert again.get_wrapper_attr("look").name == LOOK


def test_dictionaries():
    env = LookWrapper(Told(gymnasium.make("Corridor-v0")), "inverted")
    observation, _ = env.reset(seed=1)
    assert observation["number"] == [3]
    assert observation["image"][0, 0].tolist() == [254, 255, 255]
    assert env.observation_space.contains(observation)


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_a_batch_of_environments_and_their_last_observations(mode):
    plain, wrapped = corridors(mode), VectorLookWrapper(corridors(mode), LOOK)
    look = get_variation(LOOK)
    theirs, ours = walk(plain), walk(wrapped)
    assert len(ours) == len(theirs) > 8 - 3 * (mode == AutoresetMode.NEXT_STEP)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, look.apply(other))
    assert wrapped.observation_space.contains(ours[0])


def test_a_batch_of_dictionaries():
    mode = AutoresetMode.SAME_STEP
    plain, wrapped = corridors(mode, Told), VectorLookWrapper(corridors(mode, Told), get_variation("inverted"))
    for one, other in zip(walk(wrapped), walk(plain), strict=True):
        np.testing.assert_array_equal(one["image"], 255 - other["image"])
        np.testing.assert_array_equal(one["number"], other["number"])


def test_a_batch_is_the_single_environments():
    batch = SyncVectorEnv([lambda: LookWrapper(gymnasium.make("Corridor-v0"), LOOK)] * 3)
    for one, other in zip(walk(VectorLookWrapper(corridors(AutoresetMode.NEXT_STEP), LOOK)), walk(batch), strict=True):
        np.testing.assert_array_equal(one, other)


def test_final_observations_in_one_array():
    class Batched(gymnasium.vector.VectorWrapper):
        def step(self, actions):
            *rest, infos = self.env.step(actions)
            return *rest, {**infos, "final_obs": rest[0]}

    env = VectorLookWrapper(Batched(corridors(AutoresetMode.DISABLED)), "inverted")
    env.reset(seed=0)
    observations, *_, infos = env.step(np.ones(3, dtype=np.int64))
    np.testing.assert_array_equal(infos["final_obs"], observations)


def test_minigrid():
    def make():
        return ImgObsWrapper(RGBImgPartialObsWrapper(gymnasium.make("MiniGrid-Empty-5x5-v0"), tile_size=4))

    plain, wrapped = make(), LookWrapper(make(), "greyscale")
    image = wrapped.reset(seed=0)[0]
    assert image.shape == (28, 28, 3)
    np.testing.assert_array_equal(image, get_variation("greyscale").apply(plain.reset(seed=0)[0]))


def test_what_cannot_be_wrapped_is_refused():
    corridor = gymnasium.make("Corridor-v0")
    with pytest.raises(UnknownNameError, match="did you mean noise"):
        LookWrapper(corridor, "nosie:1")
    with pytest.raises(InvalidInputError, match="'red' tints the floor of MiniGrid tiles; finished images take one of"):
        LookWrapper(corridor, "red")
    with pytest.raises(InvalidInputError, match="'recolour:red=000000' changes the colours of MiniGrid tiles"):
        VectorLookWrapper(corridors(AutoresetMode.DISABLED), "recolour:red=000000")
    with pytest.raises(InvalidInputError, match="'far' moves the camera"):
        LookWrapper(corridor, "far")
    with pytest.raises(InvalidInputError, match=r"env: expected observations of images, a uint8 Box .* found Box\(0.0"):
        LookWrapper(gymnasium.make("Deaf-v0"), "inverted")
    with pytest.raises(InvalidInputError, match="key: expected one of image, number, found 'pixels'"):
        LookWrapper(Told(corridor), "inverted", key="pixels")
    grid = gymnasium.make("MiniGrid-Empty-5x5-v0")
    with pytest.raises(InvalidInputError, match=r"found the numbers of a MiniGrid \(7, 7, 3\); wrap it"):
        LookWrapper(grid, "inverted")
    with pytest.raises(InvalidInputError, match="found the numbers of a MiniGrid"):
        VectorLookWrapper(SyncVectorEnv([lambda: ImgObsWrapper(gymnasium.make("MiniGrid-Empty-5x5-v0"))]), "inverted")
