"""The one place that puts an environment together: its wrappers in order, and its seeds.

Order: the environment; the task (actions); the batch of environments; the look (observations, final ones too).
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper

from rlstitch.envs.minigrid import MiniGridVectorEnv
from rlstitch.envs.registry import image_space, is_minigrid, make_single, num_actions
from rlstitch.envs.resets import Seeds
from rlstitch.envs.tasks import action_map
from rlstitch.envs.variations import get_variation
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError

Autoreset = Literal["same_step", "disabled"]
_MODES = {"same_step": AutoresetMode.SAME_STEP, "disabled": AutoresetMode.DISABLED}


def make_vec(
    world: World, num_envs: int, *, seed: int | None, autoreset: Autoreset = "same_step", workers: int = 0
) -> VectorEnv[Any, Any, Any]:
    """`num_envs` environments of a world, with images uint8 `(N, H, W, C)` and discrete actions.

    The first `reset()` without a seed takes `seed`: environment i gets seed + i. `autoreset` is "same_step" or
    "disabled". With `workers` above 0 an environment that is no MiniGrid runs in a process of its own, for each of
    `num_envs`; MiniGrids stay in this process, where a batch costs less than its way between processes.

    Raises UnknownNameError for an environment that is not registered, InvalidInputError for one without images or
    discrete actions, for a floor colour where there are no tiles, and for parameters out of range.
    """
    if autoreset not in _MODES:
        raise InvalidInputError(f"autoreset: expected one of {', '.join(_MODES)}, found {autoreset!r}")
    if num_envs < 1:
        raise InvalidInputError(f"num_envs: expected at least 1, found {num_envs}")
    if workers < 0:
        raise InvalidInputError(f"workers: expected at least 0, found {workers}")
    made = make_single(world.environment)
    minigrid = is_minigrid(made)
    made.close()
    result: VectorEnv[Any, Any, Any]
    if minigrid:
        result = MiniGridVectorEnv(world, num_envs, seed=seed, autoreset_mode=_MODES[autoreset])
    else:
        result = _make_generic(world, num_envs, seed, _MODES[autoreset], workers)
    result.action_space.seed(seed)
    result.single_action_space.seed(seed)
    return result


class MappedActions(gymnasium.ActionWrapper[Any, Any, Any]):
    """The controller's actions, put in the environment's order."""

    def __init__(self, environment: gymnasium.Env[Any, Any], mapping: npt.NDArray[np.intp]) -> None:
        super().__init__(environment)
        self._mapping = mapping

    def action(self, action: Any) -> int:
        """The environment's action for one of the controller's."""
        return int(self._mapping[action])


def _make_mapped(world: World) -> gymnasium.Env[Any, Any]:
    environment = make_single(world.environment)
    image_space(environment, world.environment)
    return MappedActions(environment, action_map(world.task, num_actions(environment, world.environment)))


def _make_generic(
    world: World, num_envs: int, seed: int | None, mode: AutoresetMode, workers: int
) -> VectorEnv[Any, Any, Any]:
    variation = get_variation(world.variation)
    variation.apply(np.zeros((1, 1, 1, 3), dtype=np.uint8))  # refuses a floor before anything is started
    makers = [functools.partial(_make_mapped, world) for _ in range(num_envs)]
    batch: VectorEnv[Any, Any, Any]
    if workers > 0:
        makers[0]().close()  # a fault in the environment is clearer here than from another process
        batch = AsyncVectorEnv(makers, autoreset_mode=mode)
    else:
        batch = SyncVectorEnv(makers, autoreset_mode=mode)
    return VariedImages(batch, world, seed)


class VariedImages(VectorWrapper[Any, Any, Any, Any, Any]):
    """A batch of image environments under a look, which is seeded at its first reset."""

    def __init__(self, environment: VectorEnv[Any, Any, Any], world: World, seed: int | None) -> None:
        super().__init__(environment)
        self.world = world
        self._variation = get_variation(world.variation)
        self._default_seed = seed
        space = environment.single_observation_space
        if isinstance(space, spaces.Box):
            self._single_observation_space = spaces.Box(0, 255, space.shape, np.uint8)

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts new episodes; see `MiniGridVectorEnv.reset`."""
        if seed is None and self._default_seed is not None:
            seed = self._default_seed
        self._default_seed = None
        # Gymnasium takes the mask out of the dictionary that it is given.
        observations, infos = self.env.reset(seed=seed, options=None if options is None else dict(options))  # type: ignore[arg-type]
        return self._variation.apply(observations), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step of every environment."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        final = infos.get("final_obs")
        if final is not None:
            for row in np.flatnonzero(infos["_final_obs"]):
                final[row] = self._variation.apply(final[row])
        return self._variation.apply(observations), rewards, terminations, truncations, infos
