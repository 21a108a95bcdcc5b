"""Many MiniGrids as one vector environment, drawn from tiles.

The frames equal those of MiniGrid's `RGBImgPartialObsWrapper` (view "agent") and `RGBImgObsWrapper` (view "full"),
pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from minigrid.minigrid_env import MiniGridEnv
from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper

from rlstitch.envs.envpool_batch import EnvpoolBatch
from rlstitch.envs.families.minigrid.grids import SymbolicGrids
from rlstitch.envs.families.minigrid.tiles import (
    AGENT_STRIDE,
    CELL_STRIDE,
    COLOURS,
    EMPTY_CODE,
    NO_AGENT,
    STATES,
    Index,
    Views,
    code_index,
    decode_index,
    get_atlas,
    success_infos,
)
from rlstitch.envs.family import family_of
from rlstitch.envs.observation import Observations, Shape
from rlstitch.envs.parts import join_parts
from rlstitch.envs.reading import BITS, WORDS, code_text
from rlstitch.envs.single import action_space, make_single
from rlstitch.envs.tasks.task import ActionMap, Task
from rlstitch.envs.vector import Flags, Rewards, WorldVectorEnv
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError

_DRAWING = ("gen_obs_grid", "get_frame", "get_pov_render", "get_full_render", "get_view_exts")
_STANDARD_WRAPPERS = (
    gymnasium.wrappers.OrderEnforcing,
    gymnasium.wrappers.PassiveEnvChecker,
    gymnasium.wrappers.TimeLimit,
)
_PIXELS_OF_THE_VIEW = (ImgObsWrapper, RGBImgPartialObsWrapper)
"""What a program wraps a MiniGrid in to train on the very images that are drawn here."""


class Grids:
    """MiniGrid's own dynamics as a simulator.

    A task's length replaces MiniGrid's `max_steps`, of which the reward of a success is a function, and Gymnasium's
    limit.

    Raises:
        InvalidInputError: for an environment that is no MiniGrid or has a drawing method of its own.
        UnknownNameError: for an environment that is not registered.
    """

    def __init__(self, world: World, num_envs: int, task: Task) -> None:
        made = [_make_inner(world.environment) for _ in range(num_envs)]
        self._environments = [inner for inner, _ in made]
        self._task = task
        self._limit = made[0][1] if task.max_steps is None else task.max_steps
        for alteration in task.alterations:
            for inner in self._environments:
                alteration(inner)
        self._filters = [task.make_filter() for _ in made]
        self.action_space = action_space(self._environments[0], world.environment)
        self._grids = SymbolicGrids(self._environments)
        agent = world.view == "agent"
        self._views = self._grids.agent_views if agent else self._grids.full_views
        self.view_shape = (self._grids.view_size,) * 2 if agent else (self._grids.height, self._grids.width)
        self._every: Index = np.arange(num_envs, dtype=np.intp)
        self._lengths = np.zeros(num_envs, dtype=np.int64)

    def _read(self, rows: Index) -> Index:
        for row in rows.tolist():
            self._grids.refresh(row)
        return self._views(rows)

    def missions(self, rows: Index) -> list[str]:
        """Return the missions of some environments."""
        return [self._environments[row].mission for row in rows.tolist()]

    def start(self, rows: Index, seeds: Sequence[int | None]) -> Index:
        """Begin episodes in some environments; their tile indices `(len(rows), h, w)`."""
        for row, seed in zip(rows.tolist(), seeds, strict=True):
            self._environments[row].reset(seed=seed)
            if self._task.max_steps is not None:  # some MiniGrids set their own at every reset
                self._environments[row].max_steps = self._task.max_steps
            self._filters[row].start(seed)
        self._lengths[rows] = 0
        return self._read(rows)

    def step(self, actions: ActionMap) -> tuple[Index, Rewards, Flags, Flags, dict[str, Any]]:
        """Take one step everywhere; tile indices `(N, h, w)`."""
        pairs = zip(self._filters, actions.tolist(), strict=True)
        chosen = [each.carried_out(action) for each, action in pairs] if self._task.filters else actions.tolist()
        results = [env.step(action) for env, action in zip(self._environments, chosen, strict=True)]
        rewards = np.array([result[1] for result in results], dtype=np.float64)
        terminations = np.array([result[2] for result in results], dtype=np.bool_)
        truncations = np.array([result[3] for result in results], dtype=np.bool_)
        self._lengths += 1
        if self._limit is not None:
            truncations |= self._lengths >= self._limit
        infos = success_infos(rewards, terminations)
        if self._task.step_cost:
            rewards -= self._task.step_cost
        return self._read(self._every), rewards, terminations, truncations, infos

    def close(self) -> None:
        """Close the environments."""
        for environment in self._environments:
            environment.close()


def _no_observation() -> dict[str, Any]:
    """In place of MiniGrid's `gen_obs`, the slowest part of its step: the views are computed in arrays."""
    return {}


