"""The frames of a replay anchor set: its episodes played again under a look."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlstitch.envs import World, record_actions, replay_episodes
from rlstitch.errors import InvalidInputError


def replay_frames(
    world: World, variation: str, seeds: NDArray[np.int64], actions: NDArray[Any], frames: NDArray[np.int64]
) -> NDArray[Any]:
    """Return the observations of recorded episodes under a look: `(k, ...)`, in order.

    Args:
        world: what the episodes are played in, under its own look.
        variation: the look of the frames.
        seeds: `(e,)`, one an episode.
        actions: `(e, t)`, or `(e, t, A)` where they are continuous.
        frames: `(k, 2)`: episode, number of actions before the frame.

    Raises:
        InvalidInputError: where an episode ends before one of its frames, or comes out differently when played again.
    """
    episodes = np.unique(frames[:, 0])
    last = {int(episode): int(frames[frames[:, 0] == episode, 1].max()) for episode in episodes}
    given = [actions[episode, : max(steps, 1)] for episode, steps in last.items()]
    # Played under the world's own look and again under the other, to detect nondeterministic environments.
    recording = record_actions(world, [int(seeds[episode]) for episode in last], given)
    images: dict[int, NDArray[Any]] = {}
    played = replay_episodes(recording, replace(world, look=variation))
    for (episode, steps), shown in zip(last.items(), played, strict=True):
        if steps >= len(shown):
            raise InvalidInputError(
                f"frames: the episode of seed {seeds[episode]} ends after {len(shown) - 1} actions, "
                f"an anchor stands after {steps}"
            )
        for row in np.flatnonzero(frames[:, 0] == episode).tolist():
            images[row] = shown[frames[row, 1]].copy()  # a view would keep the whole episode
    return np.stack([images[row] for row in range(len(frames))])
