"""Many MiniGrids in one process: MiniGrid's own dynamics, views computed in arrays, frames gathered from tiles.

The pictures equal those of MiniGrid's `RGBImgPartialObsWrapper` (view "agent") and `RGBImgObsWrapper` (view "full"),
pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from minigrid.minigrid_env import MiniGridEnv

from rlstitch.envs.families.minigrid.grids import SymbolicGrids
from rlstitch.envs.families.minigrid.tiles import Images, Index, Views, decode_index, get_atlas
from rlstitch.envs.registry import is_minigrid, make_single, num_actions
from rlstitch.envs.resets import Seeds, Waiting, read_reset
from rlstitch.envs.tasks.effects import Slip
from rlstitch.envs.tasks.families import MINIGRID
from rlstitch.envs.tasks.task import apply_actions, get_task
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError

Flags = npt.NDArray[np.bool_]
Step = tuple[Images, npt.NDArray[np.float64], Flags, Flags, dict[str, Any]]

_DRAWING = ("gen_obs_grid", "get_frame", "get_pov_render", "get_full_render", "get_view_exts")
_STANDARD_WRAPPERS = (gymnasium.wrappers.OrderEnforcing, gymnasium.wrappers.TimeLimit)


def _no_observation() -> dict[str, Any]:
    """Stands in for MiniGrid's `gen_obs`, the dearest part of its step: the views are computed here instead."""
    return {}


def _make_inner(environment: str) -> tuple[MiniGridEnv, int | None]:
    """One bare MiniGrid, and the limit of steps that Gymnasium would add to its own."""
    made = make_single(environment)
    if not is_minigrid(made):
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


