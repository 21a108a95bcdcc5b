"""CarRacing by envpool: many cars in threads of this process."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlstitch.envs.envpool_batch import EnvpoolBatch
from rlstitch.envs.families.car_racing.cars import ACTIONS, ENVIRONMENT, MAX_STEPS, SIDE
from rlstitch.envs.single import ActionSpace
from rlstitch.envs.vector import Flags, Rewards, Rows, Shown


class EnvpoolCars:
    """`num_envs` cars as a simulator. A seed gives the same track every time, though not Gymnasium's of that seed.

    Args:
        num_envs: how many.
        action_space: five discrete actions, or steering, gas and brake.
        action_repeat: steps for one action, unless the episode ends before.
        max_steps: of an episode.
        step_cost: subtracted from the reward of each step.
    """

    def __init__(
        self,
        num_envs: int,
        action_space: ActionSpace,
        *,
        action_repeat: int = 1,
        max_steps: int = MAX_STEPS,
        step_cost: float = 0.0,
    ) -> None:
        self.action_space, self._repeat, self._cost = action_space, action_repeat, step_cost
        self._batch = EnvpoolBatch(ENVIRONMENT, num_envs, max_episode_steps=max_steps)
        self.start, self.close = self._batch.reset, self._batch.close

    def step(self, actions: npt.NDArray[Any]) -> tuple[Shown, Rewards, Flags, Flags, dict[str, Any]]:
        """Take one action everywhere; images `(N, 96, 96, 3)`."""
        chosen = ACTIONS[actions] if isinstance(self.action_space, spaces.Discrete) else actions
        count = len(actions)
        rewards = np.zeros(count)
        terminated, truncated = np.zeros((2, count), dtype=np.bool_)
        images = np.empty((count, SIDE, SIDE, 3), dtype=np.uint8)
        running: Rows = np.arange(count)
        for _ in range(self._repeat):
            images[running], reward, terminated[running], truncated[running] = self._batch.step(
                running, chosen[running]
            )
            rewards[running] += reward - self._cost
            running = running[~(terminated | truncated)[running]]
            if not len(running):
                break
        return images, rewards, terminated, truncated & ~terminated, {}
