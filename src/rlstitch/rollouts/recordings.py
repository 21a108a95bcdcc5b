"""Recorded episodes of any environment: anchor sets and pairs where there are no symbolic views to draw them from.

A recording is played again under each look (see `rlstitch.envs.replay_episodes`), which also finds out an environment
that is not deterministic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.rollouts.collection import DOMAIN, HOLD, HeldActions, collection_seeds
from rlstitch.rollouts.drivers import Driver
from rlstitch.rollouts.episodes import check_seed
from rlstitch.rollouts.evaluation import check_counts

if TYPE_CHECKING:
    from rlstitch.agents.agent import Agent
    from rlstitch.agents.anchor_set import AnchorSet
    from rlstitch.envs import World
    from rlstitch.envs.replay import Action, Episode, Player, Recording

Images = npt.NDArray[np.uint8]

ROUND = 8
"""Episodes that are recorded at a time."""
LONGEST = 400
"""Steps after which an episode of a collection of pairs is left."""
_COARSE = 32


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

    An agent sees its own look and samples its actions. Episode i depends on (seed, i) and on who plays, not on how many
    episodes there are.

    Args:
        world: where to play.
        episodes: how many.
        seed: of environments and actions.
        max_steps: of an episode.
        first: number of the first episode; the same seed and another first give other episodes.
        agents: who else plays.

    Raises:
        InvalidInputError: for numbers out of range.
        IncompatibleError: where an agent has no action in common with the world, or another view of a MiniGrid.
    """
    from rlstitch.envs.replay import Player, Recording

    check_seed(seed)
    check_counts(episodes=episodes, max_steps=max_steps, first=first + 1)
    seeds = collection_seeds(seed, first + episodes)[first:]
    with ExitStack() as stack:

        def player(place: World) -> Player:
            made = Player(place)
            stack.enter_context(closing(made.environment))
            return made

        plain, others = player(world), []
        for agent in agents:
            own = played_as(agent.card.world.to_world(), world)
            others.append((player(own), agent))
            if others[-1][0].view != plain.view:
                raise IncompatibleError(
                    f"agent {agent.card.name!r} takes the {own.view} view, the world gives {world.view}"
                )
        played = []
        for number, episode_seed in enumerate(seeds, start=first):
            rng = np.random.default_rng((DOMAIN, seed, number))
            played.append(_play_turn(number, plain, others, episode_seed, rng, max_steps))
    return Recording(world, tuple(played))


def _play_turn(
    number: int,
    plain: Player,
    others: Sequence[tuple[Player, Agent]],
    seed: int,
    rng: np.random.Generator,
    max_steps: int,
) -> Episode:
    """Play one episode by whose turn it is: 0 held actions, 1 random actions, then the agents."""
    from rlstitch.envs.replay import first_action

    turn, space = number % (2 + len(others)), plain.environment.single_action_space
    if turn < 2:
        held = HeldActions(rng, space, 1, longest=2 * HOLD - 1 if turn == 0 else 1)
        return plain.play(seed, lambda _, step: None if step >= max_steps else first_action(held.next()))[0]
    player, agent = others[turn - 2]
    driver = Driver(agent, player.world, space)

    def choose(observations: Images, step: int) -> Action | None:
        if step >= max_steps:
            return None
        return first_action(driver.sample(observations, rng))

    return player.play(seed, choose)[0]


def collect_frames(world: World, count: int, *, seed: int = 0, agents: Sequence[Agent] = ()) -> Recording:
    """Record episodes until they have `count` frames, distinct or not; who plays: see `collect_recording`."""
    from rlstitch.envs.replay import Recording

    check_counts(count=count)
    episodes: list[Episode] = []
    while sum(len(episode.actions) + 1 for episode in episodes) < count:
        first = len(episodes)
        episodes += collect_recording(world, episodes=2 * ROUND, seed=seed, first=first, agents=agents).episodes
    return Recording(world, tuple(episodes))


def played_as(world: World, other: World) -> World:
    """A world's look and observations, with what is played in another: environment, backend, task and actions."""
    names = ("environment", "backend", "task", "actions", "action_repeat")
    return replace(world, **{name: getattr(other, name) for name in names})


def paired_images(recording: Recording, world_x: World, world_y: World) -> tuple[Images, Images]:
    """Play a recording again under two looks: uint8 `(n, H, W, C)` each, row by row of the same state.

    Task and actions are the recording's in both, since they decide what an action means.

    Raises:
        InvalidInputError: for another environment than the recording's, or one that is not deterministic.
    """
    x, y = zip(*_paired_episodes(recording, world_x, world_y), strict=True)
    return np.concatenate(x), np.concatenate(y)


