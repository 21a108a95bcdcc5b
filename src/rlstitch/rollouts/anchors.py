"""Anchor sets, chosen from collected views or from the frames of a recording."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rlstitch.agents import Agent
from rlstitch.agents.anchor_set import PLAYED, AnchorSet
from rlstitch.envs import World, family_of
from rlstitch.envs.observation import is_image
from rlstitch.envs.replay import Recording, replay_episodes
from rlstitch.errors import InvalidInputError
from rlstitch.latent import choose_anchors
from rlstitch.rollouts.coverage import COVERED, Coverage
from rlstitch.rollouts.evaluation import check_counts
from rlstitch.rollouts.recording import collect_frames, played_as
from rlstitch.rollouts.views import ViewCollection, collect_views

_CHOOSING_TILE = 4
_COARSE = 32
"""Pixels a side, about, to which frames are reduced before they are compared."""
_SEED = 0
"""One, so that agents of any look or seed share one anchor set."""
FEW_ANCHORS, MANY_ANCHORS = 512, 4096
"""Anchors where their number is chosen by coverage."""


def default_anchor_set(
    world: World, count: int | None, selection: str = "farthest", drivers: Sequence[Agent] = ()
) -> AnchorSet:
    """Return the anchor set of an environment, the same for every look, seed and agent.

    Anchors are symbolic views where the family has them, else frames of recorded episodes. The states are those of
    random play and of the `drivers`.

    Args:
        world: environment and, where the family has symbolic views, view and tile size.
        count: number of anchors, fewer where fewer distinct states are reached; None: `FEW_ANCHORS`, or `MANY_ANCHORS`
            where more than the share `COVERED` of observations shows views that were not met when these were collected:
            drawn from four times as many distinct frames, or from twenty times as many frames in all.
        selection: method of choosing them. `MANY_ANCHORS` by coverage are drawn at random: the farthest of so many
            states are those that agents rarely meet.
        drivers: agents that play too, each in its own look; the set depends on them and their order.

    Raises:
        InvalidInputError: where there are no symbolic views and the environment is not deterministic.
        IncompatibleError: where a driver has another view, or no action in common with the environment.
    """
    number, by_coverage = (FEW_ANCHORS, True) if count is None else (count, False)
    if not family_of(world).has_views(world):
        # View and tile size have no effect here: the set must not depend on them.
        plain = played_as(
            World(world.environment, sensor=world.sensor, keys=world.keys), replace(world, task="standard")
        )
        recording = collect_frames(plain, max(1024, 4 * number), seed=_SEED, agents=drivers)
        if by_coverage and (coverage := frames_coverage(recording)).unseen > COVERED:
            number, selection = MANY_ANCHORS, "random"
            frames_a_view = min(5.0, coverage.observations / coverage.distinct)
            recording = collect_frames(plain, round(4 * number * frames_a_view), seed=_SEED, agents=drivers)
        return choose_replay_anchor_set(recording, number, method=selection, seed=_SEED, fewer=True)
    plain = World(world.environment, view=world.view, tile_size=world.tile_size)
    steps = max(20_000, 20 * number)
    collection = collect_views(plain, count=max(512, 4 * number), max_steps=steps, seed=_SEED, agents=drivers)
    if by_coverage and collection.coverage.unseen > COVERED:
        return default_anchor_set(world, MANY_ANCHORS, "random", drivers)
    return choose_anchor_set(collection, min(number, len(collection)), method=selection, seed=_SEED)


def choose_anchor_set(collection: ViewCollection, k: int, *, method: str = "farthest", seed: int = 0) -> AnchorSet:
    """Choose k of the distinct views as an anchor set by `random`, `farthest`, `kmedoids` (see `choose_anchors`).

    All but `random` compare pixels of the standard look (small tiles), so that the choice is the same whatever the
    collection's look.

    Raises:
        InvalidInputError: where k is below 1 or there are fewer distinct views.
        UnknownNameError: for an unknown method.
    """
    check_counts(k=k)
    if k > len(collection):
        raise InvalidInputError(f"k: expected at most {len(collection)}, as there are {collection}; found {k}")
    pixels = collection.render(tile_size=_CHOOSING_TILE).reshape(len(collection), -1)
    points = pixels.astype(np.float32) / np.float32(255.0)
    index = np.asarray(choose_anchors(method, points, k, seed))
    world = collection.world
    return AnchorSet.symbolic(world.environment, collection.views[index], view=world.view)


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
    check_counts(k=k)
    world, places = recording.world, dict[bytes, tuple[int, int]]()
    points = []
    for place, digest, frame in _frames(recording):
        if digest not in places:
            places[digest] = place
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


def frames_coverage(recording: Recording) -> Coverage:
    """Return how much of what the world shows the frames of a recording have met, under the standard look.

    Raises:
        InvalidInputError: where the replay is not deterministic.
    """
    met = Counter(digest for _, digest, _ in _frames(recording))
    return Coverage(len(met), met.total(), sum(count == 1 for count in met.values()), len(recording.episodes))


def _frames(recording: Recording) -> Iterator[tuple[tuple[int, int], bytes, npt.NDArray[Any]]]:
    """Yield episode and step, digest, and image of each frame of a recording, under the standard look."""
    for number, frames in enumerate(replay_episodes(recording, replace(recording.world, look="standard"))):
        for step, frame in enumerate(frames):
            yield (number, step), hashlib.sha256(frame.tobytes()).digest(), frame


def _action_table(recording: Recording) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
    """Actions `(e, t)` or `(e, t, A)`; zeros after an episode's end."""
    rows = [np.asarray(episode.actions) for episode in recording.episodes]
    shape = (len(rows), max(len(row) for row in rows), *rows[0].shape[1:])
    table = np.zeros(shape, dtype=np.int64 if rows[0].ndim == 1 else np.float32)
    for place, row in zip(table, rows, strict=True):
        place[: len(row)] = row
    return table


def _coarse(frame: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Means of square blocks of a frame `(H, W, C)`, flat, in [0, 1]; vectors as they are."""
    if not is_image(frame.shape):
        return frame
    block = max(1, max(frame.shape[:2]) // _COARSE)
    padding = [(0, -size % block) for size in frame.shape[:2]]
    padded = np.pad(frame, [*padding, (0, 0)], mode="edge").astype(np.float32)
    height, width, channels = padded.shape
    blocks = padded.reshape(height // block, block, width // block, block, channels)
    return blocks.mean(axis=(1, 3)).reshape(-1) / np.float32(255.0)
