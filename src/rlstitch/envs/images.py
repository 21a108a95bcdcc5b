"""Batches of environments that observe images: each environment with its task, then actions and looks of the batch.

Order: the environment; the task (rewards, length, dynamics); repeated actions; the batch of environments; the task
(what actions mean); the look (observations, final ones too).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from rlstitch.envs.actions import apply_continuous, apply_discrete, map_of
from rlstitch.envs.frames import Observer, RepeatedAction
from rlstitch.envs.looks.pixels import Images, PixelFunction
from rlstitch.envs.resets import Seeds, Waiting, read_reset
from rlstitch.envs.single import ActionSpace
from rlstitch.envs.tasks.task import Task
from rlstitch.envs.tasks.wrappers import with_task
from rlstitch.envs.world import World

Batch = VectorEnv[Any, Any, Any]


def gather(
    maker: Callable[[], gymnasium.Env[Any, Any]],
    num_envs: int,
    task: Task,
    *,
    action_repeat: int = 1,
    mode: AutoresetMode = AutoresetMode.SAME_STEP,
    workers: int = 0,
) -> Batch:
    """Return a batch of environments, each under a task; with workers above 0 each runs in a process of its own."""
    # The task is passed on: families that were added in this process need not be known in another.
    makers = [functools.partial(_make_one, maker, task, action_repeat)] * num_envs
    return (AsyncVectorEnv if workers > 0 else SyncVectorEnv)(makers, autoreset_mode=mode)


def _make_one(maker: Callable[[], gymnasium.Env[Any, Any]], task: Task, times: int) -> gymnasium.Env[Any, Any]:
    made = with_task(maker(), task)
    return made if times == 1 else RepeatedAction(made, times)


class ImageVectorEnv(VectorWrapper[Any, Any, Any, Any, Any]):
    """A batch of environments that observe images, under a world's task and look, as a Gymnasium vector environment.

    Observations are uint8 `(N, H, W, C)`, a fresh array at every step; the last one of an episode is in
    `infos["final_obs"]`. `underlying` holds the images of the environments themselves, before the look.

    Args:
        environment: the batch, which observes images and takes the environment's own actions.
        world: how images become observations.
        look: the function of images that is left of the world's look.
        task: gives the action map; its other changes are made in the batch.
        seed: of the first reset without one (environment i: seed + i).
    """

    def __init__(
        self, environment: VectorEnv[Any, Any, Any], world: World, look: PixelFunction, task: Task, seed: int | None
    ) -> None:
        super().__init__(environment)
        self.world = world
        self.underlying: Images = np.zeros((environment.num_envs, 0, 0, 0), dtype=np.uint8)
        drawn = cast("tuple[int, int, int]", environment.single_observation_space.shape)
        self._observer = Observer(world, look, drawn, environment.num_envs)
        self.single_observation_space = spaces.Box(0, 255, self._observer.shape, np.uint8)
        self.observation_space = batch_space(self.single_observation_space, environment.num_envs)
        self._space = cast("ActionSpace", environment.single_action_space)
        self._actions = map_of(task, self._space, world.environment)
        if self._actions is not None:
            self.single_action_space = spaces.Discrete(len(self._actions))
            self.action_space = batch_space(self.single_action_space, environment.num_envs)
        self._disabled = environment.metadata["autoreset_mode"] == AutoresetMode.DISABLED
        self._waiting = Waiting(environment.num_envs)
        self._default_seed = seed

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Images, dict[str, Any]]:
        """Start new episodes, in all environments or in those of `options["reset_mask"]`, bool `(N,)`.

        Args:
            seed: one number (environment i gets seed + i) or one for each environment.
            options: see above.

        Returns:
            The observations of all environments, and infos.

        Raises:
            InvalidInputError: for seeds or a mask of the wrong shape or kind.
        """
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
        """Take one step in every environment; rewards are float64.

        Raises:
            InvalidInputError: for actions out of range, and for environments whose episode is over and that were not
                reset.
        """
        self._waiting.check()
        chosen: npt.NDArray[Any]
        if isinstance(self._space, spaces.Box):
            chosen = apply_continuous(actions, self._space, self.num_envs)
        else:
            chosen = apply_discrete(actions, cast("npt.NDArray[np.intp]", self._actions), self.num_envs)
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
