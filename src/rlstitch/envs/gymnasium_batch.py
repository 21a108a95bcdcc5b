"""Gymnasium's environments as a simulator: each with its task and repeated actions, in this process or in others."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from rlstitch.envs.frames import RepeatedAction
from rlstitch.envs.single import ActionSpace
from rlstitch.envs.tasks.task import Task
from rlstitch.envs.tasks.wrappers import with_task
from rlstitch.envs.vector import Flags, Rewards, Rows, Shown


class GymnasiumBatch:
    """`num_envs` environments that observe images.

    Args:
        maker: makes one.
        num_envs: how many.
        task: all of it but the meaning of actions.
        action_repeat: steps for one action.
        workers: with a number above 0 each environment runs in a process of its own.
    """

    def __init__(
        self,
        maker: Callable[[], gymnasium.Env[Any, Any]],
        num_envs: int,
        task: Task,
        *,
        action_repeat: int = 1,
        workers: int = 0,
    ) -> None:
        # The task is passed on: families that were added in this process need not be known in another.
        makers = [functools.partial(_make_one, maker, task, action_repeat)] * num_envs
        vector = AsyncVectorEnv if workers > 0 else SyncVectorEnv
        self._envs = vector(makers, autoreset_mode=AutoresetMode.DISABLED)
        self.action_space = cast("ActionSpace", self._envs.single_action_space)
        self.image_shape = cast("tuple[int, int, int]", self._envs.single_observation_space.shape)

    def start(self, rows: Rows, seeds: Sequence[int | None]) -> Shown:
        """Begin episodes in some environments; their images `(len(rows), H, W, C)`."""
        mask = np.zeros(self._envs.num_envs, dtype=np.bool_)
        mask[rows] = True
        every: list[int | None] = [None] * self._envs.num_envs
        for row, seed in zip(rows.tolist(), seeds, strict=True):
            every[row] = seed
        images: Shown = self._envs.reset(seed=every, options={"reset_mask": mask})[0]
        return images[rows]

    def step(self, actions: npt.NDArray[Any]) -> tuple[Shown, Rewards, Flags, Flags, dict[str, Any]]:
        """Take one step everywhere; images `(N, H, W, C)`."""
        return self._envs.step(actions)

    def close(self) -> None:
        """Close the environments, and their processes."""
        self._envs.close()


def _make_one(maker: Callable[[], gymnasium.Env[Any, Any]], task: Task, times: int) -> gymnasium.Env[Any, Any]:
    made = with_task(maker(), task)
    return made if times == 1 else RepeatedAction(made, times)
