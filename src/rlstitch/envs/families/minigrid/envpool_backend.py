"""MiniGrid by envpool: symbolic views from its threads, drawn from the same tiles as those of MiniGrid itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from rlstitch.envs.envpool_batch import EnvpoolBatch
from rlstitch.envs.families.minigrid.tiles import (
    AGENT_STRIDE,
    CELL_STRIDE,
    COLOURS,
    EMPTY_CODE,
    NO_AGENT,
    STATES,
    Index,
    success_infos,
)
from rlstitch.envs.tasks.task import ActionMap
from rlstitch.envs.vector import Flags, Rewards
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError

_SIDE, _UP, _NUM_ACTIONS = 7, 3, 7
_CODES = np.array([COLOURS * STATES, STATES, 1], dtype=np.intp)


def read_image(observed: Any) -> Index:
    """Tile indices `(n, v, v)` of MiniGrid's own encoding of what agents see, uint8 `(n, v, v, 3)`, x before y.

    Object 0 stands for what is not seen. The agent stands in the middle of the last row and looks up; in its place
    the encoding has what it carries.
    """
    image = np.asarray(observed["image"]).swapaxes(1, 2)
    unseen = image[..., 0] == 0
    index = np.where(unseen, EMPTY_CODE, image @ _CODES) * CELL_STRIDE + NO_AGENT * AGENT_STRIDE + ~unseen
    index[:, -1, image.shape[2] // 2] += (_UP - NO_AGENT) * AGENT_STRIDE
    return np.asarray(index, dtype=np.intp)


class EnvpoolGrids:
    """envpool's dynamics as a simulator. A seed gives the same grid every time, though not MiniGrid's of that seed.

    Raises:
        InvalidInputError: where envpool has no such environment, or the world is seen as a whole.
    """

    action_space, view_shape = spaces.Discrete(_NUM_ACTIONS), (_SIDE, _SIDE)

    def __init__(self, world: World, num_envs: int) -> None:
        if world.view != "agent":
            raise InvalidInputError(
                f"view: envpool shows the agent's alone; {world.view!r} needs the backend gymnasium"
            )
        self._batch = EnvpoolBatch(world.environment, num_envs, observe=read_image)
        self._every: Index = np.arange(num_envs)
        self.start, self.close = self._batch.reset, self._batch.close

    def step(self, actions: ActionMap) -> tuple[Index, Rewards, Flags, Flags, dict[str, Any]]:
        """Take one step everywhere; tile indices `(N, 7, 7)`."""
        index, rewards, terminated, truncated = self._batch.step(self._every, actions)
        return index, rewards, terminated, truncated & ~terminated, success_infos(rewards, terminated)
