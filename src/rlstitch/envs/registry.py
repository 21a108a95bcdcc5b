"""Which families of environments there are: the built-in ones, and those of installed packages.

A package adds a family by the entry point group `rlstitch.families`, whose value is an instance of
`rlstitch.envs.family.Family`. Here a family is looked up by the id of an environment alone: nothing is made.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from rlstitch.errors import InvalidInputError, RlstitchError

if TYPE_CHECKING:
    from rlstitch.envs.tasks.task import Word
    from rlstitch.envs.tasks.words import TaskWords

GROUP = "rlstitch.families"
_BUILT_IN = tuple(
    EntryPoint(name, f"rlstitch.envs.families.{value}", GROUP)
    for name, value in (
        ("minigrid", "minigrid.minigrid:MINIGRID"),
        ("car-racing", "car_racing.car_racing:CAR_RACING"),
        ("other", "generic:OTHER"),
    )
)


class NamedFamily(Protocol):
    """What is known of a family without making an environment."""

    name: str
    tasks: TaskWords
    sensors: tuple[str, ...]
    modules: tuple[str, ...]
    defaults: Mapping[str, Any]
    presets: Path | None
    preset_prefix: str

    def claims(self, environment: str) -> bool:
        """Return whether an environment's id belongs to this family."""
        ...

    def short_name(self, environment: str) -> str:
        """Return an environment's id without what all ids of the family have in common."""
        ...

    def stem(self, environment: str) -> str:
        """Return the beginning of default names of agents."""
        ...

    def describe(self, world: Any) -> str:
        """Return in words how a world is drawn, as far as it is particular to this family; empty for nothing."""
        ...


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


def provider_of(environment: str) -> str:
    """Return which package provides an environment's family, `distribution:entry point`; empty: rlstitch."""
    if any(family.claims(environment) for family in built_in_families()[:-1]):
        return ""
    return next((name for name, family in installed_families().items() if family.claims(environment)), "")


def named_family(environment: str, provider: str = "") -> NamedFamily:
    """Return the family of an environment's id.

    Args:
        environment: a Gymnasium id.
        provider: the package that is known to provide it (see `provider_of`).

    Raises:
        InvalidInputError: where that package is not there.
    """
    if provider and provider not in installed_families():
        package, _, entry = provider.partition(":")
        raise InvalidInputError(
            f"environment: {environment} needs the package {package}, which is not installed or cannot be loaded "
            f"(entry point {GROUP} {entry!r})"
        )
    if provider:
        return installed_families()[provider]
    *_, other = families = built_in_families()
    known = next(family for family in families if family.claims(environment))
    if known is not other:
        return known
    return next((family for family in installed_families().values() if family.claims(environment)), other)


def check_task(task: str, environment: str = "", provider: str = "") -> None:
    """Check that an environment has a task.

    Where the id belongs to no family in particular (a MiniGrid can be registered under any id), a task that some family
    has passes, and is checked again when the environment is made. So does any task of a family that is not installed.

    Raises:
        UnknownNameError, InvalidInputError: as `rlstitch.envs.tasks.words.get_task`.
    """
    from rlstitch.envs.tasks.words import COMMON_WORDS, get_task  # here, so that a list of families needs no NumPy

    if provider and provider not in installed_families():
        return
    family = named_family(environment, provider)
    try:
        get_task(task, family.tasks)
    except RlstitchError:
        if family.tasks is not COMMON_WORDS or not any(_has_task(other, task) for other in all_families()):
            raise


def _has_task(family: NamedFamily, task: str) -> bool:
    from rlstitch.envs.tasks.words import get_task

    try:
        get_task(task, family.tasks)
    except RlstitchError:
        return False
    return True


def task_words() -> Mapping[str, Word]:
    """Return every word of every family, by name."""
    words: dict[str, Word] = {}
    for family in reversed(all_families()):
        words.update(family.tasks.words)
    return MappingProxyType(words)
