"""Who drives where one rollout is seen under several looks."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlstitch.agents.agent import Agent
from rlstitch.agents.card import AgentCard
from rlstitch.agents.controller import build_controller
from rlstitch.agents.encoder import build_encoder
from rlstitch.envs import World, make_vec
from rlstitch.rollouts.image_pairs import SLOTS, collect_paired_images, shared_drivers

GREEN = World("CarRacing-v3", "green", backend="envpool", actions="discrete", action_repeat=8, crop=84, size=24)
SHAPE = (24, 24, 3)


@pytest.fixture(scope="module", autouse=True)
def fast():
    pytest.importorskip("envpool")


def bent_on(action: int, look: str) -> Agent:
    """An agent that always takes one action."""
    encoder = build_encoder({"kind": "cnn", "arch": "small", "image_shape": SHAPE, "latent_dim": 4})
    controller = build_controller({"latent_dim": 4, "actions": {"kind": "discrete", "n": 5}, "hidden": [4]})
    with torch.no_grad():
        controller.action_head.bias[action] = 1e3
    specs = {"encoder": encoder.spec(), "controller": controller.spec()}
    world = {**GREEN.to_dict(), "variation": look}
    card = AgentCard(name=f"bent-{action}", world=world, seed=0, observation_shape=SHAPE, **specs)
    return Agent(encoder, controller, card)


def test_agents_drive_in_most_places_and_random_actions_in_two():
    agents = [bent_on(3, "green"), bent_on(4, "red")]
    with closing(make_vec(GREEN, SLOTS, seed=0)) as env:
        images = np.zeros((SLOTS, *SHAPE), np.uint8)
        space, rng = env.single_action_space, np.random.default_rng(0)
        drivers = shared_drivers(agents, GREEN, space, SLOTS, rng)
        taken = np.stack([drivers.actions(lambda _, rows: (images[rows], None)) for _ in range(60)])
        alone = shared_drivers([], GREEN, space, SLOTS, rng)
        free = np.stack([alone.actions(lambda _, rows: (images[rows], None)) for _ in range(60)])
    steady = [set(column.tolist()) for column in taken.T]
    assert [steady.count({3}), steady.count({4})] == [7, 7]
    assert sum(len(kinds) > 2 for kinds in steady) == 2
    assert all(len(set(column.tolist())) > 1 for column in free.T)


def test_one_rollout_is_seen_under_both_looks():
    options = {"count": 24, "seed": 1, "agents": [bent_on(3, "green")]}
    x, y = collect_paired_images(GREEN, replace(GREEN, look="red"), **options)
    assert len({image.tobytes() for image in x}) > 12
    assert not np.array_equal(x, y)
    again, same = collect_paired_images(GREEN, GREEN, **options)
    np.testing.assert_array_equal(again, same)
    np.testing.assert_array_equal(again[:12], x[:12])
    assert len(collect_paired_images(GREEN, GREEN, count=500, max_steps=32)[0]) <= 32
