"""A family: everything that is specific to one kind of environment.

Code above `rlstitch.envs` asks the family of an environment and never its id. A package adds a family of its own by the
entry point group `rlstitch.families` (see `rlstitch.envs.registry`).
"""

from __future__ import annotations

import functools
import json
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from rlstitch.envs.looks.pixels import Images, PixelFunction
from rlstitch.envs.registry import NamedFamily, all_families, named_family
from rlstitch.envs.tasks.task import Task
from rlstitch.envs.tasks.words import COMMON_WORDS, TaskWords, get_task
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError

if TYPE_CHECKING:
    import gymnasium
    from gymnasium.vector import AutoresetMode

    from rlstitch.envs.observation import Observations, Shape
    from rlstitch.envs.parts import Layout
    from rlstitch.envs.registry import Sensor
    from rlstitch.envs.single import ActionSpace
    from rlstitch.envs.vector import WorldVectorEnv

Maker: TypeAlias = "Callable[[World, int, int | None, AutoresetMode], WorldVectorEnv]"
"""From world, number of environments, seed and autoreset mode to a batch of environments."""


class Family(NamedFamily):
    """One kind of environment. A subclass fills in what it has; methods that are not abstract have a usual answer."""

    tasks: TaskWords = COMMON_WORDS
    gymnasium_kwargs: bool = True
    """Whether `make_kwargs` of a world are those of `gymnasium.make`; else the family reads them itself."""
    unused: tuple[str, ...] = ()
    """Fields of a world that say nothing here: anything but their default is refused."""
    symbolic: bool = False
    """Whether batches have symbolic views `symbolic()`, one for each state, for `render_views` in any look."""
    look_free_backends: tuple[str, ...] = ()
    """Backends whose images are the same under every look, which is then a function of pixels alone."""

    @property
    @abstractmethod
    def makers(self) -> Mapping[str, Maker]:
        """How batches are made, by backend."""

    def sensors_of(self, world: World) -> tuple[Sensor, ...]:
        """Return what can be observed of a world's environment, its own observation first.

        Raises:
            UnknownNameError, InvalidInputError: where the environment cannot be used.
        """
        return self.sensors

    @abstractmethod
    def observation_kind(self, world: World) -> tuple[str, Shape]:
        """Return what a world's observations show, in words, and their shape: `(H, W, C)`, or `(D,)` of vectors.

        Raises:
            UnknownNameError, InvalidInputError: where the environment cannot be used.
        """

    @abstractmethod
    def action_space(self, world: World) -> ActionSpace:
        """Return the actions of a world's environment before any task.

        Raises:
            UnknownNameError, InvalidInputError: where the environment cannot be used.
        """

    def own_actions(self, world: World) -> gymnasium.Space[Any]:
        """Return the actions as the environment itself counts and shapes them, see `rlstitch.envs.single`."""
        return self.action_space(world)

    def own_observations(self, world: World) -> gymnasium.Space[Any] | None:
        """Return the space of the environment's own observations; None where the family reads or draws others."""
        return None

    def layout(self, world: World) -> Layout:
        """Return what a world's observations hold, where they can be of several keys; empty: one image or vector.

        Raises:
            UnknownNameError, InvalidInputError: where the environment cannot be used.
        """
        return ()

    def recognises(self, made: gymnasium.Env[Any, Any]) -> bool:
        """Return whether an environment belongs to this family though its id does not say so."""
        return False

    def pixel_look(self, world: World) -> PixelFunction:
        """Return the part of a world's look that is a function of the images that its environment gives.

        Raises:
            InvalidInputError: where the look has parts that neither the environment draws nor finished images can have.
        """
        return world.parsed_look.apply

    def has_views(self, world: World) -> bool:
        """Return whether symbolic views say all that is observed of a world's states."""
        return self.symbolic

    def drawn_as(self, world: World) -> tuple[str, ...]:
        """Return what decides, besides the backend, how states are drawn before any function of pixels."""
        return ()

    def render_views(self, views: Images, world: World) -> Observations:
        """Return symbolic views as a world's sensor shows them: images uint8 `(N, H, W, C)` in its look, or vectors.

        Raises:
            InvalidInputError: where the family has no symbolic views, or these cannot be drawn.
        """
        raise InvalidInputError(f"environment: {world.environment} has no symbolic views")

    def task(self, world: World) -> Task:
        """Return the task of a world. Raises as `rlstitch.envs.tasks.words.get_task`."""
        return get_task(world.task, self.tasks)

    def shares_frames(self, world: World, other: World) -> bool:
        """Return whether one image of a state serves the looks of both worlds."""
        seen = {with_sensor(one).sensor for one in (world, other)}
        return (
            world.environment == other.environment and seen == {"pixels"} and world.backend in self.look_free_backends
        )


def family_of(world: World | str) -> Family:
    """Return the family of a world, or of an environment by its Gymnasium id.

    Where the id belongs to no family in particular, one environment is made, and each family is asked once.

    Raises:
        UnknownNameError: where no environment is registered under that id.
        InvalidInputError: where a package that provides the family is missing or provides something else.
    """
    environment = world if isinstance(world, str) else world.environment
    provider, made_with = ("", {}) if isinstance(world, str) else (world.family, world.make_kwargs)
    family = named_family(environment, provider)
    if not isinstance(family, Family):
        raise InvalidInputError(f"environment: the family of {environment} is no Family, found {type(family).__name__}")
    return _recognised(environment, json.dumps(made_with)) if family is all_families()[-1] else family


def with_sensor(world: World) -> World:
    """Return a world that states its sensor: where it does not, that of the environment's own observation.

    Raises:
        UnknownNameError, InvalidInputError: where the environment cannot be used.
    """
    return world if world.sensor else replace(world, sensor=family_of(world).sensors_of(world)[0])


@functools.lru_cache(maxsize=256)
def _recognised(environment: str, make_kwargs: str) -> Family:
    from rlstitch.envs.single import make_single

    made = make_single(environment, **json.loads(make_kwargs))
    made.close()
    families = [family for family in all_families() if isinstance(family, Family)]
    return next((family for family in families if family.recognises(made)), families[-1])
