"""The frames of a replay anchor set: its episodes played again under a look."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rlstitch.envs import World
from rlstitch.envs.replay import record_episodes, replay_episodes
from rlstitch.errors import InvalidInputError


def replay_frames(
    world: World, variation: str, seeds: NDArray[np.int64], actions: NDArray[np.int64], frames: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Return the frames of recorded episodes under a look: uint8 `(k, H, W, C)`, in order.

    Args:
        world: what the episodes are played in, under its own look.
        variation: the look of the frames.
        seeds: `(e,)`, one an episode.
        actions: `(e, t)`.
        frames: `(k, 2)`: episode, number of actions before the frame.

    Raises:
        InvalidInputError: where an episode ends before one of its frames, or comes out differently when played again.
    """
    images: dict[int, NDArray[np.uint8]] = {}
    for episode in np.unique(frames[:, 0]):
        wanted = np.flatnonzero(frames[:, 0] == episode)
        last = int(frames[wanted, 1].max())
        played = _play(world, variation, int(seeds[episode]), actions[episode, : max(last, 1)].tolist())
        if last >= len(played):
            raise InvalidInputError(
                f"frames: the episode of seed {seeds[episode]} ends after {len(played) - 1} actions, "
                f"an anchor stands after {last}"
            )
        images.update((int(row), played[frames[row, 1]]) for row in wanted)
    return np.stack([images[row] for row in range(len(frames))])


def _play(world: World, variation: str, seed: int, actions: list[int]) -> NDArray[np.uint8]:
    """Frames uint8 `(t + 1, H, W, C)` of one episode; played twice, so that chance in the environment is noticed."""
    remaining = iter(actions)
    recording = record_episodes(world, [seed], lambda _: [next(remaining)], max_steps=len(actions))
    [frames] = replay_episodes(recording, replace(world, variation=variation))
    return frames
