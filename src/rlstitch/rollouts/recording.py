"""Recorded episodes of any environment, and their frames under two looks.

A recording is played again under each look (see `rlstitch.envs.replay_episodes`), which also detects an environment
that is not deterministic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Played:
    """An episode, and what was seen while it was recorded."""

    episode: Episode
    world: World
    """As who chose the actions saw it."""
    observations: Images
    """`(T + 1, ...)` of that world."""


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
    played = play_episodes(world, episodes, seed=seed, max_steps=max_steps, first=first, agents=agents)
    return Recording(world, tuple(one.episode for one in played))


def play_episodes(
    world: World, episodes: int, *, seed: int, max_steps: int, first: int, agents: Sequence[Agent]
) -> Iterator[Played]:
    """Yield the episodes of `collect_recording`, which has the same parameters, with their observations."""
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
        for number, episode_seed in enumerate(seeds, start=first):
            rng = np.random.default_rng((DOMAIN, seed, number))
            yield _play(number, players, agents, episode_seed, rng, max_steps)


def _play(
    number: int,
    players: Sequence[Player],
    agents: Sequence[Agent],
    seed: int,
    rng: np.random.Generator,
    max_steps: int,
) -> Played:
    """Play one episode: held actions, random actions and the agents take turns. The first player is the world's own."""
    turn, space = number % (2 + len(agents)), players[0].environment.single_action_space
    player = players[max(0, turn - 1)]
    held = HeldActions(rng, space, 1, longest=2 * HOLD - 1 if turn == 0 else 1)
    driver = Driver(agents[turn - 2], player.world, space) if turn >= 2 else None

    def choose(observations: Images, step: int) -> Action | None:
        if step >= max_steps:
            return None
        return first_action(held.next() if driver is None else driver.sample(observations, rng))

    episode, observations = player.play(seed, choose)
    return Played(episode, player.world, observations)


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
    x, y = (
        np.concatenate([*replay_episodes(recording, _replayed_as(world, recording.world))])
        for world in (world_x, world_y)
    )
    return x, y


def paired_episodes(played: Sequence[Played], world_x: World, world_y: World) -> Iterator[tuple[Images, Images]]:
    """Yield what `paired_images` returns of episodes of `world_x`, one at a time, without drawing again what was seen.

    Each episode is played again once at least, which shows whether the environment is deterministic.
    """
    sides = [_replayed_as(world, world_x) for world in (world_x, world_y)]
    kept = [sides.index(one.world) if one.world in sides else -1 for one in played]
    replays = [
        replay_episodes(
            Recording(world_x, tuple(one.episode for one, at in zip(played, kept, strict=True) if at != number)), side
        )
        for number, side in enumerate(sides)
    ]
    for one, at in zip(played, kept, strict=True):
        x, y = (one.observations if at == number else next(replay) for number, replay in enumerate(replays))
        yield x, y


def _replayed_as(world: World, recorded: World) -> World:
    """Return a world with the task and actions of a recording; another environment stays, to be refused."""
    return replace(played_as(world, recorded), environment=world.environment)
