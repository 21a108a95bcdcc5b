"""Agents of one encoder, evaluated together: the same episodes as one by one, each view encoded once, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stitch_samples import WIDTH, mixing, moved, rotation, untrained

from rlstitch.agents.controller import build_controller
from rlstitch.envs import World
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.latent import Translation
from rlstitch.rollouts.actors import ScoreTable
from rlstitch.rollouts.evaluation import Head, can_share, evaluate, evaluate_together
from rlstitch.stitching.pairs import gather_pairs
from rlstitch.stitching.stitch import stitch_agents

ENVIRONMENT = "MiniGrid-LavaCrossingS9N1-v0"
EPISODES = 12


@pytest.fixture(scope="module")
def red():
    return untrained("red", environment=ENVIRONMENT)


@pytest.fixture(scope="module")
def stitched(red):
    """The red encoder before three controllers, under three methods."""
    made = []
    for number, matrix in enumerate((rotation(WIDTH), mixing(WIDTH))):
        policy = moved(untrained("policy", seed=2 + number, environment=ENVIRONMENT), matrix)
        pairs = gather_pairs(red, policy, pairs=40)
        made += [stitch_agents(red, policy, pairs, method=method).agent for method in ("naive", "orthogonal", "affine")]
    return made


def heads_of(agents):
    return [Head(getattr(agent.encoder, "translation", None), agent.controller, agent.card.name) for agent in agents]


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("num_envs", [5, 64])
def test_the_episodes_are_those_of_each_agent_alone(red, stitched, deterministic, num_envs):
    world = red.card.world
    options = {"episodes": EPISODES, "seed": 3, "deterministic": deterministic}
    together = dict(evaluate_together(red, heads_of(stitched), world, num_envs=num_envs, **options))
    assert sorted(together) == list(range(len(stitched)))
    assert len({tuple(together[number].lengths) for number in together}) > 1
    for number, agent in enumerate(stitched):
        alone = evaluate(agent, world, **options)
        for name in ("seeds", "returns", "lengths", "successes"):
            assert np.array_equal(getattr(together[number], name), getattr(alone, name)), name
        assert (together[number].world, together[number].seed) == (world, 3)


def test_an_agent_is_yielded_before_the_others_are_over(red, stitched):
    results = evaluate_together(red, heads_of(stitched), red.card.world, episodes=4, num_envs=4)
    first, _ = next(results)
    assert first == 0
    results.close()


def test_each_view_is_encoded_once_for_all_heads(red, stitched, monkeypatch: pytest.MonkeyPatch):
    counted = []
    encode = type(red).encode

    def counting(agent, observations):
        counted.extend(image.tobytes() for image in observations)
        return encode(agent, observations)

    monkeypatch.setattr(type(red), "encode", counting)
    list(evaluate_together(red, heads_of(stitched), red.card.world, episodes=3))
    assert len(counted) == len(set(counted)) > 10


def test_scores_that_are_forgotten_are_worked_out_again(red, stitched, monkeypatch: pytest.MonkeyPatch):
    heads = heads_of(stitched)
    rng = np.random.default_rng(0)
    views = rng.integers(0, 3, (300, 7, 7, 5), dtype=np.uint8)
    images = rng.integers(0, 255, (300, 56, 56, 3), dtype=np.uint8)
    which = rng.integers(0, len(heads), 300)

    def scores(observations):
        return np.stack([head.scores(red.encode(observations)) for head in heads], axis=1)

    expected = ScoreTable(scores, len(heads), 7)(images, views, which)
    for limit in (1, 100):
        monkeypatch.setattr("rlstitch.rollouts.actors._MAX_VIEWS", limit)
        table = ScoreTable(scores, len(heads), 7)
        for _ in range(2):
            parts = [table(images[i : i + 60], views[i : i + 60], which[i : i + 60]) for i in range(0, 300, 60)]
            assert np.allclose(np.concatenate(parts), expected, atol=1e-4)
    alone = np.stack([stitched[k].action_parameters(images[i : i + 1])[0].numpy() for i, k in enumerate(which[:20])])
    assert np.allclose(expected[:20], alone, atol=1e-3)


def test_refusals(red, stitched):
    world, heads = red.card.world, heads_of(stitched)

    def play(*args, **options):
        return list(evaluate_together(red, *args, **options))

    with pytest.raises(InvalidInputError, match="heads: expected at least 1"):
        play([], world)
    with pytest.raises(InvalidInputError, match="episodes"):
        play(heads, world, episodes=0)
    with pytest.raises(InvalidInputError, match="has not ended after 2 steps"):
        play(heads, world, episodes=4, max_episode_steps=2)
    narrow = build_controller({"latent_dim": WIDTH, "actions": {"kind": "discrete", "n": 3}})
    with pytest.raises(IncompatibleError, match="agent 'narrow' gives 3 actions, the environment takes 7"):
        play([*heads, Head(None, narrow, "narrow")], world)
    broken = Translation(torch.full((WIDTH, WIDTH), torch.nan), torch.zeros(WIDTH))
    with pytest.raises(InvalidInputError, match="agent 'broken': its action parameters are not finite"):
        play([Head(broken, stitched[0].controller, "broken")], world)
    car = World("CarRacing-v3")
    assert not can_share(car)
    with pytest.raises(InvalidInputError, match="expected an environment with symbolic views, found CarRacing-v3"):
        play(heads, car)
