"""Gymnasium's environments as a simulator: each with its task and repeated actions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit, TransformReward

from rlstitch.envs.observation import Shape, observing
from rlstitch.envs.single import ActionSpace
from rlstitch.envs.tasks.task import ActionFilter, Task
from rlstitch.envs.vector import Flags, Rewards, Rows, Shown

Observe: TypeAlias = Callable[[gymnasium.Env[Any, Any]], gymnasium.Env[Any, Any]]


class PlayedAction(gymnasium.Wrapper[Any, Any, Any, Any]):
    """What the filter of a task lets through of an action of any kind, taken `times` times or until the episode ends.

    Rewards are summed, the last state is observed.
    """

    def __init__(self, environment: gymnasium.Env[Any, Any], action_filter: ActionFilter, times: int) -> None:
        super().__init__(environment)
        self._filter, self._times = action_filter, times

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self._filter.start(seed)
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one action."""
        total = 0.0
        for _ in range(self._times):
            image, reward, terminated, truncated, info = self.env.step(self._filter.carried_out(action))
            total += float(reward)
            if terminated or truncated:
                break
        return image, total, terminated, truncated, info


def with_task(environment: gymnasium.Env[Any, Any], task: Task, times: int = 1) -> gymnasium.Env[Any, Any]:
    """Return one environment with all that a task changes except the meaning of its actions, each taken `times` times.

    A new limit of steps replaces that of Gymnasium. One that the environment keeps of its own stays, where it is lower.
    """
    if task.max_steps is not None and isinstance(environment, TimeLimit):
        environment = environment.env
    for alteration in task.alterations:
        environment = alteration(environment)
    if task.max_steps is not None:
        environment = TimeLimit(environment, task.max_steps)
    if task.step_cost:
        environment = TransformReward(environment, lambda reward: float(reward) - task.step_cost)
    return PlayedAction(environment, task.make_filter(), times) if task.filters or times > 1 else environment


class GymnasiumBatch:
    """`num_envs` environments that observe images or vectors.

    Args:
        maker: makes one.
        num_envs: how many.
        task: all of it but the meaning of actions.
        observe: wraps one so that it observes one array; outermost, so that nothing is rendered that is not observed.
        action_repeat: steps for one action.
    """

    def __init__(
        self,
        maker: Callable[[], gymnasium.Env[Any, Any]],
        num_envs: int,
        task: Task,
        *,
        observe: Observe = observing,
        action_repeat: int = 1,
    ) -> None:
        makers = [functools.partial(_make_one, maker, task, action_repeat, observe)] * num_envs
        self._envs = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED)
        self.action_space = cast("ActionSpace", self._envs.single_action_space)
        self.shape = cast("Shape", self._envs.single_observation_space.shape)

    def start(self, rows: Rows, seeds: Sequence[int | None]) -> Shown:
        """Begin episodes in some environments; what these observe `(len(rows), ...)`."""
        mask = np.zeros(self._envs.num_envs, dtype=np.bool_)
        mask[rows] = True
        every: list[int | None] = [None] * self._envs.num_envs
        for row, seed in zip(rows.tolist(), seeds, strict=True):
            every[row] = seed
        shown: Shown = self._envs.reset(seed=every, options={"reset_mask": mask})[0]
        return shown[rows]

    def step(self, actions: npt.NDArray[Any]) -> tuple[Shown, Rewards, Flags, Flags, dict[str, Any]]:
        """Take one step everywhere; what is observed `(N, ...)`."""
        return self._envs.step(actions)

    def close(self) -> None:
        """Close the environments, and their processes."""
        self._envs.close()


def _make_one(
    maker: Callable[[], gymnasium.Env[Any, Any]], task: Task, times: int, observe: Observe
) -> gymnasium.Env[Any, Any]:
    return observe(with_task(maker(), task, times))
