from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from rlstitch.envs import World
from rlstitch.errors import InvalidInputError, RlstitchError
from rlstitch.rollouts import EvaluationPool, RandomAgent, evaluate


@pytest.fixture(scope="module")
def pool():
    with EvaluationPool(2, num_envs=4) as made:
        yield made


def same(a, b):
    np.testing.assert_array_equal(a.seeds, b.seeds)
    np.testing.assert_array_equal(a.returns, b.returns)
    np.testing.assert_array_equal(a.lengths, b.lengths)
    np.testing.assert_array_equal(a.successes, b.successes)


@pytest.mark.parametrize("deterministic", [False, True])
def test_two_processes_give_what_one_gives(pool, agent, deterministic):
    shared = pool.evaluate(agent, episodes=11, seed=4, deterministic=deterministic)
    same(shared, evaluate(agent, episodes=11, seed=4, deterministic=deterministic))


def test_other_worlds_agents_and_fewer_episodes_than_processes(pool, agent, world):
    red = replace(world, variation="red")
    same(pool.evaluate(agent, red, episodes=1), evaluate(agent, red, episodes=1))
    random = RandomAgent(gymnasium.spaces.Discrete(7))
    same(pool.evaluate(random, world, episodes=5), evaluate(random, world, episodes=5))


def test_an_error_in_a_process_arrives_and_the_pool_goes_on(pool, agent, agent_maker, world):
    broken = agent_maker(world, seed=2)
    broken.controller.action_head.bias.data[0] = torch.nan
    with pytest.raises(InvalidInputError, match="not finite"):
        pool.evaluate(broken, episodes=4)
    with pytest.raises(InvalidInputError, match="unknown environment"):
        pool.evaluate(agent, World("MiniGrid-Emty-5x5-v0"), episodes=4)
    same(pool.evaluate(agent, episodes=3), evaluate(agent, episodes=3))


def test_bad_requests_are_named(pool, table, world):
    with pytest.raises(InvalidInputError, match="episodes"):
        pool.evaluate(table, world, episodes=0)
    with pytest.raises(InvalidInputError, match="expected an Agent or a RandomAgent in a pool, found Table"):
        pool.evaluate(table, world)
    with pytest.raises(InvalidInputError, match="workers"):
        EvaluationPool(0)


def test_a_dead_process_is_an_error_and_closes_the_pool(agent):
    with EvaluationPool(1) as pool:
        pool._processes[0].kill()
        with pytest.raises(RlstitchError, match="ended before its answer"):
            pool.evaluate(agent, episodes=2)
        with pytest.raises(InvalidInputError, match="closed"):
            pool.evaluate(agent, episodes=2)


def test_evaluate_with_workers(agent):
    same(evaluate(agent, episodes=5, workers=2), evaluate(agent, episodes=5))
