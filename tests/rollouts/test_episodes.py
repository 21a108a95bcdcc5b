from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.rollouts.actors import Policy, RandomAgent
from rlstitch.rollouts.episodes import NoiseStreams, episode_seed, play


def naive(env, actor, episodes, seed, deterministic):
    """One episode after the other, one step at a time, one number of noise at a time."""
    returns, lengths, successes = [], [], []
    for i in episodes:
        noise = np.random.Generator(np.random.Philox(key=np.array([seed, i], dtype=np.uint64)))
        observation, _ = env.reset(seed=episode_seed(seed, i))
        total, steps, over = 0.0, 0, False
        while not over:
            drawn = None if deterministic else np.array([[noise.gumbel() for _ in range(env.action_space.n)]])
            action = actor.act(observation[None], noise=drawn)[0]
            observation, reward, terminated, truncated, info = env.step(action)
            total, steps, over = total + reward, steps + 1, terminated or truncated
        returns.append(total)
        lengths.append(steps)
        successes.append(info["success"])
    return np.array(returns), np.array(lengths), np.array(successes)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("slots", [1, 3, 8, 25])
def test_played_is_what_one_episode_after_the_other_gives(walks, walk_class, table, slots, deterministic):
    episodes = [*range(20), 77]
    played = play(table, walks(slots), episodes, seed=5, deterministic=deterministic)
    returns, lengths, successes = naive(walk_class(), table, episodes, 5, deterministic)
    np.testing.assert_array_equal(played.returns, returns)
    np.testing.assert_array_equal(played.lengths, lengths)
    np.testing.assert_array_equal(played.successes, successes)


def test_every_episode_is_started_once_and_none_is_dropped(walks, table):
    env = walks(4)
    played = play(table, env, range(13), seed=0)
    begun = [seed for single in env.envs for seed in single.unwrapped.begun]
    for i in range(13):
        assert begun.count(episode_seed(0, i)) == 1
    assert len(set(played.lengths)) > 5  # long and short ones alike
    assert (played.lengths >= 1).all()


def test_only_running_episodes_go_through_the_network(walks, table):
    played = play(table, walks(6), range(9), seed=1)
    assert sum(table.batches) == played.lengths.sum()
    assert min(table.batches) == 1


def test_watch_sees_every_step_of_every_episode_in_order(walks, table):
    steps = []
    played = play(table, walks(4), range(9), seed=2, watch=lambda *step: steps.append(step))
    episodes = np.concatenate([step.episodes for step, _ in steps])
    np.testing.assert_array_equal(np.bincount(episodes, minlength=9), played.lengths)
    assert all(len(step.slots) == len(step.observations) == len(actions) for step, actions in steps)


def test_seeds_of_episodes_differ_and_are_free_of_the_number_of_episodes():
    seeds = {episode_seed(seed, i) for seed in range(5) for i in range(400)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert (episode_seed(0, 0), episode_seed(1, 7)) == (193545216, 129990519)
    with pytest.raises(InvalidInputError, match=r"seed: expected 0 to .*, found -1"):
        episode_seed(-1, 0)


def test_noise_does_not_depend_on_slot_or_company():
    many, one = NoiseStreams(3, 5, 4, "gumbel"), NoiseStreams(3, 1, 4, "gumbel")
    for slot in range(5):
        many.start(slot, 10 + slot)
    one.start(0, 12)
    for step in range(100):
        slots = np.arange(5) if step % 2 else np.array([2, 4])
        np.testing.assert_array_equal(many.take(slots)[list(slots).index(2)], one.take(np.array([0]))[0])


def test_sampling_with_gumbel_noise_follows_the_softmax():
    streams = NoiseStreams(0, 1, 3, "gumbel")
    streams.start(0, 0)
    logits = np.array([0.0, 1.0, 2.0])
    chosen = [int((logits + streams.take(np.array([0]))[0]).argmax()) for _ in range(20_000)]
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(np.bincount(chosen) / 20_000, expected, atol=0.015)


def test_random_agent_is_uniform_even_where_asked_to_be_greedy(walks):
    counts = np.zeros(3)

    def watch(step, actions):
        counts[:] += np.bincount(actions, minlength=3)

    play(RandomAgent(gymnasium.spaces.Discrete(3)), walks(8), range(200), seed=0, deterministic=True, watch=watch)
    np.testing.assert_allclose(counts / counts.sum(), 1 / 3, atol=0.03)


def test_random_agent_fills_a_box():
    box = gymnasium.spaces.Box(np.array([-1.0, 2.0], np.float32), np.array([1.0, 6.0], np.float32))
    agent = RandomAgent(box)
    actions = agent.act(np.zeros((5000, 1)), noise=np.random.default_rng(0).normal(size=(5000, 2)))
    assert (actions >= box.low).all()
    assert (actions <= box.high).all()
    np.testing.assert_allclose(actions.mean(axis=0), [0.0, 4.0], atol=0.1)
    with pytest.raises(InvalidInputError, match="noise"):
        agent.act(np.zeros((1, 1)))
    with pytest.raises(InvalidInputError, match="bounded Box"):
        RandomAgent(gymnasium.spaces.Box(-np.inf, np.inf, (1,)))


def test_an_episode_without_end_is_an_error(walks, table):
    with pytest.raises(InvalidInputError, match="max_episode_steps: an episode has not ended after 10 steps"):
        play(table, walks(4), range(20), seed=0, max_episode_steps=10)


def test_observations_that_are_not_finite_are_an_error(table):
    policy = Policy(table, gymnasium.spaces.Discrete(3))
    with pytest.raises(InvalidInputError, match="observations: expected finite"):
        policy.act(np.full((1, 8, 8, 3), np.nan), noise=None)


def test_an_agent_of_other_actions_is_refused(walks):
    box = RandomAgent(gymnasium.spaces.Box(-1, 1, (2,)))
    with pytest.raises(IncompatibleError, match="normal noise"):
        play(box, walks(1), [0], seed=0)
