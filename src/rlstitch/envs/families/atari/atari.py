"""The family of Atari games: every `ALE/<Game>-v5` of the Arcade Learning Environment, from RGB images or RAM."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from rlstitch.envs.family import Family, Maker
from rlstitch.envs.looks.pixels import PixelFunction
from rlstitch.envs.tasks.words import TaskWords
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError

if TYPE_CHECKING:
    from gymnasium.vector import AutoresetMode

    from rlstitch.envs.observation import Shape
    from rlstitch.envs.single import ActionSpace
    from rlstitch.envs.vector import WorldVectorEnv


class Atari(Family):
    """Games stepped by `ale_py.vector_env.AtariVectorEnv`; with the sensor `ram`, by single games in lockstep.

    Its images arrive resized to `World.size` (whole, where that is None or `World.crop` is given), and are the same
    under every look: looks are functions of these images, colours of floors too. A step is `frameskip` frames, the
    images of the last two of which are joined by their maximum; rewards are the raw score, episodes whole games.
    """

    name = "Atari"
    sensors = ("pixels", "ram")
    look_free_backends = ("gymnasium",)
    defaults = MappingProxyType({"size": 84, "frame_stack": 4})
    tasks = TaskWords("Atari")

    gymnasium_kwargs = False
    unused = ("view", "tile_size", "keys")

    @property
    def makers(self) -> Mapping[str, Maker]:
        """ALE's own batch, under the name of the library whose ids these are."""
        return {"gymnasium": self._make}

    def claims(self, environment: str) -> bool:
        """Return whether it is a game's current version."""
        return environment.startswith("ALE/") and environment.endswith("-v5")

    def observation_kind(self, world: World) -> tuple[str, Shape]:
        """Return the game, and the shape of its images or bytes as they are seen."""
        from rlstitch.envs.frames import seen_shape

        return world.environment, seen_shape(world, self._shown_shape(world))

    def action_space(self, world: World) -> ActionSpace:
        """Return the actions that the game uses, or all 18 with `full_action_space`."""
        from gymnasium import spaces

        from rlstitch.envs.families.atari.games import facts, read_settings

        game = facts(world.environment)
        return spaces.Discrete(game.all_actions if read_settings(world)["full_action_space"] else game.actions)

    def pixel_look(self, world: World) -> PixelFunction:
        """Return the whole look as a function of the images; a floor is a coloured glass before them.

        Raises:
            InvalidInputError: where the look moves the camera or changes the colours of objects.
        """
        from rlstitch.envs.families.atari.games import behind_glass
        from rlstitch.envs.looks.look import pixel_part

        look = world.parsed_look
        if look.camera is not None or look.palette:
            raise InvalidInputError(f"look: {world.environment} has no {look.name!r}: its images are finished")
        rest, floor = pixel_part(look), look.floor
        return rest.apply if floor is None else lambda images: rest.apply(behind_glass(images, floor))

    def drawn_as(self, world: World) -> tuple[str, ...]:
        """Return the sensor, and the size to which the emulator's images are resized."""
        from rlstitch.envs.families.atari.games import drawn_size

        return world.sensor or "pixels", str(drawn_size(world))

    def shares_frames(self, world: World, other: World) -> bool:
        """Return whether one image of a state serves both worlds: it does where they are resized alike."""
        return super().shares_frames(world, other) and self.drawn_as(world) == self.drawn_as(other)

    def _make(self, world: World, num_envs: int, seed: int | None, mode: AutoresetMode) -> WorldVectorEnv:
        from rlstitch.envs.actions import check_actions
        from rlstitch.envs.families.atari.games import AtariBatch, RamBatch
        from rlstitch.envs.frames import Observer
        from rlstitch.envs.vector import WorldVectorEnv

        task = self.task(world)
        check_actions(world, self.action_space(world))
        if world.action_repeat != 1:
            raise InvalidInputError(
                f"action_repeat: expected 1 for {world.environment}, whose frame skip is frameskip in make_kwargs, "
                f"found {world.action_repeat}"
            )
        observer = Observer(world, self.pixel_look(world), self._shown_shape(world), num_envs)
        made = (RamBatch if world.sensor == "ram" else AtariBatch)(world, num_envs, task, self.action_space(world))
        return WorldVectorEnv(world, num_envs, made, observer, task, seed=seed, autoreset_mode=mode)

    def _shown_shape(self, world: World) -> Shape:
        from rlstitch.envs.families.atari.games import RAM, drawn_size, facts

        return (RAM,) if world.sensor == "ram" else (*(drawn_size(world) or facts(world.environment).screen), 3)


ATARI = Atari()
