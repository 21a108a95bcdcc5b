"""Latents of the same observations under two agents: the material that a translation is fitted on and judged by."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rlstitch.agents.agent import Agent
from rlstitch.envs import World, cell_world
from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.collection import collect_views
from rlstitch.rollouts.pairs import latent_pairs, split_views


@dataclass(frozen=True)
class LatentPairs:
    """Paired latents, split so that no distinct view stands on both sides.

    `x*` are latents of the encoder's agent `(n, d_x)`, `y*` those of the controller's agent `(n, d_y)`: row by row the
    same view, seen by each agent under its own look.
    """

    x: Tensor
    """Fitted on."""
    y: Tensor
    x_held: Tensor
    """Judged on; never fitted on."""
    y_held: Tensor
    distinct_views: int
    """Distinct views that were found in all: few of them mean that the pairs are the whole world."""

    def __post_init__(self) -> None:
        for name, x, y in (("fitting", self.x, self.y), ("held-out", self.x_held, self.y_held)):
            if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
                found = f"{tuple(x.shape)} and {tuple(y.shape)}"
                raise InvalidInputError(f"{name} pairs: expected two matrices of equally many rows, found {found}")
        if len(self.x_held) == 0:
            raise InvalidInputError("held-out pairs: there are none; collect more distinct views or fit on fewer pairs")


def gather_pairs(encoder: Agent, policy: Agent, *, pairs: int = 512, held: int = 128, seed: int = 0) -> LatentPairs:
    """Collect views of the cell's world, encode them by both agents, and split them by distinct view.

    The views come from a mixture of random, held-random and policy-driven actions; they are drawn once and rendered
    under both looks, so the pairs are exact. Where the world shows fewer distinct views than `pairs + held`, those that
    there are get shared out in that proportion.

    Args:
        encoder, policy: the agents whose encoder and controller are to be joined.
        pairs: views to fit on, at most.
        held: views to judge on, at most.
        seed: of the rollouts and the split.

    Raises:
        IncompatibleError: where the two have no common world.
        InvalidInputError: where there are not even two views on both sides.
    """
    world = cell_world(encoder.card.world.to_world(), policy.card.world.to_world())
    plain = World(world.environment, task=world.task, view=world.view, tile_size=world.tile_size)
    drivers = [policy]
    if encoder.card.world.environment == policy.card.world.environment:
        drivers.append(encoder)
    views = collect_views(plain, count=pairs + held, seed=seed, agents=drivers)
    split = split_views(views, pairs, held, seed=seed)
    x, y = latent_pairs(encoder, policy, split.fit)
    x_held, y_held = latent_pairs(encoder, policy, split.held)
    return LatentPairs(x, y, x_held, y_held, distinct_views=len(views))
