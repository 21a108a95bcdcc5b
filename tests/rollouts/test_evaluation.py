from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy

from rlstitch.envs import StableBaselinesVecEnv, World, make_vec
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.rollouts.actors import Policy, RandomAgent
from rlstitch.rollouts.evaluation import evaluate


def same(a, b):
    np.testing.assert_array_equal(a.seeds, b.seeds)
    np.testing.assert_array_equal(a.returns, b.returns)
    np.testing.assert_array_equal(a.lengths, b.lengths)
    np.testing.assert_array_equal(a.successes, b.successes)


@pytest.mark.parametrize("deterministic", [False, True])
def test_result_depends_on_neither_the_number_of_environments_nor_of_episodes(agent, deterministic):
    many = evaluate(agent, episodes=12, seed=3, deterministic=deterministic, num_envs=64)
    same(many, evaluate(agent, episodes=12, seed=3, deterministic=deterministic, num_envs=5))
    first = evaluate(agent, episodes=4, seed=3, deterministic=deterministic, num_envs=1)
    np.testing.assert_array_equal(first.returns, many.returns[:4])
    np.testing.assert_array_equal(first.lengths, many.lengths[:4])


def test_every_row_is_consistent_with_the_reward_of_minigrid(agent):
    evaluation = evaluate(agent, episodes=30, seed=0)
    assert evaluation.episodes == 30
    limit = 4 * 5 * 5
    won = 1 - 0.9 * evaluation.lengths / limit
    np.testing.assert_allclose(evaluation.returns, np.where(evaluation.successes, won, 0.0))
    assert (evaluation.lengths[~evaluation.successes] == limit).all()
    assert evaluation.successes.any()
    assert evaluation.summary().success.estimate == evaluation.successes.mean()
    rows = evaluation.to_rows()
    assert [row["episode"] for row in rows] == list(range(30))
    assert rows[3] == {
        "episode": 3,
        "seed": int(evaluation.seeds[3]),
        "return": float(evaluation.returns[3]),
        "length": int(evaluation.lengths[3]),
        "success": bool(evaluation.successes[3]),
    }


def test_agrees_with_stable_baselines_in_distribution(agent, world):
    ours = evaluate(agent, episodes=150, seed=0)
    env = StableBaselinesVecEnv(make_vec(world, 8, seed=1))
    torch.manual_seed(0)
    theirs, _ = evaluate_policy(agent, env, n_eval_episodes=150, deterministic=False, return_episode_rewards=True)
    env.close()
    spread = np.sqrt(ours.returns.var() / 150 + np.var(theirs) / 150)
    assert abs(ours.returns.mean() - np.mean(theirs)) < 4 * spread


def test_remembering_states_changes_nothing_but_the_work(agent, world, monkeypatch):
    env = make_vec(world, 8, seed=0)
    env.reset(seed=0)
    rows, forward = [], type(agent).action_parameters
    monkeypatch.setattr(
        type(agent), "action_parameters", lambda a, images: rows.append(len(images)) or forward(a, images)
    )
    policy = Policy(agent, env.single_action_space)
    rng = np.random.default_rng(0)
    for _ in range(60):
        observations, *_ = env.step(rng.integers(3, size=8))
        noise = rng.gumbel(size=(8, 7))
        expected = policy.act(observations, noise=noise)
        np.testing.assert_array_equal(policy.act(observations, noise=noise, views=env.symbolic()), expected)
    env.close()
    assert 480 < sum(rows) < 600


def test_a_full_memory_starts_again(agent, world, monkeypatch):
    monkeypatch.setattr("rlstitch.rollouts.actors._MAX_VIEWS", 10)
    small = evaluate(agent, episodes=6, num_envs=3)
    monkeypatch.undo()
    same(small, evaluate(agent, episodes=6, num_envs=3))


def test_another_world_than_its_own(agent, world):
    elsewhere = evaluate(agent, replace(world, look="red"), episodes=10)
    assert elsewhere.world.variation == "red"
    np.testing.assert_array_equal(elsewhere.seeds, evaluate(agent, episodes=10).seeds)


def test_random_agent_and_a_task(world):
    random = RandomAgent(gymnasium.spaces.Discrete(7))
    standard = evaluate(random, world, episodes=20)
    scrambled = evaluate(random, replace(world, task="scrambled"), episodes=20)
    assert not np.array_equal(standard.returns, scrambled.returns)


def test_the_agent_goes_back_to_its_device(agent):
    evaluate(agent, episodes=2, device="cpu")
    assert agent.device == torch.device("cpu")


def test_nan_weights_are_an_error(agent_maker, world):
    broken = agent_maker(world, seed=1)
    broken.controller.action_head.bias.data[0] = torch.nan
    with pytest.raises(InvalidInputError, match=r"test-standard-s1.*not finite"):
        evaluate(broken, episodes=2)


def test_bad_requests_are_named(agent, world):
    with pytest.raises(InvalidInputError, match="episodes: expected at least 1, found 0"):
        evaluate(agent, episodes=0)
    with pytest.raises(InvalidInputError, match="num_envs"):
        evaluate(agent, num_envs=0)
    with pytest.raises(InvalidInputError, match=r"world: expected one \(a random agent carries none"):
        evaluate(RandomAgent(gymnasium.spaces.Discrete(7)))
    with pytest.raises(InvalidInputError, match="images of shape"):
        evaluate(agent, replace(world, tile_size=4), episodes=1)
    with pytest.raises(IncompatibleError, match="normal noise"):
        evaluate(RandomAgent(gymnasium.spaces.Box(-1, 1, (1,))), world, episodes=1)


def test_a_generic_image_environment(walk_class):
    gymnasium.register("Walk-rollouts-v0", walk_class)
    try:
        space = gymnasium.spaces.Discrete(3)
        evaluation = evaluate(
            RandomAgent(space), World("Walk-rollouts-v0", variation="inverted"), episodes=9, num_envs=4
        )
    finally:
        gymnasium.registry.pop("Walk-rollouts-v0")
    assert (evaluation.lengths <= 30).all()
    assert evaluation.successes is not None
