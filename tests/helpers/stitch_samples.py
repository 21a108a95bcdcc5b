"""Agents with random weights, and copies of them whose latent space was moved, for the tests of stitching."""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlstitch.agents.agent import Agent
from rlstitch.agents.controller import Controller, build_controller
from rlstitch.agents.encoder import CNNEncoder, build_encoder
from rlstitch.api import relativize as pipeline
from rlstitch.api.train import draft_card
from rlstitch.config.training import TrainConfig, load_config
from rlstitch.envs import World
from rlstitch.latent import Translation
from rlstitch.rollouts.views import collect_views, own_images
from rlstitch.stitching.methods import BUILT_IN, get_method
from rlstitch.stitching.pairs import LatentPairs

WIDTH = 12
TRANSLATIONS = tuple(
    name
    for name, method in BUILT_IN.items()
    if method.requires == "common world" and "auto" not in name and name != "low_rank"
)
"""The built-in methods that fit a map of any two agents, and leave no direction out."""


def untrained_cart(name: str = "cart", *, seed: int = 1) -> Agent:
    """An agent of CartPole's states with random weights."""
    parts = {"encoder": {"hidden": [8], "latent_dim": 6}, "controller": {"hidden": [8]}}
    card, _ = draft_card(TrainConfig.model_validate({"environment": "CartPole-v1", "name": name, **parts}))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Agent(build_encoder(card.encoder), build_controller(card.controller), card)


def untrained(name: str = "red", *, seed: int = 1, **overrides: Any) -> Agent:
    """An agent with random weights, but latents of mean 0 and variance 1, so that its actions depend on what it sees.

    It has no norm before its first layer, so that its latents can be moved.
    `overrides` are dotted keys of a config, with two underscores for the dot.
    """
    settings = {
        "name": name,
        "seed": seed,
        "variation": "red",
        "encoder.latent_dim": WIDTH,
        "controller.hidden": [16],
        "controller.norm": "none",
        **{key.replace("__", "."): value for key, value in overrides.items()},
    }
    card, anchor_set = draft_card(load_config("minigrid-doorkey", settings))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder, controller = build_encoder(card.encoder), build_controller(card.controller)
    agent = Agent(encoder, controller, card)
    with torch.no_grad():
        controller.action_head.weight.mul_(8.0)
        controller.action_head.bias.zero_()
        base = encoder if isinstance(encoder, CNNEncoder) else encoder.base
        assert isinstance(base, CNNEncoder)
        latents = base(agent.images(own_images(agent, _some_views(card.world))))
        deviation, mean = torch.std_mean(latents, dim=0)
        base.linear.weight.div_(deviation[:, None])
        base.linear.bias.sub_(mean).div_(deviation)
    if anchor_set is not None:
        images = anchor_set.render(card.world.variation, card.world.tile_size)
        encoder.set_anchors(encoder.base(agent.images(images)))  # type: ignore[union-attr,operator]
    return agent


def relativize_quickly(patch: pytest.MonkeyPatch, *, states: int = 300, steps: int = 80) -> None:
    """Relativize on fewer states, in fewer steps than usual."""
    visited = pipeline.visited_states
    patch.setattr(pipeline, "visited_states", lambda agent, seed: visited(agent, count=states, seed=seed))
    patch.setattr(pipeline, "Distillation", functools.partial(pipeline.Distillation, steps=steps, batch_size=64))


@functools.lru_cache(maxsize=16)
def _some_views(world: World) -> np.ndarray:
    return collect_views(world, count=24).views


def rotation(width: int, seed: int = 0) -> Tensor:
    """A random orthogonal matrix `(width, width)`."""
    return torch.from_numpy(np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0])


def mixing(width: int, seed: int = 0) -> Tensor:
    """A random invertible matrix `(width, width)` of condition number 10."""
    values = torch.logspace(0, 1, width, dtype=torch.float64)
    return rotation(width, seed) @ torch.diag(values) @ rotation(width, seed + 1)


def moved(agent: Agent, matrix: Tensor, shift: Tensor | None = None, *, name: str = "moved") -> Agent:
    """The same agent in another latent space: z -> z @ matrix + shift in its encoder, and back in its controller."""
    shift = torch.zeros(len(matrix), dtype=torch.float64) if shift is None else shift.double()
    encoder, controller = copy.deepcopy(agent.encoder), copy.deepcopy(agent.controller)
    assert isinstance(encoder, CNNEncoder)
    first = controller.trunk[0]
    assert isinstance(first, nn.Linear)
    with torch.no_grad():
        weight, bias = encoder.linear.weight.double(), encoder.linear.bias.double()
        encoder.linear.weight.copy_(matrix.T @ weight)
        encoder.linear.bias.copy_(bias @ matrix + shift)
        back = torch.linalg.inv(matrix)
        entry = first.weight.double() @ back.T
        first.bias.copy_(first.bias.double() - entry @ shift)
        first.weight.copy_(entry)
    return Agent(encoder, controller, agent.card.model_copy(update={"name": name}))


def fit_map(method: str, x: Tensor, y: Tensor, controller: Controller | None = None) -> Translation:
    """The translation that a stitching method fits on pairs x `(n, d_x)`, y `(n, d_y)`."""
    pairs = LatentPairs(x, y, x, y, distinct_views=len(x))
    translation = get_method(method).fit(pairs, controller)  # type: ignore[arg-type]
    assert translation is not None
    return translation


def unlike_weights(one: nn.Module, two: nn.Module) -> list[str]:
    """Names of the tensors in which two modules differ, by a bit or more."""
    first, second = one.state_dict(), two.state_dict()
    return sorted(
        name for name in first.keys() | second.keys()
        if name not in first or name not in second or not torch.equal(first[name], second[name])
    )  # fmt: skip
