"""Where the cells of a matrix are played: in their own world, or all of them under one look or task."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlstitch.envs import World, check_task, get_variation, make_vec, task_words
from rlstitch.errors import IncompatibleError, InvalidInputError, UnknownNameError, require_known

CELL = "cell"
"""The encoder's look with the controller's task."""


@dataclass(frozen=True)
class Place:
    """A world that every cell is played in: a look and a task that replace those of the cell's own world."""

    text: str
    look: str | None = None
    """None: the encoder's."""
    task: str | None = None
    """None: the controller's."""

    def world(self, own: World) -> World:
        """Return the world of a cell in this place; `own` is the cell's own world.

        A world that is not the cell's own is stepped by Gymnasium, which has every look and task.

        Raises:
            UnknownNameError, InvalidInputError: where the environment has no such task.
        """
        world = replace(own, look=self.look or own.look, task=self.task or own.task)
        return own if world == own else replace(world, backend="gymnasium")


def read_places(worlds: Sequence[str]) -> tuple[Place, ...]:
    """Return the worlds that a user names: `cell`, `LOOK`, `LOOK/TASK`, or `cell/TASK` for the encoder's look.

    A world that is named twice counts once.

    Raises:
        UnknownNameError: for an unknown look or task, with the nearest.
        InvalidInputError: for none, an empty part, or an argument that a look or task does not take.
    """
    if not worlds:
        raise InvalidInputError("worlds: expected one or more, found none")
    return tuple({place.text: place for place in (_read(world.strip()) for world in worlds)}.values())


def _read(text: str) -> Place:
    name, slash, task = (part.strip() for part in text.partition("/"))
    if not name or (slash and not task):
        raise InvalidInputError(f"worlds: expected {CELL}, LOOK or LOOK/TASK, found {text!r}")
    look = None if name == CELL else get_variation(name).name
    if not task:
        return Place(look or CELL, look)
    for word in (part.partition(":")[0] for part in task.split("+")):
        require_known("task", word, task_words())
    check_task(task)
    return Place(f"{look or CELL}/{task}", look, task)


@functools.lru_cache(maxsize=1024)
def why_not(world: World) -> str:
    """Return why a world cannot be made; empty where it can. Not every environment has every look and task."""
    try:
        make_vec(world, 1, seed=0).close()
    except (IncompatibleError, InvalidInputError, UnknownNameError) as error:
        return str(error)
    return ""
