"""Two ways around a fitted latent map, for comparison: the controller cloned, and a map of pixels."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlstitch.agents.agent import Agent
from rlstitch.agents.controller import build_controller
from rlstitch.envs import render_views


class PixelAffine(nn.Module):
    """A ridge-affine map from the images_of of one look to those of another, then the other agent's encoder.

    With fewer pairs than pixels the map has the rank of the pairs: it is kept as two thin matrices.
    """

    def __init__(self, encoder: nn.Module, x: Tensor, y: Tensor, ridge: float = 1e-3) -> None:
        super().__init__()
        self.encoder = encoder
        self.shape = y.shape[1:]
        flat_x, flat_y = x.flatten(1), y.flatten(1)
        self.mean_x, self.mean_y = flat_x.mean(0), flat_y.mean(0)
        self.basis = flat_x - self.mean_x
        gram = self.basis @ self.basis.T
        gram += ridge * gram.diagonal().mean() * torch.eye(len(gram))
        self.weights = torch.linalg.solve(gram, flat_y - self.mean_y)

    @property
    def latent_dim(self) -> int:
        return self.encoder.latent_dim  # type: ignore[return-value]

    @property
    def observation_shape(self) -> tuple[int, int, int]:
        return self.encoder.observation_shape  # type: ignore[return-value]

    def spec(self) -> dict[str, Any]:
        return self.encoder.spec()  # type: ignore[operator, no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        mapped = (images.flatten(1) - self.mean_x) @ self.basis.T @ self.weights + self.mean_y
        latents: Tensor = self.encoder(mapped.clamp(0, 1).view(-1, *self.shape))
        return latents


def pixel_agent(encoder: Agent, policy: Agent, views: Any) -> Agent:
    """Join by an affine map of pixels, fitted on the same views under both looks."""
    images_of = [
        torch.from_numpy(
            render_views(views, variation=agent.card.world.variation, tile_size=agent.card.world.tile_size)
        )
        .permute(0, 3, 1, 2)
        .float()
        / 255
        for agent in (encoder, policy)
    ]
    joined: Any = PixelAffine(copy.deepcopy(policy.encoder), *images_of)
    return Agent(joined, copy.deepcopy(policy.controller), policy.card)


def cloned_agent(encoder: Agent, policy: Agent, x: Tensor, y: Tensor) -> Agent:
    """Clone the controller's behaviour on to the encoder's latents, over the same pairs."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clone = build_controller({**policy.controller.spec(), "latent_dim": x.shape[1]})
    with torch.no_grad():
        target = torch.softmax(policy.controller.action_parameters(y), dim=1)
    optimizer = torch.optim.Adam(clone.parameters(), lr=1e-3, weight_decay=1e-5)
    for _ in range(1000):
        optimizer.zero_grad()
        functional.cross_entropy(clone.action_parameters(x), target).backward()
        optimizer.step()
    return Agent(copy.deepcopy(encoder.encoder), clone.requires_grad_(False).eval(), policy.card)
