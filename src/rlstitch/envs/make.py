"""The one place that puts an environment together: its wrappers in order, and its seeds.

Order: the environment; the task (actions); the batch of environments; the look (observations, final ones too).
"""

from __future__ import annotations

import functools
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper

from rlstitch.envs.actions import apply_continuous, map_of
from rlstitch.envs.minigrid import MiniGridVectorEnv
from rlstitch.envs.registry import action_space, image_space, is_minigrid, make_single
from rlstitch.envs.resets import Seeds, Waiting, read_reset
from rlstitch.envs.tasks import apply_actions
from rlstitch.envs.tiles import Images
from rlstitch.envs.variations import get_variation
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError

Autoreset = Literal["same_step", "disabled"]
_MODES = {"same_step": AutoresetMode.SAME_STEP, "disabled": AutoresetMode.DISABLED}


def make_vec(
    world: World, num_envs: int, *, seed: int | None, autoreset: Autoreset = "same_step", workers: int = 0
) -> MiniGridVectorEnv | ImageVectorEnv:
    """`num_envs` environments of a world, with images uint8 `(N, H, W, C)`.

    Actions are whole numbers `(N,)` where the environment's are discrete, float32 `(N, A)` within its bounds where they
    are continuous (task `standard` only).

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
    made = make_single(world.environment)
    minigrid = is_minigrid(made)
    result: MiniGridVectorEnv | ImageVectorEnv
    try:
        if not minigrid:
            # What cannot work is refused before anything is started: an error in another process is harder to read.
            image_space(made, world.environment)
            map_of(world.task, action_space(made, world.environment), world.environment)
    finally:
        made.close()
    if minigrid:
        result = MiniGridVectorEnv(world, num_envs, seed=seed, autoreset_mode=_MODES[autoreset])
    else:
        result = _make_generic(world, num_envs, seed, _MODES[autoreset], workers)
    result.action_space.seed(seed)
    result.single_action_space.seed(seed)
    return result


def _make_generic(world: World, num_envs: int, seed: int | None, mode: AutoresetMode, workers: int) -> ImageVectorEnv:
    get_variation(world.variation).apply(np.zeros((1, 1, 1, 3), dtype=np.uint8))
    makers = [functools.partial(make_single, world.environment) for _ in range(num_envs)]
    batch: VectorEnv[Any, Any, Any]
    if workers > 0:
        batch = AsyncVectorEnv(makers, autoreset_mode=mode)
    else:
        batch = SyncVectorEnv(makers, autoreset_mode=mode)
    return ImageVectorEnv(batch, world, seed)


class ImageVectorEnv(VectorWrapper[Any, Any, Any, Any, Any]):
    """A batch of environments that draw themselves, under a world's task and look.

    `underlying` holds the last observations before the look. Members, errors and seeding as `MiniGridVectorEnv`.
    """

    def __init__(self, environment: VectorEnv[Any, Any, Any], world: World, seed: int | None) -> None:
        super().__init__(environment)
        self.world = world
        self.underlying: Images = np.zeros((environment.num_envs, 0, 0, 0), dtype=np.uint8)
        self._variation = get_variation(world.variation)
        self._space = cast("spaces.Discrete | spaces.Box", environment.single_action_space)
        self._actions = map_of(world.task, self._space, world.environment)
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
        return self._variation.apply(observations), infos

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
        for row in np.flatnonzero(infos.get("_final_obs", False)).tolist():
            infos["final_obs"][row] = self._variation.apply(infos["final_obs"][row])
        if self._disabled:
            self._waiting.ended(terminations | truncations)
        return self._variation.apply(observations), rewards, terminations, truncations, infos
