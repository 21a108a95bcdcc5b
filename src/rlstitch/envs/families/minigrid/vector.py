"""Many MiniGrids as one vector environment, drawn from tiles.

The frames equal those of MiniGrid's `RGBImgPartialObsWrapper` (view "agent") and `RGBImgObsWrapper` (view "full"),
pixel by pixel.
"""

from __future__ import annotations

import numpy as np
from gymnasium.vector import AutoresetMode

from rlstitch.envs.families.minigrid.envpool_backend import EnvpoolGrids
from rlstitch.envs.families.minigrid.grid_tasks import GRID_TASKS
from rlstitch.envs.families.minigrid.simulation import Grids
from rlstitch.envs.families.minigrid.tiles import Index, Views, decode_index, get_atlas
from rlstitch.envs.looks.pixels import Images
from rlstitch.envs.tasks.words import get_task
from rlstitch.envs.vector import WorldVectorEnv
from rlstitch.envs.world import World


class _TileObserver:
    """Frames of tile indices in a world's look."""

    def __init__(self, world: World, num_envs: int, view_shape: tuple[int, int]) -> None:
        self._atlas = get_atlas(world.look, world.tile_size)
        self.shape = (view_shape[0] * world.tile_size, view_shape[1] * world.tile_size, 3)
        self.observations: Images = np.zeros((num_envs, *self.shape), dtype=np.uint8)

    def start(self, rows: Index, shown: Index) -> None:
        """Take the tile indices of environments that begin an episode."""
        self.observations[rows] = self._atlas.render(shown)

    def step(self, shown: Index) -> None:
        """Take the tile indices of all environments after a step."""
        self.observations = self._atlas.render(shown)


class MiniGridVectorEnv(WorldVectorEnv):
    """MiniGrids of one world, by either backend; `infos["success"]` says which episodes ended just now with a reward
    above zero, before any time cost.

    Raises:
        InvalidInputError: for a world that the backend does not have, and as `WorldVectorEnv`.
        UnknownNameError: for an environment that is not registered.
    """

    def __init__(
        self,
        world: World,
        num_envs: int,
        *,
        seed: int | None = None,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> None:
        task = get_task(world.task, GRID_TASKS)
        grids = EnvpoolGrids(world, num_envs) if world.backend == "envpool" else Grids(world, num_envs, task)
        observer = _TileObserver(world, num_envs, grids.view_shape)
        super().__init__(world, num_envs, grids, observer, task, seed=seed, autoreset_mode=autoreset_mode)

    def symbolic(self) -> Views:
        """Return the current symbolic views, uint8 `(N, h, w, 5)`: free of looks, as `render_views` takes them."""
        return decode_index(self.underlying)
