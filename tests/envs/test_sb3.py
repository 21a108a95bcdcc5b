import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor, VecTransposeImage

from rlstitch.envs import StableBaselinesVecEnv, World, make_vec
from rlstitch.errors import InvalidInputError

ON, WAIT = 1, 0


def corridor(num_envs=2, **kwargs):
    return StableBaselinesVecEnv(make_vec(World("Corridor-v0", **kwargs), num_envs, seed=0))


def states(frames):
    return [tuple(frame[:2, 0, 0].tolist()) for frame in frames]


def test_ends_and_limits_of_a_known_environment():
    """Environment 0 waits until the limit of 5 steps; environment 1 walks from 1 to 3, again and again."""
    env = corridor()
    assert states(env.reset()) == [(0, 0), (1, 0)]
    frames, rewards, dones, infos = env.step(np.array([WAIT, ON]))
    assert (states(frames), rewards.tolist(), dones.tolist(), infos) == (
        [(0, 1), (2, 1)],
        [-1, -1],
        [False, False],
        [{}, {}],
    )
    frames, rewards, dones, infos = env.step(np.array([WAIT, ON]))
    assert states(frames) == [(0, 2), (1, 0)]
    assert rewards.dtype == np.float32
    assert dones.tolist() == [False, True]
    assert infos[0] == {}
    assert infos[1]["TimeLimit.truncated"] is False
    assert infos[1]["is_success"] is True
    assert states([infos[1]["terminal_observation"]]) == [(3, 2)]
    assert (infos[1]["episode"]["r"], infos[1]["episode"]["l"]) == (9.0, 2)
    for _ in range(3):
        frames, rewards, dones, infos = env.step(np.array([WAIT, WAIT]))
    assert states(frames) == [(0, 0), (1, 3)]
    assert dones.tolist() == [True, False]
    assert infos[0]["TimeLimit.truncated"] is True
    assert states([infos[0]["terminal_observation"]]) == [(0, 5)]
    assert (infos[0]["episode"]["r"], infos[0]["episode"]["l"]) == (-5.0, 5)
    assert infos[1] == {}


@pytest.mark.parametrize(("options", "arrival"), [({}, 5.0), ({"reward_clip": 2.5}, 1.25)])
def test_rewards_are_clipped_and_scaled_for_the_learner_and_returns_are_not(options, arrival):
    env = StableBaselinesVecEnv(make_vec(World("Corridor-v0"), 2, seed=0), reward_scale=0.5, **options)
    env.reset()
    rewards, infos = zip(*(env.step(np.array([WAIT, ON]))[1::2] for _ in range(2)), strict=True)
    np.testing.assert_array_equal(rewards, [[-0.5, -0.5], [-0.5, arrival]])
    assert infos[1][1]["episode"]["r"] == 9.0


def test_no_life_is_lost_where_none_is_counted():
    env = StableBaselinesVecEnv(make_vec(World("Corridor-v0"), 2, seed=0), terminal_on_life_loss=True)
    env.reset()
    with pytest.raises(InvalidInputError, match="terminal_on_life_loss: expected an environment that counts lives"):
        env.step(np.array([WAIT, ON]))


def test_arriving_at_the_very_limit_is_an_end_and_no_truncation():
    env = corridor(1)
    env.reset()
    for action in (WAIT, WAIT, ON, ON, ON):
        _, _, dones, infos = env.step(np.array([action]))
    assert dones.tolist() == [True]
    assert infos[0]["TimeLimit.truncated"] is False


def test_infos_are_not_shared():
    env = corridor(3)
    env.reset()
    _, _, _, infos = env.step(np.zeros(3, int))
    _, _, _, later = env.step(np.zeros(3, int))
    assert len({id(info) for info in infos + later}) == 6


def test_observations_are_channels_first_and_need_no_wrapper():
    env = corridor()
    assert env.observation_space.shape == (3, 5, 4)
    assert env.observation_space.contains(env.reset()[0])
    minigrid = StableBaselinesVecEnv(make_vec(World("MiniGrid-Empty-5x5-v0", tile_size=6), 2, seed=0))
    frames = minigrid.reset()
    np.testing.assert_array_equal(frames, np.moveaxis(np.stack(minigrid.get_images()), -1, 1))
    assert frames.base is not None  # a view, not a copy


