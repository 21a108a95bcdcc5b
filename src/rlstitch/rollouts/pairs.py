"""From collected views to anchor sets and to pairs: what a relative projection or a translation is made from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.collection import DOMAIN, HeldActions, ViewCollection, Views, collection_seeds, own_images
from rlstitch.rollouts.episodes import check_seed
from rlstitch.rollouts.evaluation import check_counts

if TYPE_CHECKING:
    from torch import Tensor

    from rlstitch.agents.agent import Agent
    from rlstitch.agents.anchor_set import AnchorSet
    from rlstitch.envs import World
    from rlstitch.envs.replay import Recording

Images = npt.NDArray[np.uint8]
_CHOOSING_TILE = 4


@dataclass(frozen=True)
class ViewSplit:
    """Views to fit on and views to check on; none is in both."""

    fit: Views
    held: Views
    note: str | None
    """What to tell the reader where there were too few distinct views for the numbers asked for; None otherwise."""


def choose_anchor_set(collection: ViewCollection, k: int, *, method: str = "farthest", seed: int = 0) -> AnchorSet:
    """Choose k of the distinct views as an anchor set by `random`, `farthest`, `kmedoids` (see `choose_anchors`).

    All but `random` compare pixels of the standard look (small tiles), so that the choice is the same whatever the
    collection's look.

    Raises:
        InvalidInputError: where k is below 1 or there are fewer distinct views.
        UnknownNameError: for an unknown method.
    """
    from rlstitch.agents.anchor_set import AnchorSet
    from rlstitch.latent import choose_anchors

    check_counts(k=k)
    if k > len(collection):
        raise InvalidInputError(f"k: expected at most {len(collection)}, as there are {collection}; found {k}")
    pixels = collection.render(tile_size=_CHOOSING_TILE).reshape(len(collection), -1)
    points = pixels.astype(np.float32) / np.float32(255.0)
    index = np.asarray(choose_anchors(method, points, k, seed))
    world = collection.world
    return AnchorSet.symbolic(world.environment, collection.views[index], view=world.view)


def split_views(collection: ViewCollection, n_fit: int, n_held: int, *, seed: int = 0) -> ViewSplit:
    """Draw views to fit on and, disjoint from them, views to check on.

    Where there are too few distinct views, they are shared out in the proportion asked for, and the note says so.

    Raises:
        InvalidInputError: for numbers below 1, or a collection of one view.
    """
    check_counts(n_fit=n_fit, n_held=n_held)
    distinct, note = len(collection), None
    if distinct < 2:
        raise InvalidInputError(f"collection: expected at least 2 distinct views to split, found {distinct}")
    if n_fit + n_held > distinct:
        fit = min(max(1, round(distinct * n_fit / (n_fit + n_held))), distinct - 1)
        note = f"{n_fit} + {n_held} views were asked for; there are only {collection}: {fit} + {distinct - fit} used"
        n_fit, n_held = fit, distinct - fit
    order = np.random.default_rng(seed).permutation(distinct)
    return ViewSplit(collection.views[order[:n_fit]], collection.views[order[n_fit : n_fit + n_held]], note)


def latent_pairs(encoder_agent: Agent, policy_agent: Agent, views: Views) -> tuple[Tensor, Tensor]:
    """Encode the same views `(n, h, w, 5)` by two agents, each in its own look.

    Returns:
        x `(n, d_x)` of the agent whose encoder is used, y `(n, d_y)` of the agent whose controller is used.

    Raises:
        InvalidInputError: where the views, drawn with an agent's tiles, are not the size of its images.
    """
    return encode_views_of(encoder_agent, views), encode_views_of(policy_agent, views)


def encode_views_of(agent: Agent, views: Views) -> Tensor:
    """Encode views `(n, h, w, 5)` by an agent in its own look: latents `(n, d)`."""
    return agent.encode(own_images(agent, views))


def collect_recording(
    world: World, *, episodes: int = 4, seed: int = 0, max_steps: int = 200, first: int = 0
) -> Recording:
    """Record episodes of held random actions, for any environment with discrete actions.

    Args:
        world: where to play.
        episodes: how many.
        seed: of environments and actions.
        max_steps: of an episode.
        first: number of the first episode; the same seed and another first give other episodes.

    Raises:
        InvalidInputError: for numbers out of range.
    """
    from rlstitch.envs import make_vec
    from rlstitch.envs.replay import record_episodes

    check_seed(seed)
    check_counts(episodes=episodes, max_steps=max_steps, first=first + 1)
    probe = make_vec(world, 1, seed=seed)
    space = probe.single_action_space
    probe.close()
    held = HeldActions(np.random.default_rng((DOMAIN, seed, first)), space, 1)
    seeds = collection_seeds(seed, first + episodes)[first:]
    return record_episodes(world, seeds, lambda _: held.next(), max_steps=max_steps)


def paired_images(recording: Recording, world_x: World, world_y: World) -> tuple[Images, Images]:
    """Play a recording again under two looks: uint8 `(n, H, W, C)` each, row by row of the same state.

    The task is the recording's in both, since it decides what an action means.

    Raises:
        InvalidInputError: for another environment than the recording's, or one that is not deterministic.
    """
    from rlstitch.envs.replay import replay_episodes

    x, y = (
        np.concatenate(list(replay_episodes(recording, replace(world, task=recording.world.task))))
        for world in (world_x, world_y)
    )
    return x, y


def collect_paired_images(
    world_x: World, world_y: World, *, count: int, seed: int = 0, max_steps: int | None = None
) -> tuple[Images, Images]:
    """Collect images of the same states in two worlds, for any deterministic environment; equal pairs are kept once.

    Args:
        world_x: of the source; its task is played in both.
        world_y: of the target.
        count: how many distinct pairs.
        seed: of environments and actions.
        max_steps: environment steps at most; None: 50 a pair.

    Returns:
        Two arrays uint8 `(n, H, W, C)`; n is below `count` where the steps show fewer distinct pairs.

    Raises:
        InvalidInputError: for numbers below 1, two environments, or one that is not deterministic.
    """
    check_counts(count=count, max_steps=1 if max_steps is None else max_steps)
    left = 50 * count if max_steps is None else max_steps
    found: dict[bytes, tuple[Images, Images]] = {}
    first = 0
    while len(found) < count and left > 0:
        recording = collect_recording(world_x, seed=seed, max_steps=min(200, max(1, left // 4)), first=first)
        for x, y in zip(*paired_images(recording, world_x, world_y), strict=True):
            found.setdefault(x.tobytes() + y.tobytes(), (x, y))
        left -= sum(len(episode.actions) for episode in recording.episodes)
        first += len(recording.episodes)
    pairs = list(found.values())[:count]
    return np.stack([x for x, _ in pairs]), np.stack([y for _, y in pairs])


def choose_replay_anchor_set(recording: Recording, k: int, *, method: str = "farthest", seed: int = 0) -> AnchorSet:
    """Choose k distinct frames of a recording as an anchor set of kind `replay`; methods as in `choose_anchor_set`.

    Frames are compared under the standard look, which the recording's variation does not change.

    Raises:
        InvalidInputError: where k is below 1, there are fewer distinct frames, or the replay is not deterministic.
        UnknownNameError: for an unknown method.
    """
    from rlstitch.agents.anchor_set import AnchorSet
    from rlstitch.envs.replay import replay_episodes
    from rlstitch.latent import choose_anchors

    check_counts(k=k)
    distinct: dict[bytes, tuple[int, int]] = {}
    for number, frames in enumerate(replay_episodes(recording, replace(recording.world, variation="standard"))):
        for step, frame in enumerate(frames):
            distinct.setdefault(frame.tobytes(), (number, step))
    if k > len(distinct):
        raise InvalidInputError(f"k: expected at most {len(distinct)}, the distinct frames of the recording, found {k}")
    pixels = np.stack([np.frombuffer(key, dtype=np.uint8) for key in distinct]).astype(np.float32) / np.float32(255.0)
    chosen = np.asarray(choose_anchors(method, pixels, k, seed))
    episodes = recording.episodes
    actions = np.zeros((len(episodes), max(len(episode.actions) for episode in episodes)), dtype=np.int64)
    for row, episode in zip(actions, episodes, strict=True):
        row[: len(episode.actions)] = episode.actions
    seeds = np.array([episode.seed for episode in episodes], dtype=np.int64)
    places = np.array(list(distinct.values()), dtype=np.int64)[chosen]
    world = recording.world
    return AnchorSet.replay(world.environment, seeds, actions, places, view=world.view)
