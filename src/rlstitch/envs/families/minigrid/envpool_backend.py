"""MiniGrid by envpool: symbolic views from its threads, drawn from the same tiles as those of MiniGrid itself."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rlstitch.envs.envpool_batch import EnvpoolBatch, Flags, Rows
from rlstitch.envs.families.minigrid.tiles import (
    AGENT_STRIDE,
    CELL_STRIDE,
    COLOURS,
    EMPTY_CODE,
    NO_AGENT,
    STATES,
    Images,
    Index,
    Views,
    decode_index,
    get_atlas,
)
from rlstitch.envs.resets import Seeds, Waiting, read_reset
from rlstitch.envs.tasks.families import MINIGRID
from rlstitch.envs.tasks.task import action_map, apply_actions
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


class EnvpoolMiniGrid(VectorEnv[Images, npt.NDArray[Any], npt.NDArray[Any]]):
    """`num_envs` MiniGrids of one world; members, infos and errors as `MiniGridVectorEnv`.

    A seed gives the same grid every time, though not MiniGrid's of that seed.

    Raises InvalidInputError where envpool has no such environment, or the world is seen as a whole.
    """

    def __init__(
        self,
        world: World,
        num_envs: int,
        *,
        seed: int | None = None,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> None:
        if world.view != "agent":
            raise InvalidInputError(
                f"view: envpool shows the agent's alone; {world.view!r} needs the backend gymnasium"
            )
        self.world, self.num_envs = world, num_envs
        self._batch = EnvpoolBatch(world.environment, num_envs, observe=read_image)
        self._atlas = get_atlas(world.variation, world.tile_size)
        self._actions = action_map(world.task, _NUM_ACTIONS, MINIGRID)
        self._same_step = autoreset_mode == AutoresetMode.SAME_STEP
        self._default_seed = seed
        self._waiting = Waiting(num_envs)
        self._every: Rows = np.arange(num_envs)
        self._index: Index = np.zeros((num_envs, _SIDE, _SIDE), dtype=np.intp)
        side = _SIDE * world.tile_size
        self.single_observation_space = spaces.Box(0, 255, (side, side, 3), np.uint8)
        self.single_action_space = spaces.Discrete(len(self._actions))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(cast("Any", self.single_action_space), num_envs)
        self.metadata = {"render_modes": ["rgb_array"], "autoreset_mode": autoreset_mode}
        self.render_mode = "rgb_array"
        self._frames: Images = np.zeros((num_envs, side, side, 3), dtype=np.uint8)

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Images, dict[str, Any]]:
        """Starts new episodes; see `MiniGridVectorEnv.reset`."""
        if seed is None and self._default_seed is not None:
            seed = self._default_seed
        self._default_seed = None
        rows, seeds = read_reset(seed, options, self.num_envs)
        self._index[rows] = self._batch.reset(rows, seeds)
        self._waiting.started(rows)
        self._frames = self._atlas.render(self._index)
        return self._frames, {}

    def step(self, actions: npt.NDArray[Any]) -> tuple[Images, Any, Any, Any, dict[str, Any]]:
        """One step of every environment; see `MiniGridVectorEnv.step`."""
        self._waiting.check()
        chosen = apply_actions(actions, self._actions, self.num_envs)
        self._index, rewards, terminated, truncated = self._batch.step(self._every, chosen)
        truncated &= ~terminated
        self._frames = self._atlas.render(self._index)
        success = terminated & (rewards > 0)
        infos: dict[str, Any] = {"success": success, "_success": np.ones(self.num_envs, dtype=np.bool_)}
        done = terminated | truncated
        if done.any():
            self._finish(done, infos)
        return self._frames, rewards, terminated, truncated, infos

    def _finish(self, done: Flags, infos: dict[str, Any]) -> None:
        if not self._same_step:
            self._waiting.ended(done)
            return
        rows = np.flatnonzero(done)
        final = np.full(self.num_envs, None, dtype=object)
        for row in rows.tolist():
            final[row] = self._frames[row].copy()
        infos["final_obs"], infos["_final_obs"] = final, done
        infos["final_info"], infos["_final_info"] = {"success": infos["success"], "_success": done}, done
        self._index[rows] = self._batch.reset(rows, [None] * len(rows))
        self._frames[rows] = self._atlas.render(self._index[rows])

    def symbolic(self) -> Views:
        """The current symbolic views, uint8 `(N, 7, 7, 5)`: free of looks, as `render_views` takes them."""
        return decode_index(self._index)

    def render(self) -> tuple[Images, ...]:
        """The current frames."""
        return tuple(self._frames)

    def close_extras(self, **kwargs: Any) -> None:
        """Ends the environments."""
        self._batch.close()