class MiniGridVectorEnv(VectorEnv[Images, npt.NDArray[np.integer[Any]], npt.NDArray[Any]]):
    """`num_envs` MiniGrids of one world as a Gymnasium vector environment.

    Observations are uint8 `(N, H, W, 3)`, a fresh array at every step. `autoreset_mode` is SAME_STEP (the last frame
    of an episode is in `infos["final_obs"]`) or DISABLED (finished environments wait for a reset). `infos["success"]`
    says which episodes ended just now with a reward above zero, before any time cost. A task's length replaces
    MiniGrid's `max_steps`, of which the reward of a success is a function, and Gymnasium's limit.

    The first reset without a seed takes `seed` (environment i: seed + i).
    Raises InvalidInputError for an environment that is no MiniGrid or draws itself, a count below 1, or another
    autoreset mode; UnknownNameError for an environment that is not registered.
    """

    def __init__(
        self,
        world: World,
        num_envs: int,
        *,
        seed: int | None = None,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> None:
        if num_envs < 1:
            raise InvalidInputError(f"num_envs: expected at least 1, found {num_envs}")
        if autoreset_mode not in (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED):
            raise InvalidInputError(f"autoreset_mode: expected SAME_STEP or DISABLED, found {autoreset_mode}")
        self.world, self.num_envs = world, num_envs
        made = [_make_inner(world.environment) for _ in range(num_envs)]
        self._environments = [inner for inner, _ in made]
        self._task = get_task(world.task, MINIGRID)
        for alteration in self._task.alterations:
            for inner in self._environments:
                alteration(inner)
        self._slips = [Slip(self._task.slip) for _ in range(num_envs)] if self._task.slip else []
        self._limit = made[0][1] if self._task.max_steps is None else self._task.max_steps
        self._grids = SymbolicGrids(self._environments)
        self._atlas = get_atlas(world.variation, world.tile_size)
        self._actions = self._task.action_map(num_actions(self._environments[0], world.environment))
        self._autoreset_mode = autoreset_mode
        self._every: Index = np.arange(num_envs, dtype=np.intp)
        self._default_seed = seed
        self._waiting = Waiting(num_envs)
        self._lengths = np.zeros(num_envs, dtype=np.int64)
        self._declare_spaces()

    def _declare_spaces(self) -> None:
        grids, size = self._grids, self.world.tile_size
        agent = self.world.view == "agent"
        self._view_shape = (grids.view_size,) * 2 if agent else (grids.height, grids.width)
        shape = (self._view_shape[0] * size, self._view_shape[1] * size, 3)
        self.single_observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.single_action_space = spaces.Discrete(len(self._actions))
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.metadata = {"render_modes": ["rgb_array"], "autoreset_mode": self._autoreset_mode}
        self.render_mode = "rgb_array"
        self._index: Index = np.zeros((self.num_envs, *self._view_shape), dtype=np.intp)
        self._frames: Images = np.zeros((self.num_envs, *shape), dtype=np.uint8)

    def _read(self, rows: Index) -> None:
        """Brings the symbolic views of these environments up to date."""
        for row in rows.tolist():
            self._grids.refresh(row)
        views = self._grids.agent_views if self.world.view == "agent" else self._grids.full_views
        self._index[rows] = views(rows)

    def _restart(self, rows: Index, seeds: Sequence[int | None]) -> None:
        for row, seed in zip(rows.tolist(), seeds, strict=True):
            self._environments[row].reset(seed=seed)
            if self._task.max_steps is not None:  # some MiniGrids set their own at every reset
                self._environments[row].max_steps = self._task.max_steps
            if self._slips:
                self._slips[row].start(seed)
        self._lengths[rows] = 0
        self._waiting.started(rows)
        self._read(rows)

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Images, dict[str, Any]]:
        """Starts new episodes, in all environments or in those of `options["reset_mask"]`, bool `(N,)`.

        `seed`: one number (environment i gets seed + i) or one a environment. Returns the frames of all environments.
        Raises InvalidInputError for seeds or a mask of the wrong shape or kind.
        """
        if seed is None and self._default_seed is not None:
            seed = self._default_seed
        self._default_seed = None
        rows, seeds = read_reset(seed, options, self.num_envs)
        self._restart(rows, seeds)
        self._frames = self._atlas.render(self._index)
        return self._frames, {}

    def step(self, actions: npt.NDArray[np.integer[Any]]) -> Step:
        """One step of every environment; rewards are float64.

        Raises InvalidInputError for actions out of range, and for environments whose episode is over and that were
        not reset.
        """
        self._waiting.check()
        chosen = apply_actions(actions, self._actions, self.num_envs).tolist()
        if self._slips:
            chosen = [slip.carried_out(action) for slip, action in zip(self._slips, chosen, strict=True)]
        results = [env.step(action) for env, action in zip(self._environments, chosen, strict=True)]
        rewards = np.array([result[1] for result in results], dtype=np.float64)
        terminations = np.array([result[2] for result in results], dtype=np.bool_)
        truncations = np.array([result[3] for result in results], dtype=np.bool_)
        self._lengths += 1
        if self._limit is not None:
            truncations |= self._lengths >= self._limit
        self._read(self._every)
        self._frames = self._atlas.render(self._index)
        success = terminations & (rewards > 0)
        if self._task.step_cost:
            rewards -= self._task.step_cost
        infos: dict[str, Any] = {"success": success, "_success": np.ones(self.num_envs, dtype=np.bool_)}
        done = terminations | truncations
        if done.any():
            self._finish(done, infos)
        return self._frames, rewards, terminations, truncations, infos

    def _finish(self, done: Flags, infos: dict[str, Any]) -> None:
        if self._autoreset_mode == AutoresetMode.DISABLED:
            self._waiting.ended(done)
            return
        rows = np.flatnonzero(done)
        final = np.full(self.num_envs, None, dtype=object)
        for row in rows.tolist():
            final[row] = self._frames[row].copy()
        infos["final_obs"], infos["_final_obs"] = final, done
        infos["final_info"], infos["_final_info"] = {"success": infos["success"], "_success": done}, done
        self._restart(rows, [None] * len(rows))
        self._frames[rows] = self._atlas.render(self._index[rows])

    def symbolic(self) -> Views:
        """The current symbolic views, uint8 `(N, h, w, 5)`: free of looks, as `render_views` takes them."""
        return decode_index(self._index)

    def render(self) -> tuple[Images, ...]:
        """The current frames."""
        return tuple(self._frames)

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the environments."""
        for environment in self._environments:
            environment.close()
