"""Recorded episodes of any environment, and their frames under two looks.

A recording is played again under each look (see `rlstitch.envs.replay_episodes`), which also detects an environment
that is not deterministic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from rlstitch.agents.agent import Agent
from rlstitch.envs import Observations, World
from rlstitch.envs.replay import Action, Episode, Player, Recording, first_action, replay_episodes
from rlstitch.errors import IncompatibleError
from rlstitch.rollouts.drivers import DOMAIN, HOLD, Driver, HeldActions, collection_seeds
from rlstitch.rollouts.episodes import check_seed
from rlstitch.rollouts.evaluation import check_counts

Images = Observations

ROUND = 8
"""Episodes that are recorded at a time."""


def collect_recording(
    world: World,
    *,
    episodes: int = 4,
    seed: int = 0,
    max_steps: int = 200,
    first: int = 0,
    agents: Sequence[Agent] = (),
) -> Recording:
    """Record episodes of any environment, in turn of held random actions, of random actions, and of each agent.

    An agent sees its own look and samples its actions. Episode i depends on (seed, i) and on the agents, not on the
    number of episodes.

    Args:
        world: where to play.
        episodes: how many.
        seed: of environments and actions.
        max_steps: of an episode.
        first: number of the first episode; the same seed and another first give other episodes.
        agents: that play too.

    Raises:
        InvalidInputError: for numbers out of range.
        IncompatibleError: where an agent has no action in common with the world, or another view of a MiniGrid.
    """
    check_seed(seed)
    check_counts(episodes=episodes, max_steps=max_steps, first=first + 1)
    seeds = collection_seeds(seed, first + episodes)[first:]
    players: list[Player] = []
    with ExitStack() as stack:
        for place in (world, *(played_as(agent.card.world, world) for agent in agents)):
            players.append(Player(place))
            stack.callback(players[-1].environment.close)
            if players[-1].view != players[0].view:
                name = agents[len(players) - 2].card.name
                raise IncompatibleError(f"agent {name!r} takes the {place.view} view, the world gives {world.view}")
        played = [
            _play(number, players, agents, episode_seed, np.random.default_rng((DOMAIN, seed, number)), max_steps)
            for number, episode_seed in enumerate(seeds, start=first)
        ]
    return Recording(world, tuple(played))


def _play(
    number: int,
    players: Sequence[Player],
    agents: Sequence[Agent],
    seed: int,
    rng: np.random.Generator,
    max_steps: int,
) -> Episode:
    """Play one episode: held actions, random actions and the agents take turns. The first player is the world's own."""
    turn, space = number % (2 + len(agents)), players[0].environment.single_action_space
    player = players[max(0, turn - 1)]
    held = HeldActions(rng, space, 1, longest=2 * HOLD - 1 if turn == 0 else 1)
    driver = Driver(agents[turn - 2], player.world, space) if turn >= 2 else None

    def choose(observations: Images, step: int) -> Action | None:
        if step >= max_steps:
            return None
        return first_action(held.next() if driver is None else driver.sample(observations, rng))

    return player.play(seed, choose)[0]


def collect_frames(world: World, count: int, *, seed: int = 0, agents: Sequence[Agent] = ()) -> Recording:
    """Record episodes, as `collect_recording`, until they have `count` frames, distinct or not."""
    check_counts(count=count)
    episodes: list[Episode] = []
    while sum(len(episode.actions) + 1 for episode in episodes) < count:
        first = len(episodes)
        episodes += collect_recording(world, episodes=2 * ROUND, seed=seed, first=first, agents=agents).episodes
    return Recording(world, tuple(episodes))


def played_as(world: World, other: World) -> World:
    """Return a world with its own look and observations, and the environment, backend, task and actions of another."""
    names = ("environment", "backend", "task", "actions", "action_repeat", "modules")
    return replace(world, **{name: getattr(other, name) for name in names}, **world.kwargs_in(other))


def paired_images(recording: Recording, world_x: World, world_y: World) -> tuple[Images, Images]:
    """Play a recording again under two looks: uint8 `(n, H, W, C)` each, row by row of the same state.

    Task and actions are the recording's in both, since they decide what an action means.

    Raises:
        InvalidInputError: for another environment than the recording's, or one that is not deterministic.
    """
    x, y = zip(*paired_episodes(recording, world_x, world_y), strict=True)
    return np.concatenate(x), np.concatenate(y)


def paired_episodes(recording: Recording, world_x: World, world_y: World) -> Iterator[tuple[Images, Images]]:
    """Yield what `paired_images` returns, an episode at a time."""
    x, y = (
        replay_episodes(recording, replace(played_as(world, recording.world), environment=world.environment))
        for world in (world_x, world_y)
    )
    yield from zip(x, y, strict=True)