def _paired_episodes(recording: Recording, world_x: World, world_y: World) -> Iterator[tuple[Images, Images]]:
    from rlstitch.envs.replay import replay_episodes

    x, y = (
        replay_episodes(recording, replace(played_as(world, recording.world), environment=world.environment))
        for world in (world_x, world_y)
    )
    yield from zip(x, y, strict=True)


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
    from rlstitch.rollouts.shared_frames import collect_shared_images, share_frames

    check_counts(count=count, max_steps=1 if max_steps is None else max_steps)
    if share_frames(world_x, world_y):
        return collect_shared_images(world_x, world_y, count=count, seed=seed, max_steps=max_steps, agents=agents)
    left, first, before = 20 * count if max_steps is None else max_steps, 0, -1
    share, rng = -(-count // ROUND), np.random.default_rng((DOMAIN, seed))
    found: dict[bytes, tuple[Images, Images]] = {}
    # A round that shows nothing new has seen the world.
    while before < len(found) < count and left > 0:
        before = len(found)
        longest = min(LONGEST, max(1, left // ROUND))
        recording = collect_recording(world_x, episodes=ROUND, seed=seed, max_steps=longest, first=first, agents=agents)
        for x, y in _paired_episodes(recording, world_x, world_y):
            for row in np.sort(rng.permutation(len(x))[:share]).tolist():
                found.setdefault(_digest(x[row], y[row]), (x[row].copy(), y[row].copy()))
        left -= sum(len(episode.actions) for episode in recording.episodes)
        first += ROUND
    pairs = list(found.values())[:count]
    return np.stack([x for x, _ in pairs]), np.stack([y for _, y in pairs])


def _digest(*images: Images) -> bytes:
    return hashlib.sha256(b"".join(image.tobytes() for image in images)).digest()


def choose_replay_anchor_set(
    recording: Recording, k: int, *, method: str = "farthest", seed: int = 0, fewer: bool = False
) -> AnchorSet:
    """Choose k distinct frames of a recording as an anchor set of kind `replay`; methods as in `choose_anchor_set`.

    Frames are compared, shrunk to some 32 pixels a side, under the standard look, which the recording's variation does
    not change. `fewer`: where there are fewer than k distinct frames, take them all.

    Raises:
        InvalidInputError: where k is below 1, there are fewer distinct frames, or the replay is not deterministic.
        UnknownNameError: for an unknown method.
    """
    from rlstitch.agents.anchor_set import PLAYED, AnchorSet
    from rlstitch.envs.replay import replay_episodes
    from rlstitch.latent import choose_anchors

    check_counts(k=k)
    world, places = recording.world, dict[bytes, tuple[int, int]]()
    points = []
    for number, frames in enumerate(replay_episodes(recording, replace(world, variation="standard"))):
        for step, frame in enumerate(frames):
            digest = _digest(frame)
            if digest not in places:
                places[digest] = (number, step)
                points.append(_coarse(frame))
    if k > len(places) and not fewer:
        raise InvalidInputError(f"k: expected at most {len(places)}, the distinct frames of the recording, found {k}")
    chosen = np.asarray(choose_anchors(method, np.stack(points), min(k, len(places)), seed))
    seeds = np.array([episode.seed for episode in recording.episodes], dtype=np.int64)
    played = {name: getattr(world, name) for name in PLAYED}
    frames_chosen = np.array(list(places.values()), dtype=np.int64)[chosen]
    return AnchorSet.replay(
        world.environment, seeds, _action_table(recording), frames_chosen, view=world.view, played=played
    )


def _action_table(recording: Recording) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
    """Actions `(e, t)` or `(e, t, A)`; zeros after an episode's end."""
    rows = [np.asarray(episode.actions) for episode in recording.episodes]
    shape = (len(rows), max(len(row) for row in rows), *rows[0].shape[1:])
    table = np.zeros(shape, dtype=np.int64 if rows[0].ndim == 1 else np.float32)
    for place, row in zip(table, rows, strict=True):
        place[: len(row)] = row
    return table


def _coarse(frame: Images) -> npt.NDArray[np.float32]:
    """Means of square blocks of a frame `(H, W, C)`, flat, in [0, 1]."""
    block = max(1, max(frame.shape[:2]) // _COARSE)
    padding = [(0, -size % block) for size in frame.shape[:2]]
    padded = np.pad(frame, [*padding, (0, 0)], mode="edge").astype(np.float32)
    height, width, channels = padded.shape
    blocks = padded.reshape(height // block, block, width // block, block, channels)
    means: npt.NDArray[np.float32] = blocks.mean(axis=(1, 3)).reshape(-1) / np.float32(255.0)
    return means
