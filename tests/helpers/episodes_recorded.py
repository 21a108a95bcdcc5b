"""Recording episodes that a function of the images plays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

import numpy as np
import numpy.typing as npt

from rlstitch.envs import Recording, World
from rlstitch.envs.replay import Player, first_action


def record_episodes(
    world: World,
    seeds: Sequence[int],
    policy: Callable[[npt.NDArray[np.uint8]], npt.ArrayLike],
    *,
    max_steps: int = 1000,
) -> Recording:
    """One episode for each seed; one that has not ended is left after `max_steps`."""
    player = Player(world)
    with closing(player.environment):
        return Recording(
            world,
            tuple(
                player.play(seed, lambda images, step: None if step >= max_steps else first_action(policy(images)))[0]
                for seed in seeds
            ),
        )
