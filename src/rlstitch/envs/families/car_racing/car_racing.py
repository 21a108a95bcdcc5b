"""The family of CarRacing: the palette of its ground, its camera, and discrete or continuous actions.

Looks are those of R3L (arXiv:2404.12917) and SAPS (arXiv:2503.01881), and so is the task `slow`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rlstitch.envs.family import Family, Maker
from rlstitch.envs.looks.pixels import PixelFunction
from rlstitch.envs.tasks.task import Task, plain_word
from rlstitch.envs.tasks.words import TaskWords
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError

if TYPE_CHECKING:
    from gymnasium.vector import AutoresetMode

    from rlstitch.envs.observation import Shape
    from rlstitch.envs.single import ActionSpace
    from rlstitch.envs.vector import Simulator, WorldVectorEnv


def _slow_driving(environment: Any) -> Any:
    from rlstitch.envs.families.car_racing.cars import SlowDriving

    return SlowDriving(environment)


class CarRacing(Family):
    """Gymnasium's CarRacing, stepped by Gymnasium or by envpool."""

    name = "CarRacing"
    unused = ("view", "tile_size", "keys")
    look_free_backends = ("envpool",)
    tasks = TaskWords(
        "CarRacing",
        actions=("idle", "right", "left", "gas", "brake"),
        idle="idle",
        own=(
            plain_word(
                "slow",
                "no time cost, 3,000 steps; a speed above 35 ends the episode with -100",
                Task(alterations=(_slow_driving,), max_steps=3000),
            ),
        ),
    )

    @property
    def makers(self) -> Mapping[str, Maker]:
        """Gymnasium draws every look, envpool those that are functions of pixels."""
        return dict.fromkeys(("gymnasium", "envpool"), self._make)

    def claims(self, environment: str) -> bool:
        """Return whether it is the one version of the environment that is known here."""
        return environment == "CarRacing-v3"

    def observation_kind(self, world: World) -> tuple[str, Shape]:
        """Return the shape of the images as they are seen."""
        from rlstitch.envs.families.car_racing.cars import SIDE
        from rlstitch.envs.frames import seen_shape

        return self.name, seen_shape(world, (SIDE, SIDE, 3))

    def action_space(self, world: World) -> ActionSpace:
        """Return five discrete actions, or steering, gas and brake."""
        from gymnasium import spaces

        from rlstitch.envs.families.car_racing.cars import ACTIONS, STEERING

        return spaces.Discrete(len(ACTIONS)) if world.actions == "discrete" else STEERING

    def pixel_look(self, world: World) -> PixelFunction:
        """Return what is left of a look where the environment has its palette and camera; with envpool all of it."""
        from rlstitch.envs.families.car_racing.cars import pixel_look, split_look

        return pixel_look(world.look) if world.backend == "envpool" else split_look(world.look).pixels.apply

    def drawn_as(self, world: World) -> tuple[str, ...]:
        """Return the ground and whether the camera is far."""
        from rlstitch.envs.families.car_racing.cars import split_look

        look = split_look(world.look)
        return ("green",) if world.backend == "envpool" else (look.ground, "far" * look.far)

    def _checked_task(self, world: World) -> Task:
        from rlstitch.envs.actions import map_of

        task = self.task(world)
        if world.make_kwargs:
            raise InvalidInputError(f"make_kwargs: expected none for {world.environment}, found {world.make_kwargs}")
        map_of(task, self.action_space(world), world.environment)
        return task

    def _make(self, world: World, num_envs: int, seed: int | None, mode: AutoresetMode) -> WorldVectorEnv:
        from rlstitch.envs.families.car_racing.cars import MAX_STEPS, SIDE, drawn_when_seen, make_car, split_look
        from rlstitch.envs.frames import Observer
        from rlstitch.envs.gymnasium_batch import GymnasiumBatch
        from rlstitch.envs.vector import WorldVectorEnv

        look, task, repeat = split_look(world.look), self._checked_task(world), world.action_repeat
        observer = Observer(world, self.pixel_look(world), (SIDE, SIDE, 3), num_envs)
        simulator: Simulator
        if world.backend == "gymnasium":
            discrete = world.actions == "discrete"
            maker = functools.partial(make_car, look.ground, discrete=discrete, far=look.far, drawn=False)
            simulator = GymnasiumBatch(maker, num_envs, task, observe=drawn_when_seen, action_repeat=repeat)
        elif task.alterations or task.filters:
            raise InvalidInputError(
                f"task: envpool has no {world.task!r} of {world.environment}; it needs the backend gymnasium"
            )
        else:
            from rlstitch.envs.families.car_racing.cars import EnvpoolCars

            limit, cost = task.max_steps or MAX_STEPS, task.step_cost
            space = self.action_space(world)
            simulator = EnvpoolCars(num_envs, space, action_repeat=repeat, max_steps=limit, step_cost=cost)
        return WorldVectorEnv(world, num_envs, simulator, observer, task, seed=seed, autoreset_mode=mode)


CAR_RACING = CarRacing()