def _make_inner(environment: str) -> tuple[MiniGridEnv, int | None]:
    """One bare MiniGrid, and the limit of steps that Gymnasium would add to its own."""
    made = make_single(environment, ("minigrid",))
    if not isinstance(made.unwrapped, MiniGridEnv):
        raise InvalidInputError(f"environment: expected a MiniGrid, found {environment}")
    layer: Any = made
    taken = _STANDARD_WRAPPERS + _PIXELS_OF_THE_VIEW * _shows_pixels(made)
    while layer is not made.unwrapped:
        if not isinstance(layer, taken):
            raise InvalidInputError(f"environment: {environment} is wrapped in {type(layer).__name__}; expected a bare "
                                    "MiniGrid, which is drawn from its tiles; its id names one (env=)")  # fmt: skip
        layer = layer.env
    inner: Any = made.unwrapped
    for name in _DRAWING:
        if getattr(type(inner), name) is not getattr(MiniGridEnv, name):
            raise InvalidInputError(f"environment: {environment} overrides {name}; expected MiniGrid's own drawing")
    inner.gen_obs = _no_observation
    return inner, getattr(made.spec, "max_episode_steps", None)


def _shows_pixels(made: gymnasium.Env[Any, Any]) -> bool:
    while isinstance(made, gymnasium.Wrapper) and not isinstance(made, RGBImgPartialObsWrapper):
        made = made.env
    return isinstance(made, RGBImgPartialObsWrapper)


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


class _TileObserver:
    """Tile indices by a world's sensor: as images in its look, or as symbols."""

    def __init__(self, world: World, num_envs: int, view_shape: tuple[int, int]) -> None:
        self._see = code_index if world.sensor == "symbolic" else get_atlas(world.look, world.tile_size).render
        self.observations: Observations = self._see(np.zeros((num_envs, *view_shape), dtype=np.intp))
        self.shape: Shape = self.observations.shape[1:]

    def start(self, rows: Index, shown: Index) -> None:
        """Take the tile indices of environments that begin an episode."""
        self.observations[rows] = self._see(shown)

    def step(self, shown: Index) -> None:
        """Take the tile indices of all environments after a step."""
        self.observations = self._see(shown)


class _MissionObserver:
    """What an observer of tiles sees, and the mission, in one vector; a mission stays for an episode."""

    def __init__(self, tiles: _TileObserver, missions: Callable[[Index], list[str]]) -> None:
        self._tiles, self._missions = tiles, missions
        self._codes = np.zeros((len(tiles.observations), WORDS * BITS), dtype=np.float32)
        self.observations = self._joined()
        self.shape: Shape = self.observations.shape[1:]

    def _joined(self) -> Observations:
        return join_parts({"image": self._tiles.observations, "mission": self._codes})

    def start(self, rows: Index, shown: Index) -> None:
        """Take the tile indices of environments that begin an episode."""
        self._tiles.start(rows, shown)
        self._codes[rows] = [code_text(mission) for mission in self._missions(rows)]
        self.observations[rows] = self._joined()[rows]

    def step(self, shown: Index) -> None:
        """Take the tile indices of all environments after a step."""
        self._tiles.step(shown)
        self.observations = self._joined()


class MissionVectorEnv(WorldVectorEnv):
    """MiniGrids that are observed with their missions; symbolic views do not say all that is observed, and are not had.

    Raises:
        InvalidInputError, UnknownNameError: as `MiniGridVectorEnv`.
    """

    def __init__(self, world: World, num_envs: int, *, seed: int | None, autoreset_mode: AutoresetMode) -> None:
        task = family_of(world).task(world)
        grids = Grids(world, num_envs, task)
        observer = _MissionObserver(_TileObserver(world, num_envs, grids.view_shape), grids.missions)
        super().__init__(world, num_envs, grids, observer, task, seed=seed, autoreset_mode=autoreset_mode)


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
        task = family_of(world).task(world)
        grids = EnvpoolGrids(world, num_envs) if world.backend == "envpool" else Grids(world, num_envs, task)
        observer = _TileObserver(world, num_envs, grids.view_shape)
        super().__init__(world, num_envs, grids, observer, task, seed=seed, autoreset_mode=autoreset_mode)

    def symbolic(self) -> Views:
        """Return the current symbolic views, uint8 `(N, h, w, 5)`: free of looks, as `render_views` takes them."""
        return decode_index(self.underlying)
