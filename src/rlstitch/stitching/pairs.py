"""Latents of the same observations under two agents, which a translation is fitted on and evaluated on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rlstitch.agents.agent import Agent
from rlstitch.envs import World, cell_world, family_of, translate_actions
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.jobs.progress import OnProgress, silent
from rlstitch.rollouts.coverage import COVERED, Coverage
from rlstitch.rollouts.evaluation import check_counts
from rlstitch.rollouts.image_pairs import collect_image_pairs
from rlstitch.rollouts.recording import Images, collect_recording, paired_images
from rlstitch.rollouts.views import ViewCollection, Views, collect_views, own_images

Rows = npt.NDArray[np.int64]
FEW_PAIRS, MANY_PAIRS = 1024, 4096
"""Pairs to fit on where their number is chosen by coverage: the first, unless more than the share `COVERED` of
observations shows views that were not met."""
FURTHER_STEPS = 5_000
"""Steps, at most, in which further views to hold out are looked for."""
FEWEST_HELD = 16
"""Held-out pairs, or a tenth of all where that is less, below which pairs to fit on are held out, too."""
_LATER = 0x6C617465


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
    coverage: Coverage | None = None
    """Of the collection that the pairs to fit on come from; None where they were not collected here."""
    met_later: int = 0
    """Held-out pairs whose views were met only in further steps, after that collection."""
    frames: int = 1
    """Images of a stack that both encoders encode each alone; `stitch_agents` fills it in."""

    def __post_init__(self) -> None:
        for name, x, y in (("fitting", self.x, self.y), ("held-out", self.x_held, self.y_held)):
            if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
                shapes = f"{tuple(x.shape)} and {tuple(y.shape)}"
                raise InvalidInputError(f"{name} pairs: expected two matrices of equally many rows, found {shapes}")
        if len(self.x_held) == 0:
            raise InvalidInputError("held-out pairs: there are none; collect more distinct views or fit on fewer pairs")


def gather_pairs(encoder: Agent, policy: Agent, **options: Any) -> LatentPairs:
    """Return the pairs of `gather_latents`, which has the same options, of one encoder."""
    return gather_latents([encoder], policy, **options)[0]


def gather_latents(
    encoders: Sequence[Agent],
    policy: Agent,
    *,
    pairs: int | None = FEW_PAIRS,
    held: int = 128,
    seed: int = 0,
    drivers: Sequence[Agent] | None = None,
    on_progress: OnProgress = silent,
    collector: Callable[..., ViewCollection] = collect_views,
) -> list[LatentPairs]:
    """Collect views of the cell's world, encode them by the agents, and split them by distinct view.

    The views come from a mixture of random, held-random and policy-driven actions; the encoder's agent drives too where
    it knows the environment and has actions that the controller's task has. Symbolic views of a MiniGrid are
    rendered under both looks, any other environment plays its recorded episodes again under both: the pairs are exact.
    No map is ever fitted on the held-out pairs. Where no more than `pairs` distinct views are met, all of them are to
    fit on (of more than `5 * held`, four fifths and `held`), and new views of further steps are held out. Where these
    are fewer than `FEWEST_HELD`, or than a tenth of all, the views that were met least often are held out, too.

    Args:
        encoders: the agents whose encoders are to be joined with the controller; all observe as the first does, and the
            first drives.
        policy: the agent that gives the controller.
        pairs: views to fit on, at most; None: `FEW_PAIRS` or `MANY_PAIRS`, by coverage.
        held: views to judge on, at most.
        seed: of the rollouts and the split.
        drivers: agents that play beside random actions; None: those of `cell_drivers`.
        on_progress: called with how much of the collection is done, and with all of it.
        collector: of symbolic views: `collect_views`, or a function that caches what it returns.

    Returns:
        Pairs for each encoder, of the same views with the same split.

    Raises:
        IncompatibleError: where the agents have no common world.
        InvalidInputError: for numbers below 1, where there are no two views to share out, or where the environment is
            no MiniGrid and not deterministic.
    """
    by_coverage, pairs = pairs is None, FEW_PAIRS if pairs is None else pairs
    check_counts(pairs=pairs, held=held)
    options: dict[str, Any] = {"on_progress": on_progress, "drivers": drivers, "collector": collector}
    collect = functools.partial(_collect, encoders[0], policy, **options)
    met = collect(count=pairs + held, seed=seed)
    if by_coverage and met.coverage.unseen > COVERED:
        pairs = MANY_PAIRS
        met = collect(count=pairs + held, seed=seed)
    distinct, parts = len(met.x), [met]
    if distinct <= pairs and (missing := held - _spare(distinct, held)) > 0:
        later = int(np.random.SeedSequence((_LATER, seed)).generate_state(1)[0])
        further = collect(count=missing, seed=later, after=met)
        parts += [further] if len(further.x) else []
    x_seen, y_seen = (np.concatenate(images) for images in zip(*((part.x, part.y) for part in parts), strict=True))
    rows = _split_rows(met.counts, len(x_seen), pairs, held, seed)
    y, y_held = (policy.encode(y_seen[chosen]) for chosen in rows)
    new = len(x_seen) - distinct
    return [
        LatentPairs(x, y, x_held, y_held, distinct_views=len(x_seen), coverage=met.coverage, met_later=new)
        for x, x_held in ([agent.encode(x_seen[chosen]) for chosen in rows] for agent in encoders)
    ]


def gather_images(
    encoder: Agent,
    policy: Agent,
    *,
    count: int,
    seed: int = 0,
    drivers: Sequence[Agent] | None = None,
    on_progress: OnProgress = silent,
) -> tuple[Images, Images]:
    """Collect at most `count` distinct views of the cell's world, as each agent sees them; see `gather_latents`.

    Args:
        encoder, policy: the agents that see them.
        count: how many, at most.
        seed: of the rollouts.
        drivers: agents that play beside random actions; None: those of `cell_drivers`.
        on_progress: called with how much of the collection is done, and with all of it.

    Returns:
        uint8 `(n, H, W, C)` each, row by row the same state; the sizes of the images may differ.

    Raises:
        IncompatibleError, InvalidInputError: as `gather_latents`.
    """
    check_counts(count=count)
    met = _collect(encoder, policy, count=count, seed=seed, on_progress=on_progress, drivers=drivers)
    return met.x, met.y


@dataclass(frozen=True)
class _Met:
    """Distinct views as both agents see them."""

    x: Images
    y: Images
    counts: Rows
    """`(n,)` how often each was met."""
    coverage: Coverage
    views: Views | None
    """Symbolic ones, where the world has them."""


def _collect(
    encoder: Agent,
    policy: Agent,
    *,
    count: int,
    seed: int,
    on_progress: OnProgress,
    after: _Met | None = None,
    drivers: Sequence[Agent] | None = None,
    collector: Callable[..., ViewCollection] = collect_views,
) -> _Met:
    """Collect at most `count` distinct views; `after` a collection, further ones that it did not meet, in less time."""
    world = cell_world(encoder.card.world, policy.card.world)
    agents = cell_drivers(encoder, policy, world) if drivers is None else drivers
    options: dict[str, Any] = {"count": count, "seed": seed, "agents": agents, "on_progress": on_progress}
    if after is not None:
        options["max_steps"] = FURTHER_STEPS
        options["known"] = (after.x, after.y) if after.views is None else after.views
    if not all(family_of(one).has_views(one) for one in (world, policy.card.world)):
        pairs = collect_image_pairs(world, policy.card.world, **options)
        return _Met(pairs.x, pairs.y, pairs.counts, pairs.coverage, None)
    plain = World(world.environment, task=world.task, view=world.view, tile_size=1)  # its images are not used
    met = collector(plain, **options)
    return _Met(own_images(encoder, met.views), own_images(policy, met.views), met.counts, met.coverage, met.views)


def gather_episodes(
    encoder: Agent, policy: Agent, *, episodes: int = 40, seed: int = 0, max_steps: int = 100
) -> tuple[Images, Images, Rows]:
    """Collect whole episodes of the cell's world, as each agent sees them: for pairs whose order matters.

    Played as `rlstitch.rollouts.recording.collect_recording` says, with equal views kept.

    Returns:
        uint8 `(n, H, W, C)` each, row by row the same state, and the number of each row's episode `(n,)`.

    Raises:
        IncompatibleError, InvalidInputError: as `gather_latents`, of a MiniGrid too where it is not deterministic.
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


