"""Latents of the same observations under two agents, which a translation is fitted on and evaluated on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rlstitch.agents.agent import Agent
from rlstitch.envs import World, cell_world, family_of, translate_actions
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.jobs.progress import OnProgress, silent
from rlstitch.rollouts.evaluation import check_counts
from rlstitch.rollouts.image_pairs import collect_paired_images
from rlstitch.rollouts.recording import Images, collect_recording, paired_images
from rlstitch.rollouts.views import collect_views, own_images

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LatentPairs:
    """Paired latents, split so that no distinct view is on both sides.

    `x*` are latents of the encoder's agent `(n, d_x)`, `y*` those of the controller's agent `(n, d_y)`: row by row the
    same view, seen by each agent under its own look.
    """

    x: Tensor
    """Fitted on."""
    y: Tensor
    x_held: Tensor
    """For evaluation; not fitted on."""
    y_held: Tensor
    distinct_views: int
    """Distinct views in all."""
    exhausted: bool = False
    """Whether the world shows no more views than were asked for: then a map is judged on held-out pairs, and after that
    fitted again on all of them."""

    def __post_init__(self) -> None:
        for name, x, y in (("fitting", self.x, self.y), ("held-out", self.x_held, self.y_held)):
            if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
                shapes = f"{tuple(x.shape)} and {tuple(y.shape)}"
                raise InvalidInputError(f"{name} pairs: expected two matrices of equally many rows, found {shapes}")
        if len(self.x_held) == 0:
            raise InvalidInputError("held-out pairs: there are none; collect more distinct views or fit on fewer pairs")

    def halves(self) -> tuple[LatentPairs, LatentPairs]:
        """Return the same pairs with the first, and with the second half of the held-out ones.

        Raises:
            InvalidInputError: where fewer than 2 are held out.
        """
        held = len(self.x_held)
        half = held // 2
        if half < 1:
            raise InvalidInputError(f"held-out pairs: expected 2 or more to choose and to report, found {held}")
        first = replace(self, x_held=self.x_held[:half], y_held=self.y_held[:half])
        return first, replace(self, x_held=self.x_held[half:], y_held=self.y_held[half:])

    def all_fitted(self) -> LatentPairs:
        """Return the same pairs with the held-out ones among those to fit on."""
        return replace(self, x=torch.cat([self.x, self.x_held]), y=torch.cat([self.y, self.y_held]))


def gather_pairs(
    encoder: Agent,
    policy: Agent,
    *,
    pairs: int = 1024,
    held: int = 128,
    seed: int = 0,
    on_progress: OnProgress = silent,
) -> LatentPairs:
    """Collect views of the cell's world, encode them by both agents, and split them by distinct view.

    The views come from a mixture of random, held-random and policy-driven actions; the encoder's agent drives too where
    it knows the environment and has actions that the controller's task has. Symbolic views of a MiniGrid are
    rendered under both looks, any other environment plays its recorded episodes again under both: the pairs are exact.
    Where the world shows fewer distinct views than `pairs + held`, fewer are held out, but a fifth of those that there
    are at least; where it shows no more than `pairs`, maps are judged so and then fitted again on all of them.

    Args:
        encoder, policy: the agents whose encoder and controller are to be joined.
        pairs: views to fit on, at most.
        held: views to judge on, at most.
        seed: of the rollouts and the split.
        on_progress: called with how much of the collection is done, and with all of it.

    Raises:
        IncompatibleError: where the two have no common world.
        InvalidInputError: for numbers below 1, where there are no two views to share out, or where the environment is
            no MiniGrid and not deterministic.
    """
    check_counts(pairs=pairs, held=held)
    images = gather_images(encoder, policy, count=pairs + held, seed=seed, on_progress=on_progress)
    distinct = len(images[0])
    rows = _split_rows(distinct, pairs, held, seed)
    (x, x_held), (y, y_held) = (
        [agent.encode(seen[chosen]) for chosen in rows] for agent, seen in zip((encoder, policy), images, strict=True)
    )
    return LatentPairs(x, y, x_held, y_held, distinct_views=distinct, exhausted=distinct <= pairs)


def gather_images(
    encoder: Agent, policy: Agent, *, count: int, seed: int = 0, on_progress: OnProgress = silent
) -> tuple[Images, Images]:
    """Collect at most `count` distinct views of the cell's world, as each agent sees them; see `gather_pairs`.

    Returns:
        uint8 `(n, H, W, C)` each, row by row the same state; the sizes of the images may differ.

    Raises:
        IncompatibleError, InvalidInputError: as `gather_pairs`.
    """
    check_counts(count=count)
    world = cell_world(encoder.card.world, policy.card.world)
    drivers = cell_drivers(encoder, policy, world)
    if not family_of(world).symbolic:
        return collect_paired_images(
            world, policy.card.world, count=count, seed=seed, agents=drivers, on_progress=on_progress
        )
    plain = World(world.environment, task=world.task, view=world.view, tile_size=world.tile_size)
    views = collect_views(plain, count=count, seed=seed, agents=drivers, on_progress=on_progress).views
    return own_images(encoder, views), own_images(policy, views)


def gather_episodes(
    encoder: Agent, policy: Agent, *, episodes: int = 40, seed: int = 0, max_steps: int = 100
) -> tuple[Images, Images, Rows]:
    """Collect whole episodes of the cell's world, as each agent sees them: for pairs whose order matters.

    Played as `rlstitch.rollouts.recording.collect_recording` says, with equal views kept.

    Returns:
        uint8 `(n, H, W, C)` each, row by row the same state, and the number of each row's episode `(n,)`.

    Raises:
        IncompatibleError, InvalidInputError: as `gather_pairs`, of a MiniGrid too where it is not deterministic.
    """
    world = cell_world(encoder.card.world, policy.card.world)
    drivers = cell_drivers(encoder, policy, world)
    recording = collect_recording(world, episodes=episodes, seed=seed, max_steps=max_steps, agents=drivers)
    x, y = paired_images(recording, world, policy.card.world)
    lengths = [len(episode.actions) + 1 for episode in recording.episodes]
    return x, y, np.repeat(np.arange(episodes), lengths)


def cell_drivers(encoder: Agent, policy: Agent, world: World) -> list[Agent]:
    """Return the agents that play when a cell's views are collected: the encoder's only where it has such actions."""
    return [policy, encoder] if _can_drive(encoder, world) else [policy]


def _can_drive(agent: Agent, world: World) -> bool:
    own = agent.card.world
    if own.environment != world.environment:
        return False
    try:
        translate_actions(own, world)
    except IncompatibleError:
        return False
    return True


def _split_rows(distinct: int, pairs: int, held: int, seed: int) -> tuple[Rows, Rows]:
    """Draw the rows to fit on and, disjoint from them, those to judge on; of too few, at least a fifth is held out."""
    if distinct < 2:
        raise InvalidInputError(f"collection: expected at least 2 distinct views to split, found {distinct}")
    if distinct < pairs + held:
        pairs = min(pairs, distinct - max(1, distinct // 5))
        held = min(held, distinct - pairs)
    order = np.random.default_rng(seed).permutation(distinct)
    return order[:pairs], order[pairs : pairs + held]
