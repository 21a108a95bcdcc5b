"""The one place that puts an environment together: its wrappers in order, and its seeds.

Order: the environment; the task (rewards, length, dynamics); repeated actions; the batch of environments; the task
(what actions mean); the look (observations, final ones too).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from rlstitch.envs.actions import apply_continuous, check_actions, map_of
from rlstitch.envs.families.car_racing.cars import (
    ACTIONS,
    MAX_STEPS,
    STEERING,
    is_car_racing,
    make_car,
    pixel_look,
    split_look,
)
from rlstitch.envs.families.minigrid.tiles import Images
from rlstitch.envs.families.minigrid.vector import MiniGridVectorEnv
from rlstitch.envs.frames import Look, Observer, RepeatedAction
from rlstitch.envs.looks.look import get_variation
from rlstitch.envs.registry import action_space, drawn_from_tiles, image_space, make_single
from rlstitch.envs.resets import Seeds, Waiting, read_reset
from rlstitch.envs.tasks.effects import with_task
from rlstitch.envs.tasks.families import family_of
from rlstitch.envs.tasks.task import apply_actions, get_task
from rlstitch.envs.tasks.words import Task
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError

if TYPE_CHECKING:
    from rlstitch.envs.families.minigrid.envpool_backend import EnvpoolMiniGrid

    TileVectorEnv: TypeAlias = MiniGridVectorEnv | EnvpoolMiniGrid

Batch = VectorEnv[Any, Any, Any]
Autoreset = Literal["same_step", "disabled"]
_MODES = {"same_step": AutoresetMode.SAME_STEP, "disabled": AutoresetMode.DISABLED}


def make_vec(
    world: World, num_envs: int, *, seed: int | None, autoreset: Autoreset = "same_step", workers: int = 0
) -> TileVectorEnv | ImageVectorEnv:
    """`num_envs` environments of a world, with images uint8 `(N, H, W, C)`.

    Actions are whole numbers `(N,)` where the environment's are discrete, float32 `(N, A)` within its bounds where they
    are continuous (no task that changes what they mean).

    The first `reset()` without a seed takes `seed`: environment i gets seed + i. `autoreset` is "same_step" or
    "disabled". With `workers` above 0 an environment that is no MiniGrid runs in a process of its own, for each of
    `num_envs`; MiniGrids stay in this process, where a batch costs less than its way between processes.

    Raises UnknownNameError for an environment that is not registered, InvalidInputError for one without images,
    with actions of another kind or with a task that they cannot have, for a floor colour where there are no tiles, and
    for parameters out of range.
    """
    if autoreset not in _MODES:
        raise InvalidInputError(f"autoreset: expected one of {', '.join(_MODES)}, found {autoreset!r}")
    if num_envs < 1:
        raise InvalidInputError(f"num_envs: expected at least 1, found {num_envs}")
    if workers < 0:
        raise InvalidInputError(f"workers: expected at least 0, found {workers}")
    result: TileVectorEnv | ImageVectorEnv
    if is_car_racing(world.environment):
        result = ImageVectorEnv(_make_cars(world, num_envs, _MODES[autoreset], workers), world, seed)
    elif drawn_from_tiles(world.environment):
        result = _make_minigrid(world, num_envs, seed, _MODES[autoreset])
    elif world.backend == "envpool":
        raise InvalidInputError(f"backend: envpool has no {world.environment} here; it needs the backend gymnasium")
    else:
        result = ImageVectorEnv(_make_generic(world, num_envs, _MODES[autoreset], workers), world, seed)
    result.action_space.seed(seed)
    result.single_action_space.seed(seed)
    return result


def _make_minigrid(world: World, num_envs: int, seed: int | None, mode: AutoresetMode) -> TileVectorEnv:
    plain = World(world.environment)
    for name in ("actions", "action_repeat", "frame_stack", "size", "crop"):
        if getattr(world, name) != getattr(plain, name):
            raise InvalidInputError(
                f"{name}: a MiniGrid is drawn from its tiles, one for each step; expected {getattr(plain, name)!r}, "
                f"found {getattr(world, name)!r} (see tile_size and view)"
            )
    if world.backend == "envpool":
        if get_task(world.task, family_of(world.environment)).changes_steps:
            _refuse_task(world)
        from rlstitch.envs.families.minigrid.envpool_backend import EnvpoolMiniGrid

        return EnvpoolMiniGrid(world, num_envs, seed=seed, autoreset_mode=mode)
    return MiniGridVectorEnv(world, num_envs, seed=seed, autoreset_mode=mode)


def _refuse_task(world: World) -> None:
    raise InvalidInputError(
        f"task: envpool has no {world.task!r} of {world.environment}; it needs the backend gymnasium"
    )


def _make_cars(world: World, num_envs: int, mode: AutoresetMode, workers: int) -> Batch:
    look, discrete = split_look(world.variation), world.actions == "discrete"
    map_of(world.task, spaces.Discrete(len(ACTIONS)) if discrete else STEERING, world.environment)
    if world.backend == "gymnasium":
        maker = functools.partial(make_car, look.ground, discrete=discrete, far=look.far)
        return _gather(maker, world, num_envs, mode, workers)
    pixel_look(world.variation)
    task = get_task(world.task, family_of(world.environment))
    if task.alterations or task.slip:
        _refuse_task(world)
    from rlstitch.envs.families.car_racing.envpool_backend import EnvpoolCars

    return EnvpoolCars(
        num_envs,
        discrete=discrete,
        action_repeat=world.action_repeat,
        max_steps=task.max_steps or MAX_STEPS,
        step_cost=task.step_cost,
        autoreset_mode=mode,
    )


def _make_generic(world: World, num_envs: int, mode: AutoresetMode, workers: int) -> Batch:
    # What cannot work is refused before anything is started: an error in another process is harder to read.
    get_variation(world.variation).apply(np.zeros((1, 1, 1, 3), dtype=np.uint8))
    made = make_single(world.environment)
    try:
        image_space(made, world.environment)
        space = action_space(made, world.environment)
        check_actions(world, space)
        map_of(world.task, space, world.environment)
    finally:
        made.close()
    return _gather(functools.partial(make_single, world.environment), world, num_envs, mode, workers)


def _gather(
    maker: Callable[[], gymnasium.Env[Any, Any]], world: World, num_envs: int, mode: AutoresetMode, workers: int
) -> Batch:
    # Looked up here: a registry that was extended in this process need not be in another.
    task = get_task(world.task, family_of(world.environment))
    makers = [functools.partial(_make_one, maker, task, world.action_repeat)] * num_envs
    if workers > 0:
        return AsyncVectorEnv(makers, autoreset_mode=mode)
    return SyncVectorEnv(makers, autoreset_mode=mode)


def _make_one(maker: Callable[[], gymnasium.Env[Any, Any]], task: Task, times: int) -> gymnasium.Env[Any, Any]:
    made = with_task(maker(), task)
    return made if times == 1 else RepeatedAction(made, times)


def look_of(world: World) -> Look:
    """The part of a world's look that is a function of the images that its environment draws."""
    if not is_car_racing(world.environment):
        return get_variation(world.variation).apply
    return pixel_look(world.variation) if world.backend == "envpool" else split_look(world.variation).pixels.apply


