"""From Gymnasium's vector environments to Stable-Baselines3's."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from rlstitch.envs.observation import Observations, box_of, is_image
from rlstitch.errors import InvalidInputError

Indices = None | int | Iterable[int]
Step = tuple[Observations, npt.NDArray[np.float32], npt.NDArray[np.bool_], list[dict[str, Any]]]


_OBSERVED = (("uint8", 3), ("float32", 1))


class StableBaselinesVecEnv(VecEnv):
    """A Gymnasium vector environment of images or vectors, in SAME_STEP mode, as Stable-Baselines3 takes it.

    Images become channels first, `(N, C, H, W)` uint8, as a view; vectors float32 `(N, D)` stay as they are. At the end
    of an episode its info carries `terminal_observation`, `TimeLimit.truncated` (a limit was reached and the task was
    not over: the value of the last state counts), `episode` (`r`, `l`, `t`: return, length, seconds since the start)
    and `is_success`.

    Rewards are limited to ±`reward_clip` and then multiplied by `reward_scale`; the returns in `episode` are neither.
    With `terminal_on_life_loss` the learner sees an end where a game goes on with a life less (arXiv:1312.5602); the
    info of such an end has no `episode`.

    Raises:
        InvalidInputError: where the environment resets in another mode or gives neither images nor vectors.
    """

    def __init__(
        self,
        environment: VectorEnv[Any, Any, Any],
        *,
        reward_scale: float = 1.0,
        reward_clip: float | None = None,
        terminal_on_life_loss: bool = False,
    ) -> None:
        mode = environment.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise InvalidInputError(f"environment: expected the autoreset mode SAME_STEP, found {mode}")
        space = environment.single_observation_space
        if not isinstance(space, spaces.Box) or (str(space.dtype), len(space.shape)) not in _OBSERVED:
            raise InvalidInputError(
                f"environment: expected images, a uint8 Box (H, W, C), or vectors, a float32 Box (D,), found {space}"
            )
        self.environment = environment
        self._reward_scale, self._reward_clip = reward_scale, np.inf if reward_clip is None else reward_clip
        self._terminal_on_life_loss = terminal_on_life_loss
        self._start = time.perf_counter()
        self._actions: npt.NDArray[Any] | None = None
        seen = box_of((space.shape[2], *space.shape[:2]) if is_image(space.shape) else space.shape)
        super().__init__(environment.num_envs, seen, environment.single_action_space)
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, dtype=np.int64)
        self._lives = np.zeros(self.num_envs, dtype=np.int64)

    def reset(self) -> Observations:
        """Start new episodes everywhere, with the seeds of the last `seed()` if one was given since."""
        seeds = None if self._seeds[0] is None else list(self._seeds)
        observations, _ = self.environment.reset(seed=seeds)  # type: ignore[arg-type]
        self._reset_seeds()
        self._reset_options()
        self._returns[:] = 0
        self._lengths[:] = 0
        self._lives[:] = 0  # known after the first step
        return _channels_first(observations)

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Take the actions of the next step."""
        self._actions = np.asarray(actions, dtype=self.action_space.dtype)  # samples of MultiBinary come as floats

    def step_wait(self) -> Step:
        """Take the step: observations, float32 rewards, ends of episodes, infos.

        Raises:
            InvalidInputError: without `step_async` before, and with `terminal_on_life_loss` where no lives are counted.
        """
        if self._actions is None:
            raise InvalidInputError("step_wait: expected actions from step_async, found none")
        observations, rewards, terminations, truncations, extra = self.environment.step(self._actions)
        self._actions = None
        self._returns += rewards
        self._lengths += 1
        done = terminations | truncations
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if done.any():
            for row in np.flatnonzero(done).tolist():
                infos[row] = self._final_info(row, bool(truncations[row] and not terminations[row]), extra)
            self._returns[done] = 0
            self._lengths[done] = 0
        if self._terminal_on_life_loss:
            done = done | self._life_lost(extra)
        learned = (rewards.clip(-self._reward_clip, self._reward_clip) * self._reward_scale).astype(np.float32)
        return _channels_first(observations), learned, done, infos

    def _life_lost(self, extra: dict[str, Any]) -> npt.NDArray[np.bool_]:
        if "lives" not in extra:
            raise InvalidInputError("terminal_on_life_loss: expected an environment that counts lives, found none")
        before, self._lives = self._lives, np.asarray(extra["lives"])
        return self._lives < before

    def _final_info(self, row: int, truncated: bool, extra: dict[str, Any]) -> dict[str, Any]:
        info = {
            "TimeLimit.truncated": truncated,
            "terminal_observation": _channels_first(extra["final_obs"][row][None])[0],
            "episode": {
                "r": float(self._returns[row]),
                "l": int(self._lengths[row]),
                "t": round(time.perf_counter() - self._start, 6),
            },
        }
        final = extra.get("final_info", {})
        for name in ("success", "is_success"):
            if name in final and final.get(f"_{name}", np.ones(self.num_envs, np.bool_))[row]:
                info["is_success"] = bool(final[name][row])
        return info

    def close(self) -> None:
        """Close the environments."""
        self.environment.close()

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        """Return the current frames, `(H, W, C)` each."""
        frames = self.environment.render()
        return [None] * self.num_envs if frames is None else [np.asarray(frame) for frame in frames]

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Return an attribute of the vector environment, once for each environment.

        Raises:
            AttributeError: where it has none of that name.
        """
        return [getattr(self.environment, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Raise InvalidInputError: the environments share one state."""
        raise InvalidInputError(f"set_attr: expected no change of attributes after the start, found {attr_name!r}")

    def env_method(self, method_name: str, *args: Any, indices: Indices = None, **kwargs: Any) -> list[Any]:
        """Raise InvalidInputError: there is no separate object for each environment."""
        raise InvalidInputError(f"env_method: expected no call of single environments, found {method_name!r}")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Indices = None) -> list[bool]:
        """Return True for `Monitor` alone, whose entries the infos have: `evaluate_policy` reads returns there."""
        return [wrapper_class is Monitor] * len(list(self._get_indices(indices)))


def _channels_first(observations: Observations) -> Observations:
    return np.moveaxis(observations, -1, 1) if is_image(observations.shape[1:]) else observations
