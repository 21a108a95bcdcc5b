"""Tasks: what changes in the meaning of actions, in rewards, in the length of episodes or in the dynamics.

Frames are left alone. A task is a text of words joined with a plus, `without:drop+length:200`, applied from left to
right; a `Word` turns its part of the text into a `Task`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rlstitch.errors import InvalidInputError

ActionMap = npt.NDArray[np.intp]
ActionRule = Callable[[ActionMap], ActionMap]
"""From the environment's action of each action of the controller to another such list, as long or shorter."""
Alteration = Callable[[Any], Any]
"""From one made environment to the same or a wrapped one. It runs in the process of the environment."""


class ActionFilter(Protocol):
    """What decides, step by step, which action one environment carries out."""

    def start(self, seed: int | None) -> None:
        """Begin an episode; without a seed random numbers go on, as those of an environment do."""

    def carried_out(self, action: Any) -> Any:
        """Return the action that is carried out where `action` was chosen."""


@dataclass(frozen=True)
class Filters:
    """Several action filters as one; as with wrappers, the last is asked first."""

    parts: tuple[ActionFilter, ...]

    def start(self, seed: int | None) -> None:
        """Begin an episode."""
        for part in self.parts:
            part.start(seed)

    def carried_out(self, action: Any) -> Any:
        """Return the action that all of them let through."""
        return functools.reduce(lambda chosen, part: part.carried_out(chosen), reversed(self.parts), action)


@dataclass(frozen=True)
class Task:
    """One task; the defaults change nothing. Fields are applied in the order given here."""

    name: str = "standard"
    rules: tuple[ActionRule, ...] = ()
    """Changes of the action map, one after the other."""
    alterations: tuple[Alteration, ...] = ()
    """A family's own changes to each environment; those of a MiniGrid change it in place and return it."""
    max_steps: int | None = None
    """Steps of the environment after which an episode is truncated, in place of the environment's own limit."""
    step_cost: float = 0.0
    """Subtracted from the reward of every step of the environment."""
    filters: Mapping[str, Callable[[], ActionFilter]] = field(default_factory=dict)
    """Makers of action filters by the word they come from, one filter for each environment."""

    @property
    def changes_steps(self) -> bool:
        """Whether more than the meaning of actions changes."""
        return bool(self.alterations or self.max_steps is not None or self.step_cost or self.filters)

    def make_filter(self) -> ActionFilter:
        """Return all filters of one environment as one."""
        return Filters(tuple(make() for make in self.filters.values()))

    def then(self, other: Task) -> Task:
        """Return this task followed by the other; a later number replaces an earlier one."""
        return Task(
            f"{self.name}+{other.name}",
            self.rules + other.rules,
            self.alterations + other.alterations,
            other.max_steps or self.max_steps,
            other.step_cost or self.step_cost,
            {**self.filters, **other.filters},
        )

    def action_map(self, num_actions: int) -> ActionMap:
        """Return the environment's action for each action of the controller, `(n,)`, n <= num_actions, all distinct.

        Raises:
            InvalidInputError: where the task needs more actions than that.
        """
        if num_actions < 1:
            raise InvalidInputError(f"num_actions: expected at least 1, found {num_actions}")
        mapping: ActionMap = np.arange(num_actions, dtype=np.intp)
        for rule in self.rules:
            mapping = rule(mapping)
        mapping.flags.writeable = False
        return mapping


@dataclass(frozen=True)
class Word:
    """One word of a task's text: `name` or `name:argument`."""

    usage: str
    """How it is written, say `length:STEPS`."""
    description: str
    make: Callable[[str | None], Task]
    """The task, unnamed, for what follows the colon (None: no colon)."""

    @property
    def name(self) -> str:
        """What stands before the colon."""
        return self.usage.partition(":")[0]

    def task(self, text: str) -> Task:
        """Return the task of a text that begins with this word.

        Raises:
            InvalidInputError: for an argument that does not fit.
        """
        _, colon, argument = text.partition(":")
        return replace(self.make(argument if colon else None), name=text)


def plain_word(usage: str, description: str, task: Task) -> Word:
    """Return a word that takes no argument."""

    def make(argument: str | None) -> Task:
        if argument is not None:
            raise InvalidInputError(f"task: expected {usage!r} with nothing behind it, found '{usage}:{argument}'")
        return task

    return Word(usage, description, make)


def number_word(
    usage: str, description: str, expected: str, make: Callable[[float], Task], *, high: float = math.inf
) -> Word:
    """Return a word whose argument is a number above 0 and below `high`; `expected` says so in words."""

    return Word(usage, description, lambda argument: make(read_number(argument, usage, expected, high=high)))


def read_number(argument: str | None, usage: str, expected: str, *, low: float = 0.0, high: float) -> float:
    """Return a number above `low` and below `high`.

    Raises:
        InvalidInputError: for anything else.
    """
    try:
        value = float(argument or "")
    except ValueError:
        value = math.nan
    if not low < value < high:  # NaN too
        raise InvalidInputError(f"task: expected {usage} with {expected}, found {argument!r}")
    return value


def read_whole(argument: str | None, usage: str, expected: str, *, low: int = 0, high: int) -> int:
    """Return a whole number of `low` to `high`, written in digits alone.

    Raises:
        InvalidInputError: for anything else.
    """
    fits = argument is not None and argument.isascii() and argument.isdigit() and low <= int(argument) <= high
    if argument is None or not fits:
        raise InvalidInputError(f"task: expected {usage} with {expected}, found {argument!r}")
    return int(argument)


def whole_word(usage: str, description: str, expected: str, make: Callable[[int], Task], *, high: int) -> Word:
    """Return a word whose argument is a whole number of 1 to `high`; `expected` says so in words."""
    return Word(usage, description, lambda argument: make(read_whole(argument, usage, expected, low=1, high=high)))
