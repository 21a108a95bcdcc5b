"""Which families of environments there are: the built-in ones, and those of installed packages.

A package adds a family by the entry point group `rlstitch.families`, whose value is an instance of
`rlstitch.envs.family.Family`. Here a family is looked up by the id of an environment alone: nothing is made.
"""

from __future__ import annotations

import functools
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from rlstitch.errors import InvalidInputError, RlstitchError

if TYPE_CHECKING:
    from rlstitch.envs.tasks.task import Word
    from rlstitch.envs.tasks.words import TaskWords

Sensor = Literal["pixels", "state", "ram", "symbolic"]
GROUP = "rlstitch.families"
OF_IMAGES = ("look", "size", "crop")
"""Fields of a `World` that are of pixels alone."""
_BUILT_IN = tuple(
    EntryPoint(name, f"rlstitch.envs.families.{value}", GROUP)
    for name, value in (
        ("minigrid", "minigrid.minigrid:MINIGRID"),
        ("car-racing", "car_racing.car_racing:CAR_RACING"),
        ("lunar-lander", "lunar_lander.lunar_lander:LUNAR_LANDER"),
        ("atari", "atari.atari:ATARI"),
        ("other", "generic:OTHER"),
    )
)


class NamedFamily(ABC):
    """What is known of a family without making an environment."""

    name: str
    tasks: TaskWords
    """The words of tasks, and the names of discrete actions."""
    sensors: tuple[Sensor, ...] = ("pixels",)
    """What can be observed, the environment's own observation first; see `Family.sensors_of`."""
    modules: tuple[str, ...] = ()
    """Modules to import before an environment is made, because they register it."""
    defaults: Mapping[str, Any] = MappingProxyType({})
    """Fields of a `World` that training configs take where they are not given, such as `size` or `frame_stack`; those
    of images only where pixels are observed."""
    graft_defaults: Mapping[str, Any] = MappingProxyType({})
    """What `graft` takes for a new encoder of images where it is not given: `arch`, and fields of a `World`."""
    presets: Path | None = None
    """Folder of training configs `*.yaml` that are found by name."""
    preset_prefix: str = ""
    """What names of presets begin with and default names of agents leave out."""

    def defaults_for(self, sensor: str | None) -> Mapping[str, Any]:
        """Return the defaults of worlds with a sensor; None: the environment's own observation."""
        if (sensor or self.defaults.get("sensor") or self.sensors[0]) == "pixels":
            return self.defaults
        return {name: value for name, value in self.defaults.items() if name not in OF_IMAGES}

    @abstractmethod
    def claims(self, environment: str) -> bool:
        """Return whether an environment's id belongs to this family."""

    def short_name(self, environment: str) -> str:
        """Return an environment's id without what all ids of the family have in common."""
        return environment

    def stem(self, environment: str) -> str:
        """Return the beginning of default names of agents: the short id in small letters, without its version."""
        return re.sub(r"-v\d+$", "", self.short_name(environment)).lower()

    def describe(self, world: Any) -> str:
        """Return in words how a world is rendered, as far as it is particular to this family; empty for nothing."""
        return ""

    def unseen(self, world: Any) -> str:
        """Return in words which part of the environment's observations agents are not shown though it tells episodes
        apart, such as a mission; empty for nothing."""
        return ""


@functools.cache
def built_in_families() -> tuple[NamedFamily, ...]:
    """Return the families of rlstitch; the last takes every environment."""
    return tuple(entry.load() for entry in _BUILT_IN)


@functools.cache
def installed_families() -> Mapping[str, NamedFamily]:
    """Return the families of other packages by their providers, `distribution:entry point`.

    One that cannot be imported is left out with a warning: only its own environments need it.
    """
    families: dict[str, NamedFamily] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        provider = f"{entry.dist.name if entry.dist is not None else 'unknown'}:{entry.name}"
        try:
            families[provider] = entry.load()
        except (ImportError, AttributeError) as error:
            warnings.warn(f"entry point {GROUP} {provider}: cannot load {entry.value}: {error}", stacklevel=2)
    return MappingProxyType(families)


def all_families() -> tuple[NamedFamily, ...]:
    """Return every family in the order in which they are asked; the last takes every environment."""
    *own, other = built_in_families()
    return (*own, *installed_families().values(), other)


def _claimed(environment: str) -> tuple[str, NamedFamily]:
    """The provider and the family of an id; other packages are loaded only where no built-in family claims it."""
    *own, other = built_in_families()
    for family in own:
        if family.claims(environment):
            return "", family
    installed = installed_families().items()
    return next(((name, family) for name, family in installed if family.claims(environment)), ("", other))


def provider_of(environment: str) -> str:
    """Return which package provides an environment's family, `distribution:entry point`; empty: rlstitch."""
    return _claimed(environment)[0]


def named_family(environment: str, provider: str = "") -> NamedFamily:
    """Return the family of an environment's id.

    Args:
        environment: a Gymnasium id.
        provider: the package that is known to provide it (see `provider_of`).

    Raises:
        InvalidInputError: where that package is not there.
    """
    if not provider:
        return _claimed(environment)[1]
    if provider not in installed_families():
        package, _, entry = provider.partition(":")
        raise InvalidInputError(
            f"environment: {environment} needs the package {package}, which is not installed or cannot be loaded "
            f"(entry point {GROUP} {entry!r})"
        )
    return installed_families()[provider]


def check_task(task: str, environment: str = "", provider: str = "") -> None:
    """Check that an environment has a task.

    Where the id belongs to no family in particular (a MiniGrid can be registered under any id), a task that some family
    has passes, and is checked again when the environment is made. So does any task of a family that is not installed.

    Raises:
        UnknownNameError, InvalidInputError: as `rlstitch.envs.tasks.words.get_task`.
    """
    from rlstitch.envs.tasks.words import (  # here, so that a list of families needs no NumPy
        COMMON_WORDS,
        get_task,
        has_task,
    )

    if provider and provider not in installed_families():
        return
    family = named_family(environment, provider)
    others = [other.tasks for other in all_families()] if family.tasks is COMMON_WORDS else []
    try:
        get_task(task, family.tasks)
    except RlstitchError:
        if not any(has_task(task, words) for words in others):
            raise


def task_words() -> Mapping[str, Word]:
    """Return every word of every family, by name."""
    words: dict[str, Word] = {}
    for family in reversed(all_families()):
        words.update(family.tasks.words)
    return MappingProxyType(words)
