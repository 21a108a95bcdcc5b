"""CarRacing by envpool: many cars in threads of this process, as a Gymnasium vector environment of drawn images."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rlstitch.envs.envpool_batch import EnvpoolBatch, Rows
from rlstitch.envs.families.car_racing.cars import ACTIONS, ENVIRONMENT, MAX_STEPS, SIDE, STEERING
from rlstitch.envs.looks.pixels import Images
from rlstitch.envs.resets import Seeds, final_observations, read_reset


class EnvpoolCars(VectorEnv[Images, npt.NDArray[Any], npt.NDArray[Any]]):
    """`num_envs` cars. Actions are those of Gymnasium, discrete `(N,)` or continuous `(N, 3)`.

    An action is taken `action_repeat` times, or until the episode ends. Episodes are cut after `max_steps` steps, and
    the reward of each is less by `step_cost`. `autoreset_mode` is SAME_STEP or DISABLED.
    A seed gives the same track every time, though not Gymnasium's of that seed.
    """

    def __init__(
        self,
        num_envs: int,
        *,
        discrete: bool,
        action_repeat: int = 1,
        max_steps: int = MAX_STEPS,
        step_cost: float = 0.0,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> None:
        self.num_envs = num_envs
        self._discrete, self._repeat, self._cost = discrete, action_repeat, step_cost
        self._same_step = autoreset_mode == AutoresetMode.SAME_STEP
        self._batch = EnvpoolBatch(ENVIRONMENT, num_envs, max_episode_steps=max_steps)
        self._images: Images = np.zeros((num_envs, SIDE, SIDE, 3), dtype=np.uint8)
        self.metadata = {"render_modes": [], "autoreset_mode": autoreset_mode}
        self.single_observation_space = spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
        self.single_action_space = spaces.Discrete(len(ACTIONS)) if discrete else STEERING
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(cast("Any", self.single_action_space), num_envs)

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Images, dict[str, Any]]:
        """Starts new episodes, in all environments or in those of `options["reset_mask"]`."""
        rows, seeds = read_reset(seed, options, self.num_envs)
        self._images = self._images.copy()
        self._images[rows] = self._batch.reset(rows, seeds)
        return self._images, {}

    def step(self, actions: npt.NDArray[Any]) -> tuple[Images, Any, Any, Any, dict[str, Any]]:
        """One decision of every environment; rewards are float64."""
        chosen = ACTIONS[actions] if self._discrete else np.asarray(actions, dtype=np.float32)
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), dtype=np.bool_)
        images = np.empty_like(self._images)
        running: Rows = np.arange(self.num_envs)
        for _ in range(self._repeat):
            images[running], reward, terminated[running], truncated[running] = self._batch.step(
                running, chosen[running]
            )
            rewards[running] += reward - self._cost
            running = running[~(terminated | truncated)[running]]
            if not len(running):
                break
        truncated &= ~terminated
        self._images = images
        return images, rewards, terminated, truncated, self._restart(terminated | truncated)

    def _restart(self, done: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """In SAME_STEP mode the next episodes begin at once; the last images go into the infos."""
        if not self._same_step or not done.any():
            return {}
        infos = {**final_observations(self._images, done), "final_info": {}, "_final_info": done}
        rows = np.flatnonzero(done)
        self._images[rows] = self._batch.reset(rows, [None] * len(rows))
        return infos

    def close_extras(self, **kwargs: Any) -> None:
        """Ends the environments."""
        self._batch.close()
