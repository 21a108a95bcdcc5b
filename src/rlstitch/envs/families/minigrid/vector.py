"""Many MiniGrids in one process, drawn from tiles: views are computed in arrays, frames gathered from ready tiles.

The frames equal those of MiniGrid's `RGBImgPartialObsWrapper` (view "agent") and `RGBImgObsWrapper` (view "full"),
pixel by pixel.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, TypeAlias

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from minigrid.minigrid_env import MiniGridEnv

from rlstitch.envs.actions import apply_discrete
from rlstitch.envs.families.minigrid.grid_tasks import GRID_TASKS
from rlstitch.envs.families.minigrid.grids import SymbolicGrids
from rlstitch.envs.families.minigrid.tiles import Index, Views, decode_index, get_atlas
from rlstitch.envs.looks.pixels import Images
from rlstitch.envs.resets import Seeds, Waiting, final_observations, read_reset
from rlstitch.envs.single import action_space, make_single
from rlstitch.envs.tasks.task import ActionMap
from rlstitch.envs.tasks.words import get_task
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError

Flags: TypeAlias = npt.NDArray[np.bool_]
Rewards: TypeAlias = npt.NDArray[np.float64]

_DRAWING = ("gen_obs_grid", "get_frame", "get_pov_render", "get_full_render", "get_view_exts")
_STANDARD_WRAPPERS = (gymnasium.wrappers.OrderEnforcing, gymnasium.wrappers.TimeLimit)


class TileVectorEnv(VectorEnv[Images, npt.NDArray[np.integer[Any]], npt.NDArray[Any]]):
    """`num_envs` MiniGrids of one world as a Gymnasium vector environment, whatever computes their dynamics.

    Observations are uint8 `(N, H, W, 3)`, a fresh array at every step. `autoreset_mode` is SAME_STEP (the last frame
    of an episode is in `infos["final_obs"]`) or DISABLED (finished environments wait for a reset). `infos["success"]`
    says which episodes ended just now with a reward above zero, before any time cost.

    Args:
        world: what is seen.
        num_envs: how many.
        view_shape: rows and columns of a view, in cells.
        actions: the task's action map.
        step_cost: the task's.
        seed: of the first reset without one (environment i: seed + i).
        autoreset_mode: see above.

    Raises:
        InvalidInputError: for another autoreset mode.
    """

    def __init__(
        self,
        world: World,
        num_envs: int,
        view_shape: tuple[int, int],
        *,
        actions: ActionMap,
        step_cost: float = 0.0,
        seed: int | None,
        autoreset_mode: AutoresetMode,
    ) -> None:
        if autoreset_mode not in (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED):
            raise InvalidInputError(f"autoreset_mode: expected SAME_STEP or DISABLED, found {autoreset_mode}")
        self.world, self.num_envs = world, num_envs
        self._atlas = get_atlas(world.look, world.tile_size)
        self._actions, self._step_cost = actions, step_cost
        self._same_step = autoreset_mode == AutoresetMode.SAME_STEP
        self._default_seed = seed
        self._waiting = Waiting(num_envs)
        shape = (view_shape[0] * world.tile_size, view_shape[1] * world.tile_size, 3)
        self.single_observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.single_action_space = spaces.Discrete(len(actions))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata = {"render_modes": ["rgb_array"], "autoreset_mode": autoreset_mode}
        self.render_mode = "rgb_array"
        self._index: Index = np.zeros((num_envs, *view_shape), dtype=np.intp)
        self._frames: Images = np.zeros((num_envs, *shape), dtype=np.uint8)

    @abstractmethod
    def _start(self, rows: Index, seeds: Sequence[int | None]) -> Index:
        """Begin episodes in some environments; their tile indices `(len(rows), h, w)`."""

    @abstractmethod
    def _advance(self, actions: ActionMap) -> tuple[Index, Rewards, Flags, Flags]:
        """Take one step in every environment; tile indices `(N, h, w)`, rewards, terminations, truncations."""

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Images, dict[str, Any]]:
        """Start new episodes, in all environments or in those of `options["reset_mask"]`, bool `(N,)`.

        Args:
            seed: one number (environment i gets seed + i) or one for each environment.
            options: see above.

        Returns:
            The frames of all environments, and no infos.

        Raises:
            InvalidInputError: for seeds or a mask of the wrong shape or kind.
        """
        if seed is None and self._default_seed is not None:
            seed = self._default_seed
        self._default_seed = None
        rows, seeds = read_reset(seed, options, self.num_envs)
        self._index[rows] = self._start(rows, seeds)
        self._waiting.started(rows)
        self._frames = self._atlas.render(self._index)
        return self._frames, {}

    def step(self, actions: npt.NDArray[np.integer[Any]]) -> tuple[Images, Rewards, Flags, Flags, dict[str, Any]]:
        """Take one step in every environment; rewards are float64.

        Raises:
            InvalidInputError: for actions out of range, and for environments whose episode is over and that were not
                reset.
        """
        self._waiting.check()
        chosen = apply_discrete(actions, self._actions, self.num_envs)
        self._index, rewards, terminations, truncations = self._advance(chosen)
        self._frames = self._atlas.render(self._index)
        success = terminations & (rewards > 0)
        if self._step_cost:
            rewards -= self._step_cost
        infos: dict[str, Any] = {"success": success, "_success": np.ones(self.num_envs, dtype=np.bool_)}
        done = terminations | truncations
        if done.any():
            self._finish(done, infos)
        return self._frames, rewards, terminations, truncations, infos

    def _finish(self, done: Flags, infos: dict[str, Any]) -> None:
        if not self._same_step:
            self._waiting.ended(done)
            return
        rows = np.flatnonzero(done)
        infos.update(final_observations(self._frames, done))
        infos["final_info"], infos["_final_info"] = {"success": infos["success"], "_success": done}, done
        self._index[rows] = self._start(rows, [None] * len(rows))
        self._frames[rows] = self._atlas.render(self._index[rows])

    def symbolic(self) -> Views:
        """Return the current symbolic views, uint8 `(N, h, w, 5)`: free of looks, as `render_views` takes them."""
        return decode_index(self._index)

    def render(self) -> tuple[Images, ...]:
        """Return the current frames."""
        return tuple(self._frames)


class MiniGridVectorEnv(TileVectorEnv):
    """MiniGrid's own dynamics.

    A task's length replaces MiniGrid's `max_steps`, of which the reward of a success is a function, and Gymnasium's
    limit.

    Raises:
        InvalidInputError: for an environment that is no MiniGrid or draws itself.
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
        made = [_make_inner(world.environment) for _ in range(num_envs)]
        self._environments = [inner for inner, _ in made]
        self._max_steps = task.max_steps
        self._limit = made[0][1] if task.max_steps is None else task.max_steps
        for alteration in task.alterations:
            for inner in self._environments:
                alteration(inner)
        self._filters = [[maker() for maker in task.filters.values()] for _ in range(num_envs if task.filters else 0)]
        space = action_space(self._environments[0], world.environment)
        num_actions = int(space.n) if isinstance(space, spaces.Discrete) else 0
        self._grids = SymbolicGrids(self._environments)
        self._views = self._grids.agent_views if world.view == "agent" else self._grids.full_views
        self._every: Index = np.arange(num_envs, dtype=np.intp)
        self._lengths = np.zeros(num_envs, dtype=np.int64)
        super().__init__(
            world,
            num_envs,
            (self._grids.view_size,) * 2 if world.view == "agent" else (self._grids.height, self._grids.width),
            actions=task.action_map(num_actions),
            step_cost=task.step_cost,
            seed=seed,
            autoreset_mode=autoreset_mode,
        )

    def _read(self, rows: Index) -> Index:
        for row in rows.tolist():
            self._grids.refresh(row)
        return self._views(rows)

    def _start(self, rows: Index, seeds: Sequence[int | None]) -> Index:
        for row, seed in zip(rows.tolist(), seeds, strict=True):
            self._environments[row].reset(seed=seed)
            if self._max_steps is not None:  # some MiniGrids set their own at every reset
                self._environments[row].max_steps = self._max_steps
            for action_filter in self._filters[row] if self._filters else ():
                action_filter.start(seed)
        self._lengths[rows] = 0
        return self._read(rows)

    def _advance(self, actions: ActionMap) -> tuple[Index, Rewards, Flags, Flags]:
        chosen = actions.tolist()
        for row, filters in enumerate(self._filters):
            for action_filter in reversed(filters):  # as wrappers: the last is asked first
                chosen[row] = action_filter.carried_out(chosen[row])
        results = [env.step(action) for env, action in zip(self._environments, chosen, strict=True)]
        rewards = np.array([result[1] for result in results], dtype=np.float64)
        terminations = np.array([result[2] for result in results], dtype=np.bool_)
        truncations = np.array([result[3] for result in results], dtype=np.bool_)
        self._lengths += 1
        if self._limit is not None:
            truncations |= self._lengths >= self._limit
        return self._read(self._every), rewards, terminations, truncations

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments."""
        for environment in self._environments:
            environment.close()


def _no_observation() -> dict[str, Any]:
    """Stands in for MiniGrid's `gen_obs`, the dearest part of its step: the views are computed here instead."""
    return {}


def _make_inner(environment: str) -> tuple[MiniGridEnv, int | None]:
    """One bare MiniGrid, and the limit of steps that Gymnasium would add to its own."""
    made = make_single(environment, ("minigrid",))
    if not isinstance(made.unwrapped, MiniGridEnv):
        raise InvalidInputError(f"environment: expected a MiniGrid, found {environment}")
    layer: Any = made
    while layer is not made.unwrapped:
        if not isinstance(layer, _STANDARD_WRAPPERS):
            raise InvalidInputError(f"environment: {environment} is registered with {type(layer).__name__}; expected "
                                    "a bare MiniGrid, which is drawn from its tiles")  # fmt: skip
        layer = layer.env
    inner: Any = made.unwrapped
    for name in _DRAWING:
        if getattr(type(inner), name) is not getattr(MiniGridEnv, name):
            raise InvalidInputError(f"environment: {environment} draws itself its own way ({name}); not supported")
    inner.gen_obs = _no_observation
    return inner, getattr(made.spec, "max_episode_steps", None)
