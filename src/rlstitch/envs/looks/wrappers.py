"""Looks as Gymnasium wrappers, for any environment that observes images. They need no `World`.

Observations are uint8 images `(..., H, W, C)`, or a dictionary with such images under a key. Looks that an environment
has to draw itself (floor, colours of objects, camera) are refused.
"""

from __future__ import annotations

from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from rlstitch.envs.looks.look import Look, get_look
from rlstitch.envs.looks.pixels import Images
from rlstitch.errors import InvalidInputError


class LookWrapper(gymnasium.ObservationWrapper[Any, Any, Any], RecordConstructorArgs):
    """One environment, its images under a look.

    `look` is a text as `get_look` takes it, or a `Look`. Of a space of dictionaries the images under `key`
    change, all else stays as it is.

    Raises:
        UnknownNameError: for an unknown look.
        InvalidInputError: for a look that is no function of finished images, and where observations are no images
            uint8, or the symbolic numbers of a MiniGrid.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], look: str | Look, key: str = "image") -> None:
        RecordConstructorArgs.__init__(self, look=look, key=key)
        super().__init__(env)
        self.look, self.key = _read(look), key
        self.observation_space = _seen(self.look, env.observation_space, key, symbolic_shapes(env))

    def observation(self, observation: Any) -> Any:
        """Return an observation of the environment under the look."""
        return _apply(self.look, observation, self.key)


class VectorLookWrapper(VectorWrapper[Any, Any, Any, Any, Any]):
    """A batch of environments, their images under a look; the last ones of an episode in `infos["final_obs"]` too.

    Parameters and errors as `LookWrapper`.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], look: str | Look, key: str = "image") -> None:
        super().__init__(env)
        self.look, self.key = _read(look), key
        singles: list[gymnasium.Env[Any, Any]] = getattr(env, "envs", [])
        symbolic = symbolic_shapes(singles[0]) if singles else set()
        self.single_observation_space = _seen(self.look, env.single_observation_space, key, symbolic)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start new episodes."""
        observations, infos = self.env.reset(seed=cast("int | None", seed), options=options)
        return _apply(self.look, observations, self.key), self._final(infos)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take one step in every environment."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        return _apply(self.look, observations, self.key), rewards, terminations, truncations, self._final(infos)

    def _final(self, infos: dict[str, Any]) -> dict[str, Any]:
        if "final_obs" not in infos:
            return infos
        final = infos["final_obs"]
        if isinstance(final, np.ndarray) and final.dtype == object:  # None where an episode goes on
            changed = np.empty_like(final)
            for row, observation in enumerate(final):
                changed[row] = None if observation is None else _apply(self.look, observation, self.key)
        else:
            changed = _apply(self.look, final, self.key)
        return {**infos, "final_obs": changed}


def symbolic_shapes(env: gymnasium.Env[Any, Any]) -> set[tuple[int, ...]]:
    """Return shapes of observations of a MiniGrid that hold numbers of objects, colours and states, not images."""
    grid: Any = env.unwrapped
    if not hasattr(grid, "agent_view_size"):
        return set()
    return {(grid.agent_view_size, grid.agent_view_size, 3), (grid.width, grid.height, 3)}


def _read(look: str | Look) -> Look:
    look = get_look(look) if isinstance(look, str) else look
    look.check_finished()
    return look


def _seen(look: Look, space: spaces.Space[Any], key: str, symbolic: set[tuple[int, ...]]) -> spaces.Box | spaces.Dict:
    """The space of observations under the look."""
    if isinstance(space, spaces.Dict):
        if key not in space.spaces:
            raise InvalidInputError(f"key: expected one of {', '.join(space.spaces)}, found {key!r}")
        return spaces.Dict({**space.spaces, key: _seen(look, space.spaces[key], key, symbolic)})
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) < 3:
        raise InvalidInputError(f"env: expected observations of images, a uint8 Box (..., H, W, C), found {space}")
    if space.shape in symbolic:
        raise InvalidInputError(
            f"env: expected images, found the numbers of a MiniGrid {space.shape}; wrap it in MiniGrid's "
            "RGBImgPartialObsWrapper or RGBImgObsWrapper first"
        )
    look.apply(np.zeros(space.shape, dtype=np.uint8))  # a look that takes no such images is refused here
    return spaces.Box(0, 255, space.shape, np.uint8)


def _apply(look: Look, observation: Any, key: str) -> Any:
    if isinstance(observation, dict):
        return {**observation, key: look.apply(observation[key])}
    return look.apply(cast("Images", observation))