def _spare(distinct: int, held: int) -> int:
    """Return how many of few distinct views need not be fitted on: a fifth but for `held` views."""
    return max(0, distinct // 5 - held)


def _split_rows(counts: Rows, total: int, pairs: int, held: int, seed: int) -> tuple[Rows, Rows]:
    """Draw the rows to fit on and, disjoint from them, those to judge on, with all rows from `len(counts)` to `total`.

    Of too few rows at least a fifth is held out where more than `pairs` were met.
    """
    distinct = len(counts)
    if distinct < 2:
        raise InvalidInputError(f"collection: expected at least 2 distinct views to split, found {distinct}")
    order = np.random.default_rng(seed).permutation(distinct)
    if distinct <= pairs:
        fitted, aside = np.split(order, [distinct - _spare(distinct, held)])
        judged = np.concatenate([np.arange(distinct, total), aside[:held]])
        missing = max(0, min(held, FEWEST_HELD, max(1, distinct // 10)) - len(judged))
        rarest = np.argsort(counts, kind="stable")[:missing]
        return fitted[~np.isin(fitted, rarest)], np.concatenate([judged, rarest])
    if distinct < pairs + held:
        pairs = min(pairs, distinct - max(1, distinct // 5))
        held = min(held, distinct - pairs)
    return order[:pairs], order[pairs : pairs + held]
