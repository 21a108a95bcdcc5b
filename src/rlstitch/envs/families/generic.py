"""Environments that Gymnasium makes and that observe images: every environment of no family in particular.

A family of a user's own that needs no code of its own is an instance of `GymnasiumFamily`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from rlstitch.envs.family import Family, Maker
from rlstitch.envs.tasks.words import COMMON_WORDS, TaskWords
from rlstitch.envs.world import World

if TYPE_CHECKING:
    from gymnasium.vector import AutoresetMode

    from rlstitch.envs.single import ActionSpace
    from rlstitch.envs.vector import WorldVectorEnv


class GymnasiumFamily(Family):
    """Environments whose ids begin alike, and which observe images uint8 `(H, W, C)`.

    Args:
        name: in messages.
        prefixes: the beginnings of the ids.
        tasks: the words of tasks.
        modules: imported before an environment is made, because they register it.
        defaults: fields of a `World` that training configs take where they are not given.
        presets: folder of training configs.
    """

    def __init__(
        self,
        name: str,
        prefixes: tuple[str, ...],
        *,
        tasks: TaskWords = COMMON_WORDS,
        modules: tuple[str, ...] = (),
        defaults: Mapping[str, Any] = MappingProxyType({}),
        presets: Path | None = None,
    ) -> None:
        self.name, self.prefixes, self.tasks, self.modules = name, prefixes, tasks, modules
        self.defaults, self.presets = defaults, presets

    @property
    def makers(self) -> Mapping[str, Maker]:
        """Gymnasium's alone."""
        return {"gymnasium": self._make}

    def claims(self, environment: str) -> bool:
        """Return whether an id begins as those of this family."""
        return environment.startswith(self.prefixes)

    def observation_kind(self, world: World) -> tuple[str, tuple[int, int, int]]:
        """Return the environment's class and the shape of its images as they are seen."""
        from rlstitch.envs.frames import seen_shape

        kind, shape, _ = _facts(world.environment, self.modules, json.dumps(world.make_kwargs))
        return kind, seen_shape(world, shape)

    def action_space(self, world: World) -> ActionSpace:
        """Return the environment's own actions."""
        return _facts(world.environment, self.modules, json.dumps(world.make_kwargs))[2]

    def _make(self, world: World, num_envs: int, seed: int | None, mode: AutoresetMode, workers: int) -> WorldVectorEnv:
        import numpy as np

        from rlstitch.envs.actions import check_actions, map_of
        from rlstitch.envs.frames import Observer
        from rlstitch.envs.gymnasium_batch import GymnasiumBatch
        from rlstitch.envs.single import make_single
        from rlstitch.envs.vector import WorldVectorEnv

        # What cannot work is refused before anything is started: an error in another process is harder to read.
        look, task, space = self.pixel_look(world), self.task(world), self.action_space(world)
        look(np.zeros((1, 1, 1, 3), dtype=np.uint8))
        check_actions(world, space)
        map_of(task, space, world.environment)
        maker = functools.partial(make_single, world.environment, (*self.modules, *world.modules), **world.make_kwargs)
        batch = GymnasiumBatch(maker, num_envs, task, action_repeat=world.action_repeat, workers=workers)
        observer = Observer(world, look, batch.image_shape, num_envs)
        return WorldVectorEnv(world, num_envs, batch, observer, task, seed=seed, autoreset_mode=mode)


@functools.lru_cache(maxsize=256)
def _facts(
    environment: str, modules: tuple[str, ...], make_kwargs: str
) -> tuple[str, tuple[int, int, int], ActionSpace]:
    """The environment's class, the shape of its images and its actions."""
    from rlstitch.envs.single import action_space, image_space, make_single

    made = make_single(environment, modules, **json.loads(make_kwargs))
    try:
        shape = cast("tuple[int, int, int]", image_space(made, environment).shape)
        return type(made.unwrapped).__name__, shape, action_space(made, environment)
    finally:
        made.close()


OTHER = GymnasiumFamily("other", ("",))