def drawn_as(world: World) -> tuple[str, ...]:
    """What decides how the environments of a world draw a state, before any function of pixels; backends aside."""
    if is_car_racing(world.environment):
        look = split_look(world.variation)
        return ("green",) if world.backend == "envpool" else (look.ground, "far" * look.far)
    return (world.view,) if drawn_from_tiles(world.environment) else ()


class ImageVectorEnv(VectorWrapper[Any, Any, Any, Any, Any]):
    """A batch of environments that draw themselves, under a world's task and look.

    `underlying` holds the last observations before the look. Members, errors and seeding as `MiniGridVectorEnv`.
    """

    def __init__(self, environment: VectorEnv[Any, Any, Any], world: World, seed: int | None) -> None:
        super().__init__(environment)
        self.world = world
        self.underlying: Images = np.zeros((environment.num_envs, 0, 0, 0), dtype=np.uint8)
        drawn = cast("tuple[int, int, int]", environment.single_observation_space.shape)
        self._observer = Observer(world, look_of(world), drawn, environment.num_envs)
        self.single_observation_space = spaces.Box(0, 255, self._observer.shape, np.uint8)
        self.observation_space = batch_space(self.single_observation_space, environment.num_envs)
        self._space = cast("spaces.Discrete | spaces.Box", environment.single_action_space)
        self._actions = map_of(world.task, self._space, world.environment)
        if self._actions is not None:
            self.single_action_space = spaces.Discrete(len(self._actions))
            self.action_space = batch_space(self.single_action_space, environment.num_envs)
        self._disabled = environment.metadata["autoreset_mode"] == AutoresetMode.DISABLED
        self._waiting = Waiting(environment.num_envs)
        self._default_seed = seed

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Images, dict[str, Any]]:
        """Starts new episodes; see `MiniGridVectorEnv.reset`."""
        if seed is None and self._default_seed is not None:
            seed = self._default_seed
        self._default_seed = None
        rows, seeds = read_reset(seed, options, self.num_envs)
        mask = np.zeros(self.num_envs, dtype=np.bool_)
        mask[rows] = True
        every: list[int | None] = [None] * self.num_envs
        for row, one in zip(rows.tolist(), seeds, strict=True):
            every[row] = one
        observations, infos = self.env.reset(seed=every, options={"reset_mask": mask})  # type: ignore[arg-type]
        self._waiting.started(rows)
        self.underlying = observations
        return self._observer.start(rows, observations[rows]), infos

    def step(self, actions: npt.NDArray[Any]) -> tuple[Images, Any, Any, Any, dict[str, Any]]:
        """One step of every environment; see `MiniGridVectorEnv.step`."""
        self._waiting.check()
        chosen: npt.NDArray[Any]
        if isinstance(self._space, spaces.Box):
            chosen = apply_continuous(actions, self._space, self.num_envs)
        else:
            chosen = apply_actions(actions, cast("npt.NDArray[np.intp]", self._actions), self.num_envs)
        observations, rewards, terminations, truncations, infos = self.env.step(chosen)
        self.underlying = observations
        restarted = np.flatnonzero(infos.get("_final_obs", False))
        for row in restarted.tolist():
            infos["final_obs"][row] = self._observer.last(row, infos["final_obs"][row])
        if self._disabled:
            self._waiting.ended(terminations | truncations)
        seen = self._observer.step(observations)
        if len(restarted):
            seen = self._observer.start(restarted, observations[restarted])
        return seen, rewards, terminations, truncations, infos
