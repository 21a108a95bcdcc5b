"""Images of the same states in two worlds: the episodes played again, or one rollout seen under both looks."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, cast

import gymnasium
import numpy as np
import numpy.typing as npt

from rlstitch.agents.agent import Agent
from rlstitch.envs import Observer, World, family_of, make_vec
from rlstitch.jobs.progress import OnProgress, silent
from rlstitch.rollouts.coverage import Coverage
from rlstitch.rollouts.drivers import DOMAIN, Driver, Drivers, HeldActions, collection_seeds, draw_actions
from rlstitch.rollouts.evaluation import check_counts
from rlstitch.rollouts.recording import ROUND, Images, paired_episodes, play_episodes, played_as

Pair = tuple[Images, Images]
"""Two images `(H, W, C)` of one state."""

LONGEST = 400
"""Steps after which an episode is left."""
SLOTS = 16
SPACING = 4
"""Of the steps of an environment one in so many is kept: neighbours show nearly the same."""


@dataclass(frozen=True)
class ImagePairs:
    """Observations `(n, ...)` of the same states in two worlds, no two pairs equal."""

    x: Images
    y: Images
    counts: npt.NDArray[np.int64]
    """`(n,)` how often each was met."""
    coverage: Coverage


def collect_paired_images(world_x: World, world_y: World, **options: Any) -> tuple[Images, Images]:
    """Return the images of `collect_image_pairs`, which has the same parameters: uint8 `(n, H, W, C)` each."""
    collected = collect_image_pairs(world_x, world_y, **options)
    return collected.x, collected.y


def collect_image_pairs(
    world_x: World,
    world_y: World,
    *,
    count: int,
    seed: int = 0,
    max_steps: int | None = None,
    agents: Sequence[Agent] = (),
    on_progress: OnProgress = silent,
    known: Pair | None = None,
) -> ImagePairs:
    """Collect images of the same states in two worlds, for any deterministic environment; equal pairs are kept once.

    The pairs come from many episodes. Where a backend draws the same image for every look, one rollout is seen under
    both looks; else the episodes are played again, and at most an eighth of the pairs is from one.

    Args:
        world_x: of the source; its task and actions are played in both.
        world_y: of the target.
        count: how many distinct pairs.
        seed: of environments and actions.
        max_steps: environment steps at most; None: 20 a pair.
        agents: that play beside random actions, each in its own look.
        on_progress: called with the distinct pairs so far and `count`.
        known: `(k, H, W, C)` each, distinct pairs that are left out of the result and of `count`.

    Returns:
        Fewer pairs than `count` where the steps show fewer distinct ones.

    Raises:
        InvalidInputError: for numbers below 1, two environments, or one that is not deterministic.
        IncompatibleError: where an agent has no action in common with the world, or another view.
    """
    check_counts(count=count, max_steps=1 if max_steps is None else max_steps)
    steps = 20 * count if max_steps is None else max_steps
    shared = family_of(world_x).shares_frames(world_x, world_y)
    batches = (_shared_pairs if shared else _replayed_pairs)(world_x, world_y, count, steps, seed, agents)
    left_out = set() if known is None else {_digest(*pair) for pair in zip(*known, strict=True)}
    pairs: dict[bytes, Pair] = {}
    met: Counter[bytes] = Counter()
    episodes = 0
    for batch, begun in batches:
        before, episodes = len(pairs), episodes + begun
        for pair in batch:
            digest = _digest(*pair)
            met[digest] += 1
            if digest not in left_out:
                pairs.setdefault(digest, pair)
        on_progress(min(len(pairs), count), count)
        # After a round of episodes that shows nothing new, another would hardly pay.
        if len(pairs) >= count or (len(pairs) == before and not shared):
            break
    coverage = Coverage(len(pairs), met.total(), sum(met[digest] == 1 for digest in pairs), episodes)
    chosen = list(pairs.values())[:count]
    x, y = (np.array([pair[side] for pair in chosen]) for side in (0, 1))
    return ImagePairs(x, y, np.array([met[digest] for digest in [*pairs][:count]]), coverage)


def _digest(x: Images, y: Images) -> bytes:
    return hashlib.sha256(x.tobytes() + y.tobytes()).digest()


def _replayed_pairs(
    world_x: World, world_y: World, count: int, steps: int, seed: int, agents: Sequence[Agent]
) -> Iterator[tuple[list[Pair], int]]:
    """Yield pairs of a round of recorded episodes, seen in both worlds, and how many episodes."""
    share, rng, first = -(-count // ROUND), np.random.default_rng((DOMAIN, seed)), 0
    while steps > 0:
        longest = min(LONGEST, max(1, steps // ROUND))
        played = list(
            play_episodes(world_x, ROUND, seed=seed, max_steps=longest, first=first, agents=agents),
        )
        yield (
            [
                (x[row].copy(), y[row].copy())
                for x, y in paired_episodes(played, world_x, world_y)
                for row in np.sort(rng.permutation(len(x))[:share]).tolist()
            ],
            ROUND,
        )
        steps -= sum(len(one.episode.actions) for one in played)
        first += ROUND


def _shared_pairs(
    world_x: World, world_y: World, count: int, steps: int, seed: int, agents: Sequence[Agent]
) -> Iterator[tuple[list[Pair], int]]:
    """Yield pairs of each step of one rollout whose images are seen under several looks at once, and episodes begun.

    Of `SLOTS` environments held random actions play one, random actions another, and the agents the others in turn;
    an agent sees its own look and samples its actions. Without agents the two kinds of random actions share all.
    """
    slots, rng = max(SLOTS, 2 + len(agents)), np.random.default_rng((DOMAIN, seed))
    worlds = [world_x, *(played_as(world, world_x) for world in (world_y, *(agent.card.world for agent in agents)))]
    with closing(make_vec(replace(world_x, look="standard"), slots, seed=seed)) as env:
        env.reset(seed=collection_seeds(seed, slots))
        shape = cast("tuple[int, int, int]", env.underlying.shape[1:])
        observers = [Observer(world, family_of(world).pixel_look(world), shape, slots) for world in worlds]
        drivers = shared_drivers(agents, world_x, env.single_action_space, slots, rng)
        started = np.arange(slots)
        for _ in range(-(-steps // slots)):
            for observer in observers if len(started) else ():
                observer.start(started, env.underlying[started])
            x, y = (observer.observations for observer in observers[:2])
            kept = np.flatnonzero(rng.random(slots) < 1 / SPACING).tolist()
            yield [(x[row].copy(), y[row].copy()) for row in kept], len(started)
            _, _, terminated, truncated, _ = env.step(
                drivers.actions(lambda i, rows: (observers[2 + i].observations[rows], None))
            )
            for observer in observers:
                observer.step(env.underlying)
            started = np.flatnonzero(terminated | truncated)


def shared_drivers(
    agents: Sequence[Agent], world: World, space: gymnasium.Space[Any], slots: int, rng: np.random.Generator
) -> Drivers:
    """Return what plays: held and random actions in one environment each where there are agents, else in all."""
    random = (HeldActions(rng, space, slots).next, lambda: draw_actions(rng, space, slots))
    places = np.arange(slots)
    # Random actions soon leave the track for good, where agents are never seen.
    roles = np.where(places < 2, places, 2 + places % len(agents)) if agents else places % 2
    return Drivers(random, [Driver(agent, world, space) for agent in agents], roles, rng)
