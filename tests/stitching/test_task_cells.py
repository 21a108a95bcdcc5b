"""Cells across tasks whose actions differ: the encoder's look with the controller's task.

A controller whose action head is permuted as a task permutes actions is that task's perfect native: no training needed.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from stitch_samples import untrained

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import load_agent
from rlstitch.agents.controller import build_controller
from rlstitch.envs import World, action_map, make_vec
from rlstitch.envs.families.minigrid.minigrid import GRID_TASKS
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.rollouts.drivers import Driver, PerturbedAgent
from rlstitch.rollouts.evaluation import evaluate
from rlstitch.rollouts.views import collect_views, own_images
from rlstitch.stitching.pairs import gather_pairs
from rlstitch.stitching.stitch import stitch_agents

SCRAMBLED, FEWER = "scrambled", "without:drop+scrambled:seed=2"


def fitted(agent: Agent, task: str) -> Agent:
    """The same agent with the action head that a task asks for: action i is what was the task's action of it."""
    world = agent.card.world
    mapping = torch.from_numpy(action_map(task, 7, GRID_TASKS).copy())
    spec = {**agent.controller.spec(), "actions": {"kind": "discrete", "n": len(mapping)}}
    controller = build_controller(spec)
    weights = agent.controller.state_dict()
    for name in ("action_head.weight", "action_head.bias"):
        weights[name] = weights[name][mapping]
    controller.load_state_dict(weights)
    card = agent.card.model_copy(
        update={
            "name": f"{agent.card.name}-fitted",
            "world": replace(world, task=task),
            "controller": spec,
        }
    )
    return Agent(copy.deepcopy(agent.encoder), controller, card)


@pytest.fixture(scope="module")
def red():
    return load_agent("simplecrossing-red-s1")


@pytest.fixture(scope="module")
def green():
    return load_agent("simplecrossing-green-s2")


@pytest.mark.parametrize("task", [SCRAMBLED, FEWER])
def test_a_permuted_head_is_native_to_the_task(red, task):
    native = evaluate(red, episodes=24, deterministic=True)
    moved = evaluate(fitted(red, task), episodes=24, deterministic=True)
    np.testing.assert_array_equal(moved.returns, native.returns)
    np.testing.assert_array_equal(moved.lengths, native.lengths)


@pytest.mark.parametrize("task", [SCRAMBLED, FEWER])
def test_an_encoder_drives_the_controller_of_another_task(red, green, task):
    policy = fitted(green, task)
    pairs = gather_pairs(red, policy, pairs=1024, held=64)
    stitched = stitch_agents(red, policy, pairs, method="affine").agent
    assert stitched.card.world == World(red.card.world.environment, "red", task)
    success = evaluate(stitched, episodes=40).summary().success.estimate
    assert success >= 0.85
    naive = evaluate(stitch_agents(red, policy, pairs, method="naive").agent, episodes=40)
    assert naive.summary().success.estimate < success - 0.25
    # The controller that was not fitted to the task means other things by its actions.
    if task == SCRAMBLED:
        assert evaluate(red, stitched.card.world, episodes=40).summary().success.estimate < 0.5
    else:
        with pytest.raises(IncompatibleError, match="gives 7 actions, the environment takes 6"):
            evaluate(red, stitched.card.world, episodes=1)


def test_a_driver_plays_what_it_means(red):
    """In its own world and in a scrambled one: the same noise, the same moves."""
    own, scrambled = red.card.world, World(red.card.world.environment, "red", SCRAMBLED)
    images = own_images(red, collect_views(own, count=30).views)
    space = make_vec(scrambled, 1, seed=0).single_action_space
    plain, moved = (Driver(red, world, space) for world in (own, scrambled))
    expected = plain.sample(images, np.random.default_rng(0))
    result = moved.sample(images, np.random.default_rng(0))
    np.testing.assert_array_equal(action_map(SCRAMBLED, 7)[result], expected)
    assert len(set(expected.tolist())) > 1


def test_a_perturbed_driver_holds_random_actions_on_its_share_of_the_steps(red):
    images = own_images(red, collect_views(red.card.world, count=400).views)
    space = make_vec(red.card.world, 1, seed=0).single_action_space
    parts = red.encoder, red.controller, red.card
    plain = Driver(red, red.card.world, space).sample(images, np.random.default_rng(0))
    none = Driver(PerturbedAgent(*parts, 0.0), red.card.world, space).sample(images, np.random.default_rng(0))
    np.testing.assert_array_equal(none, plain)
    some = Driver(PerturbedAgent(*parts, 0.5), red.card.world, space).sample(images, np.random.default_rng(0))
    assert 0.3 < (some != plain).mean() < 0.55  # half are random, and one of seven of these is the same
    always = Driver(PerturbedAgent(*parts, 1 - 1e-9), red.card.world, space)
    rng = np.random.default_rng(0)
    steps = np.stack([always.sample(images, rng) for _ in range(20)])
    assert 0.05 < (steps[1:] != steps[:-1]).mean() < 0.2  # an action is held for eight steps on average
    with pytest.raises(InvalidInputError, match=r"perturb: expected a share of steps in \[0, 1\), found 1"):
        PerturbedAgent(*parts, 1)


def test_a_driver_leaves_out_what_the_task_has_not(red):
    images = own_images(red, collect_views(red.card.world, count=60).views)
    world = World(red.card.world.environment, task="without:forward+scrambled:seed=5")
    driver = Driver(red, world, make_vec(world, 1, seed=0).single_action_space)
    rng, mapping = np.random.default_rng(0), action_map(world.task, 7, GRID_TASKS)
    chosen = np.concatenate([driver.sample(images, rng) for _ in range(20)])
    logits = red.action_parameters(images).double().numpy()
    logits[:, 2] = -np.inf
    expected = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).mean(axis=0)
    shares = np.bincount(mapping[chosen], minlength=7) / len(chosen)
    np.testing.assert_allclose(shares, expected, atol=0.05)
    assert shares[2] == 0


@pytest.mark.parametrize(("one", "two"), [("standard", "without:6"), ("without:6", "standard+length:40"),
                                          ("scrambled+time-cost:0.01", "slippery:0.2")])  # fmt: skip
def test_agents_of_any_two_tasks_are_joined(one, two):
    encoder = untrained("one", task=one, environment="MiniGrid-LavaCrossingS9N1-v0")
    policy = untrained("two", task=two, environment="MiniGrid-LavaCrossingS9N1-v0", seed=2, variation="green")
    made = stitch_agents(encoder, policy, gather_pairs(encoder, policy, pairs=40, held=10)).agent
    assert made.controller.actions == policy.controller.actions
    assert (made.card.world.variation, made.card.world.task) == ("red", two)
    assert evaluate(made, episodes=3).episodes == 3


def test_tasks_with_no_action_in_common_make_a_cell_that_the_encoder_does_not_drive():
    """`gather_pairs` leaves the encoder's agent out; asked for by name, it is refused."""
    turning, going = "+".join(f"without:{i}" for i in range(2, 7)), "without:left+without:right"
    encoder = untrained("turning", task=turning)
    policy = untrained("going", task=going, seed=2, variation="green")
    assert gather_pairs(encoder, policy, pairs=8, held=2).distinct_views >= 3
    with pytest.raises(IncompatibleError, match="have no action in common"):
        collect_views(policy.card.world, count=4, agents=[encoder])
