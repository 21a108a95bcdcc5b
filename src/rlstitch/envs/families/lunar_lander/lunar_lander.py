"""The family of LunarLander: its skies, its gravity and wind, and its two kinds of actions.

Skies and gravity are those of SAPS (arXiv:2503.01881).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rlstitch.envs.family import Family, Maker
from rlstitch.envs.tasks.task import Task, Word, read_number
from rlstitch.envs.tasks.words import TaskWords
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError

if TYPE_CHECKING:
    from gymnasium.vector import AutoresetMode

    from rlstitch.envs.observation import Shape
    from rlstitch.envs.single import ActionSpace
    from rlstitch.envs.vector import WorldVectorEnv

IDS = ("LunarLander-v3", "LunarLanderContinuous-v3")


def _set(environment: Any, **values: float) -> Any:
    for name, value in values.items():
        setattr(environment.unwrapped, name, value)
    return environment


def _gravity(argument: str | None) -> Task:
    value = read_number(argument or "", "gravity:NUMBER", "a number above -12 and below 0", low=-12, high=0)
    return Task(alterations=(functools.partial(_set, gravity=value),))


def _wind(argument: str | None) -> Task:
    given = "15" if argument is None else argument
    power = read_number(given, "wind or wind:POWER", "a number above 0 and below 20", high=20)
    return Task(alterations=(functools.partial(_set, enable_wind=True, wind_power=power),))


class LunarLander(Family):
    """Gymnasium's LunarLander, drawn here."""

    name = "LunarLander"
    sensors = ("state", "pixels")
    graft_defaults = MappingProxyType({"arch": "crop", "size": 96, "frame_stack": 4})
    tasks = TaskWords(
        "LunarLander",
        actions=("idle", "left", "main", "right"),
        idle="idle",
        own=(
            Word("gravity:NUMBER", "another gravity than -10, above -12 and below 0", _gravity),
            Word("wind:POWER", "wind of that power, below 20, and turbulence; wind alone: of Gymnasium's 15", _wind),
        ),
    )

    unused = ("view", "tile_size", "keys")

    @property
    def makers(self) -> Mapping[str, Maker]:
        """Gymnasium's physics."""
        return {"gymnasium": self._make}

    def claims(self, environment: str) -> bool:
        """Return whether it is the one version of the environment that is known here."""
        return environment in IDS

    def observation_kind(self, world: World) -> tuple[str, Shape]:
        """Return the sensor and the shape of what it observes."""
        from rlstitch.envs.families.lunar_lander.drawing import shown_shape
        from rlstitch.envs.family import with_sensor
        from rlstitch.envs.frames import seen_shape

        world = with_sensor(world)
        return f"{self.name} {world.sensor}", seen_shape(world, shown_shape(world))

    def action_space(self, world: World) -> ActionSpace:
        """Return four discrete actions, or the powers of main and side engines."""
        import numpy as np
        from gymnasium import spaces

        return spaces.Box(-1, 1, (2,), np.float32) if _continuous(world) else spaces.Discrete(4)

    def _make(self, world: World, num_envs: int, seed: int | None, mode: AutoresetMode) -> WorldVectorEnv:
        from rlstitch.envs.actions import map_of
        from rlstitch.envs.families.lunar_lander.drawing import SceneObserver
        from rlstitch.envs.families.lunar_lander.lander import SceneObservation, make_lander
        from rlstitch.envs.gymnasium_batch import GymnasiumBatch
        from rlstitch.envs.observation import observing
        from rlstitch.envs.vector import WorldVectorEnv

        task = self.task(world)
        if world.make_kwargs:
            raise InvalidInputError(
                f"make_kwargs: expected none for {world.environment}, which has the tasks gravity and wind, "
                f"found {world.make_kwargs}"
            )
        map_of(task, self.action_space(world), world.environment)
        observer = SceneObserver(world, num_envs)
        drawn = world.sensor == "pixels"
        maker = functools.partial(make_lander, continuous=_continuous(world), drawn=drawn)
        batch = GymnasiumBatch(
            maker,
            num_envs,
            task,
            observe=SceneObservation if drawn else observing,
            action_repeat=world.action_repeat,
        )
        return WorldVectorEnv(world, num_envs, batch, observer, task, seed=seed, autoreset_mode=mode)


def _continuous(world: World) -> bool:
    return world.actions == "continuous" or (world.actions == "own" and world.environment == IDS[1])


LUNAR_LANDER = LunarLander()