def test_seed_takes_effect_at_the_next_reset():
    env = corridor()
    env.reset()
    assert env.seed(1) == [1, 2]
    assert states(env.reset()) == [(1, 0), (0, 0)]
    assert states(env.reset()) == [(1, 0), (0, 0)]
    env.seed(0)
    assert states(env.reset()) == [(0, 0), (1, 0)]


def test_the_reset_after_a_seeded_one_goes_on():
    env = StableBaselinesVecEnv(make_vec(World("MiniGrid-DoorKey-5x5-v0"), 3, seed=0))
    env.seed(5)
    first, second = env.reset(), env.reset()
    assert not np.array_equal(first, second)
    env.seed(5)
    np.testing.assert_array_equal(env.reset(), first)
    np.testing.assert_array_equal(env.reset(), second)


def test_returns_begin_anew_with_each_episode():
    env = corridor(1)
    env.reset()
    for _ in range(3):
        for _ in range(5):
            _, _, dones, infos = env.step(np.array([WAIT]))
        assert dones.tolist() == [True]
        assert (infos[0]["episode"]["r"], infos[0]["episode"]["l"]) == (-5.0, 5)


def test_returns_begin_anew_after_a_reset():
    env = corridor(1)
    env.reset()
    env.step(np.array([WAIT]))
    env.reset()
    for _ in range(5):
        _, _, _, infos = env.step(np.array([WAIT]))
    assert (infos[0]["episode"]["r"], infos[0]["episode"]["l"]) == (-5.0, 5)


def test_success_comes_from_minigrids_reward():
    env = StableBaselinesVecEnv(make_vec(World("MiniGrid-Empty-5x5-v0", tile_size=1), 1, seed=0))
    env.reset()
    for action in (2, 2, 1, 2, 2):
        _, rewards, dones, infos = env.step(np.array([action]))
    assert dones[0]
    assert infos[0]["is_success"] is True
    assert infos[0]["episode"]["r"] == pytest.approx(float(rewards[0])) == pytest.approx(1 - 0.9 * 5 / 100)


def test_stable_baselines_trains_and_evaluates():
    env = StableBaselinesVecEnv(make_vec(World("MiniGrid-Empty-5x5-v0", tile_size=6), 4, seed=0))
    model = PPO("CnnPolicy", env, n_steps=16, batch_size=32, n_epochs=1, seed=0, device="cpu")
    model.learn(128)
    assert model.get_env() is env
    assert not isinstance(model.get_env(), VecTransposeImage)
    rewards, lengths = evaluate_policy(model, env, n_eval_episodes=2, return_episode_rewards=True, deterministic=False)
    assert len(rewards) == len(lengths) == 2


def test_what_stable_baselines_asks():
    env = corridor(3)
    assert env.render_mode == "rgb_array" or env.render_mode is None
    assert env.env_is_wrapped(Monitor) == [True] * 3
    assert env.env_is_wrapped(VecMonitor, indices=[0]) == [False]
    assert env.get_attr("num_envs", indices=[0, 2]) == [3, 3]
    assert not env.has_attr("colour")
    with pytest.raises(InvalidInputError, match="found 'speed'"):
        env.set_attr("speed", 3)
    with pytest.raises(InvalidInputError, match="found 'jump'"):
        env.env_method("jump")
    env.close()
    with pytest.raises(InvalidInputError, match="expected actions from step_async"):
        corridor().step_wait()


def test_other_modes_and_other_observations_are_refused():
    import gymnasium

    with pytest.raises(InvalidInputError, match=r"the autoreset mode SAME_STEP, found AutoresetMode\.DISABLED"):
        StableBaselinesVecEnv(make_vec(World("Corridor-v0"), 1, seed=0, autoreset="disabled"))
    makers = [lambda: gymnasium.make("Blackjack-v1", disable_env_checker=True)]
    with pytest.raises(InvalidInputError, match=r"expected images, a uint8 Box .* or vectors, a float32 Box"):
        StableBaselinesVecEnv(SyncVectorEnv(makers, autoreset_mode="SameStep"))
