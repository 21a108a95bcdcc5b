"""One rollout seen under several looks at once: where each look is a function of the pictures that are drawn anyway."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from rlstitch.rollouts.drivers import DOMAIN, Driver, HeldActions, collection_seeds, draw_actions
from rlstitch.rollouts.evaluation import check_counts
from rlstitch.rollouts.recording import ROUND, Images, collect_recording, paired_episodes, played_as

if TYPE_CHECKING:
    from rlstitch.agents.agent import Agent
    from rlstitch.envs import World
    from rlstitch.envs.frames import Observer
    from rlstitch.envs.images import ImageVectorEnv

LONGEST = 400
"""Steps after which an episode is left."""
SLOTS = 16
SPACING = 4
"""Of the steps of an environment one in so many is kept: neighbours show nearly the same."""


def collect_paired_images(
    world_x: World,
    world_y: World,
    *,
    count: int,
    seed: int = 0,
    max_steps: int | None = None,
    agents: Sequence[Agent] = (),
) -> tuple[Images, Images]:
    """Collect images of the same states in two worlds, for any deterministic environment; equal pairs are kept once.

    The pairs come from many episodes. Where a backend draws one picture for every look, one rollout is seen under both
    (see `collect_shared_images`); else the episodes are played again, and at most an eighth of the pairs is from one.

    Args:
        world_x: of the source; its task and actions are played in both.
        world_y: of the target.
        count: how many distinct pairs.
        seed: of environments and actions.
        max_steps: environment steps at most; None: 20 a pair.
        agents: who plays beside random actions (see `collect_recording`).

    Returns:
        Two arrays uint8 `(n, H, W, C)`; n is below `count` where the steps show fewer distinct pairs.

    Raises:
        InvalidInputError: for numbers below 1, two environments, or one that is not deterministic.
        IncompatibleError: as `collect_recording`.
    """
    from rlstitch.envs import family_of

    check_counts(count=count, max_steps=1 if max_steps is None else max_steps)
    if family_of(world_x).shares_frames(world_x, world_y):
        return collect_shared_images(world_x, world_y, count=count, seed=seed, max_steps=max_steps, agents=agents)
    left, first, before = 20 * count if max_steps is None else max_steps, 0, -1
    share, rng = -(-count // ROUND), np.random.default_rng((DOMAIN, seed))
    found: dict[bytes, tuple[Images, Images]] = {}
    # A round that shows nothing new has seen the world.
    while before < len(found) < count and left > 0:
        before = len(found)
        longest = min(LONGEST, max(1, left // ROUND))
        recording = collect_recording(world_x, episodes=ROUND, seed=seed, max_steps=longest, first=first, agents=agents)
        for x, y in paired_episodes(recording, world_x, world_y):
            for row in np.sort(rng.permutation(len(x))[:share]).tolist():
                found.setdefault(_digest(x[row], y[row]), (x[row].copy(), y[row].copy()))
        left -= sum(len(episode.actions) for episode in recording.episodes)
        first += ROUND
    pairs = list(found.values())[:count]
    return np.stack([x for x, _ in pairs]), np.stack([y for _, y in pairs])


def _digest(*images: Images) -> bytes:
    return hashlib.sha256(b"".join(image.tobytes() for image in images)).digest()


def collect_shared_images(
    world_x: World,
    world_y: World,
    *,
    count: int,
    seed: int = 0,
    max_steps: int | None = None,
    agents: Sequence[Agent] = (),
) -> tuple[Images, Images]:
    """Collect images of the same states under two looks from one rollout; equal pairs are kept once.

    Of `SLOTS` environments held random actions play one, random actions another, and the agents the others in turn;
    an agent sees its own look and samples its actions. Without agents the two kinds of random actions share all.

    Args:
        world_x: of the source; its task and actions are played.
        world_y: of the target.
        count: how many distinct pairs.
        seed: of environments and actions.
        max_steps: environment steps at most; None: 20 a pair.
        agents: who plays beside random actions.

    Returns:
        Two arrays uint8 `(n, H, W, C)`; n is below `count` where the steps show fewer distinct pairs.

    Raises:
        InvalidInputError: for numbers below 1.
        IncompatibleError: where an agent has no action in common with the world.
    """
    from rlstitch.envs import make_vec

    check_counts(count=count, max_steps=1 if max_steps is None else max_steps)
    slots = max(SLOTS, 2 + len(agents))
    found: dict[bytes, tuple[Images, Images]] = {}
    rng = np.random.default_rng((DOMAIN, seed))
    with closing(make_vec(replace(world_x, look="standard"), slots, seed=seed)) as made:
        env = cast("ImageVectorEnv", made)
        own = [played_as(agent.card.world, world_x) for agent in agents]
        eyes = _Eyes(env, [world_x, played_as(world_y, world_x), *own])
        drivers = _Drivers(env, agents, rng)
        eyes.reset(collection_seeds(seed, slots))
        for _ in range(-(-(20 * count if max_steps is None else max_steps) // slots)):
            x, y, *seen = eyes.seen
            for row in np.flatnonzero(rng.random(slots) < 1 / SPACING).tolist():
                found.setdefault(_digest(x[row], y[row]), (x[row].copy(), y[row].copy()))
            if len(found) >= count:
                break
            eyes.step(drivers.actions(seen))
    pairs = list(found.values())[:count]
    return np.stack([x for x, _ in pairs]), np.stack([y for _, y in pairs])


class _Eyes:
    """Several observers of one batch of environments."""

    def __init__(self, env: ImageVectorEnv, worlds: Sequence[World]) -> None:
        from rlstitch.envs import family_of
        from rlstitch.envs.frames import Observer

        shape = cast("tuple[int, int, int]", env.env.single_observation_space.shape)
        self._env = env
        looks = [family_of(world).pixel_look(world) for world in worlds]
        self._observers: list[Observer] = [
            Observer(world, look, shape, env.num_envs) for world, look in zip(worlds, looks, strict=True)
        ]

    @property
    def seen(self) -> list[Images]:
        """What each of them sees now, `(N, H, W, C)`."""
        return [observer.observations for observer in self._observers]

    def reset(self, seeds: list[int]) -> None:
        """Start episodes everywhere."""
        self._env.reset(seed=cast("Any", seeds))
        self._start(np.arange(self._env.num_envs))

    def step(self, actions: npt.NDArray[Any]) -> None:
        """Take one step everywhere; episodes that end are followed by new ones."""
        _, _, terminated, truncated, _ = self._env.step(actions)
        for observer in self._observers:
            observer.step(self._env.underlying)
        self._start(np.flatnonzero(terminated | truncated))

    def _start(self, rows: npt.NDArray[np.intp]) -> None:
        if len(rows):
            for observer in self._observers:
                observer.start(rows, self._env.underlying[rows])


class _Drivers:
    """Who acts in which environment: 0 held actions, 1 random ones, then the agents, in turn."""

    def __init__(self, env: ImageVectorEnv, agents: Sequence[Agent], rng: np.random.Generator) -> None:
        self._space, self._slots, self._rng = env.single_action_space, env.num_envs, rng
        self._held = HeldActions(rng, self._space, env.num_envs)
        self._drivers = [Driver(agent, env.world, self._space) for agent in agents]
        places = np.arange(env.num_envs)
        # Whoever acts at random is soon off the track for good, where no driver is ever seen.
        self._role = np.where(places < 2, places, 2 + places % len(agents)) if agents else places % 2

    def actions(self, seen: Sequence[Images]) -> npt.NDArray[Any]:
        """The next actions; `seen` is what each agent sees of all environments."""
        actions = self._held.next().copy()
        random = draw_actions(self._rng, self._space, self._slots)
        actions[self._role == 1] = random[self._role == 1]
        for number, driver in enumerate(self._drivers):
            mine = np.flatnonzero(self._role == 2 + number)
            actions[mine] = driver.sample(seen[number][mine], self._rng)
        return actions
