import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from rlstitch.envs import World, make_vec
from rlstitch.errors import InvalidInputError, UnknownNameError

# From cell 0 (even seeds) or 1 (odd ones) to cell 3, at most 5 steps.
ON, WAIT, BACK = 1, 0, 2


def states(frames):
    """Position and number of steps that a corridor's frames show."""
    return [tuple(frame[0, 0, :2].tolist()) for frame in frames]


@pytest.mark.parametrize("workers", [0, 1])
def test_every_step_of_a_known_environment(workers):
    env = make_vec(World("Corridor-v0"), 2, seed=0, workers=workers)
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    frames, _ = env.reset()
    assert states(frames) == [(0, 0), (1, 0)]
    frames, rewards, terminations, truncations, infos = env.step(np.array([ON, ON]))
    assert states(frames) == [(1, 1), (2, 1)]
    assert "final_obs" not in infos
    frames, rewards, terminations, truncations, infos = env.step(np.array([BACK, ON]))
    assert states(frames) == [(0, 2), (1, 0)]  # the second has arrived and begun again
    assert rewards.tolist() == [-1, 10]
    assert terminations.tolist() == [False, True]
    assert states(infos["final_obs"][1:]) == [(3, 2)]
    for _ in range(3):
        frames, rewards, terminations, truncations, infos = env.step(np.array([WAIT, WAIT]))
    assert truncations.tolist() == [True, False]
    assert terminations.tolist() == [False, False]
    assert states(frames) == [(0, 0), (1, 3)]
    assert states(infos["final_obs"][:1]) == [(0, 5)]
    env.close()


def test_a_look_of_pixels_reaches_final_observations_too():
    plain, inverted = (make_vec(World("Corridor-v0", look), 2, seed=0) for look in ("standard", "inverted"))
    assert (inverted.reset()[0] == 255 - plain.reset()[0]).all()
    for _ in range(6):
        expected, *_, infos = plain.step(np.array([ON, ON]))
        result, *_, others = inverted.step(np.array([ON, ON]))
        np.testing.assert_array_equal(result, 255 - expected)
        np.testing.assert_array_equal(inverted.underlying, expected)
        assert ("final_obs" in infos) == ("final_obs" in others)
        for one, other in zip(infos.get("final_obs", []), others.get("final_obs", []), strict=True):
            assert (one is None and other is None) or (other == 255 - one).all()


def test_scrambled_actions_are_put_in_order():
    env = make_vec(World("Corridor-v0", task="scrambled"), 1, seed=0)
    env.reset()
    assert states(env.step(np.array([0]))[0]) == [(1, 1)]  # the controller's 0 is the environment's 1: go on
    assert states(env.step(np.array([1]))[0]) == [(0, 2)]
    assert states(env.step(np.array([2]))[0]) == [(0, 3)]


@pytest.mark.parametrize("workers", [0, 1])
def test_seeded_evaluation_without_autoreset(workers):
    env = make_vec(World("Corridor-v0"), 2, seed=0, autoreset="disabled", workers=workers)
    with pytest.raises(InvalidInputError, match=r"environments \[0, 1\] are not in an episode"):
        env.step(np.array([ON, ON]))
    env.reset(seed=[0, 1])
    env.step(np.array([ON, ON]))
    frames, _, terminations, *_ = env.step(np.array([ON, ON]))
    assert terminations.tolist() == [False, True]
    assert states(frames) == [(2, 2), (3, 2)]
    with pytest.raises(InvalidInputError, match=r"environments \[1\]"):
        env.step(np.array([ON, ON]))
    options = {"reset_mask": np.array([False, True])}
    frames, _ = env.reset(seed=[9, 4], options=options)
    assert states(frames) == [(2, 2), (0, 0)]
    assert list(options) == ["reset_mask"]
    env.close()


def test_the_seed_is_taken_once_and_sampling_is_seeded():
    env = make_vec(World("Corridor-v0"), 2, seed=1)
    assert states(env.reset()[0]) == [(1, 0), (0, 0)]
    assert states(env.reset(seed=2)[0]) == [(0, 0), (1, 0)]
    assert states(env.reset()[0]) == [(0, 0), (1, 0)]  # no new seed: the environments go on
    again = make_vec(World("Corridor-v0"), 2, seed=1)
    samples = [env.action_space.sample().tolist() for _ in range(9)]
    assert samples == [again.action_space.sample().tolist() for _ in range(9)]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ("Blackjack-v1", r"Blackjack-v1: expected observations in a uint8 Box .* found Tuple"),
        ("Dim-v0", "Dim-v0: expected images of 0 to 255, found 0 to 100"),
    ],
)
def test_environments_that_do_not_fit_are_refused(environment, message):
    for workers in (0, 1):
        with pytest.raises(InvalidInputError, match=message):
            make_vec(World(environment), 1, seed=0, workers=workers)


def test_parameters_that_do_not_fit_are_refused():
    with pytest.raises(UnknownNameError, match="unknown environment 'Coridor-v0'; did you mean Corridor-v0"):
        make_vec(World("Coridor-v0"), 1, seed=0)
    with pytest.raises(InvalidInputError, match="'red' tints the floor of MiniGrid tiles"):
        make_vec(World("Corridor-v0", "red"), 1, seed=0)
    with pytest.raises(InvalidInputError, match="autoreset: expected one of same_step, disabled, found 'next_step'"):
        make_vec(World("Corridor-v0"), 1, seed=0, autoreset="next_step")
    with pytest.raises(InvalidInputError, match="num_envs: expected at least 1, found 0"):
        make_vec(World("Corridor-v0"), 0, seed=0)
    with pytest.raises(InvalidInputError, match="workers: expected at least 0, found -1"):
        make_vec(World("Corridor-v0"), 1, seed=0, workers=-1)
    env = make_vec(World("Corridor-v0"), 2, seed=0)
    env.reset()
    with pytest.raises(InvalidInputError, match="actions: expected 0 to 2, found"):
        env.step(np.array([0, 3]))
