"""Environments that Gymnasium makes: every environment of no family in particular.

A family of a user's own that needs no code of its own is an instance of `GymnasiumFamily`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from rlstitch.envs.family import Family, Maker, with_sensor
from rlstitch.envs.tasks.words import COMMON_WORDS, TaskWords
from rlstitch.envs.world import World

if TYPE_CHECKING:
    import gymnasium
    from gymnasium.vector import AutoresetMode

    from rlstitch.envs.observation import Shape
    from rlstitch.envs.parts import Layout
    from rlstitch.envs.registry import Sensor
    from rlstitch.envs.single import ActionSpace
    from rlstitch.envs.vector import WorldVectorEnv

    Facts: TypeAlias = tuple[str, Sensor, bool, ActionSpace, gymnasium.Space[Any], gymnasium.Space[Any]]


class GymnasiumFamily(Family):
    """Environments whose ids begin alike, with their own observation as a sensor, and pixels where they render.

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

    def sensors_of(self, world: World) -> tuple[Sensor, ...]:
        """Return what the environment observes itself, and pixels where it renders."""
        own, renders = self._facts(world)[1:3]
        return (own, "pixels") if renders and own != "pixels" else (own,)

    def observation_kind(self, world: World) -> tuple[str, Shape]:
        """Return the environment's class and the shape of its observations as they are seen."""
        from rlstitch.envs.parts import shape_of

        layout = self.layout(world)
        return " ".join([self._facts(world)[0], *(part.key for part in layout if part.key)]), shape_of(layout)

    def layout(self, world: World) -> Layout:
        """Return what the environment's own observation or its rendering holds, as it is seen."""
        from rlstitch.envs.frames import seen_layout

        world = with_sensor(world)
        return seen_layout(world, self._shown(world))

    def action_space(self, world: World) -> ActionSpace:
        """Return the environment's own actions."""
        return self._facts(world)[3]

    def _key(self, world: World) -> tuple[str, tuple[str, ...], str, tuple[str, ...]]:
        return world.environment, self.modules, json.dumps(world.make_kwargs), world.keys

    def _shown(self, world: World) -> Layout:
        return _shown(*self._key(world), str(world.sensor))

    def _facts(self, world: World) -> Facts:
        return _facts(*self._key(world))

    def own_observations(self, world: World) -> gymnasium.Space[Any] | None:
        """Return the space of the environment's own observations, where these are what the world's sensor reads."""
        _, own, _, _, _, space = self._facts(world)
        return space if with_sensor(world).sensor == own else None

    def own_actions(self, world: World) -> gymnasium.Space[Any]:
        """Return the actions as the environment itself counts and shapes them."""
        return self._facts(world)[4]

    def _make(self, world: World, num_envs: int, seed: int | None, mode: AutoresetMode) -> WorldVectorEnv:
        import numpy as np

        from rlstitch.envs.actions import check_actions, map_of
        from rlstitch.envs.frames import Observer, seen_layout
        from rlstitch.envs.gymnasium_batch import GymnasiumBatch
        from rlstitch.envs.observation import observing
        from rlstitch.envs.single import make_single
        from rlstitch.envs.vector import WorldVectorEnv

        # What cannot work is refused before anything is started.
        look, task, space = self.pixel_look(world), self.task(world), self.action_space(world)
        look(np.zeros((1, 1, 1, 3), dtype=np.uint8))
        seen_layout(world, layout := self._shown(world))
        check_actions(world, space)
        map_of(task, space, world.environment)
        observe = functools.partial(observing, sensor=world.sensor, name=world.environment, keys=world.keys)
        kwargs = _kwargs(world.make_kwargs, rendered=world.sensor != self.sensors_of(world)[0])
        maker = functools.partial(make_single, world.environment, (*self.modules, *world.modules), **kwargs)
        batch = GymnasiumBatch(maker, num_envs, task, observe=observe, action_repeat=world.action_repeat)
        observer = Observer(world, look, batch.shape, num_envs, layout)
        return WorldVectorEnv(world, num_envs, batch, observer, task, seed=seed, autoreset_mode=mode)


def _kwargs(make_kwargs: Mapping[str, Any], *, rendered: bool) -> dict[str, Any]:
    return {**({"render_mode": "rgb_array"} if rendered else {}), **make_kwargs}


@functools.lru_cache(maxsize=256)
def _facts(environment: str, modules: tuple[str, ...], make_kwargs: str, keys: tuple[str, ...]) -> Facts:
    """The environment's class, the sensor of its own observation, whether it renders, its actions, its own form of
    these, and the space of its own observations."""
    from gymnasium.wrappers import TransformAction

    from rlstitch.envs.observation import own_sensor
    from rlstitch.envs.single import action_space, make_single

    made = make_single(environment, modules, **json.loads(make_kwargs))
    try:
        sensor = own_sensor(made.observation_space, environment, keys)
        renders = "rgb_array" in made.metadata.get("render_modes", ())
        actions = action_space(made, environment)
        own = made.env.action_space if isinstance(made, TransformAction) else actions
        return type(made.unwrapped).__name__, sensor, renders, actions, own, made.observation_space
    finally:
        made.close()


@functools.lru_cache(maxsize=256)
def _shown(environment: str, modules: tuple[str, ...], make_kwargs: str, keys: tuple[str, ...], sensor: str) -> Layout:
    """What the environment shows by a sensor."""
    from rlstitch.envs.observation import observing
    from rlstitch.envs.parts import read_parts
    from rlstitch.envs.single import make_single

    own = _facts(environment, modules, make_kwargs, keys)[1]
    made = make_single(environment, modules, **_kwargs(json.loads(make_kwargs), rendered=sensor != own))
    try:
        if sensor != own:
            made, keys = observing(made, sensor, name=environment, keys=keys), ()
        return read_parts(made.observation_space, environment, keys)[0]
    finally:
        made.close()


OTHER = GymnasiumFamily("other", ("",))
