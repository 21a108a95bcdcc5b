"""What a task is made of: the value, and the words that every environment has."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rlstitch.errors import InvalidInputError, UnknownNameError

ActionMap = npt.NDArray[np.intp]
ActionRule = Callable[[ActionMap], ActionMap]
"""From the environment's action of each action of the controller to another such list, as long or shorter."""
Alteration = Callable[[Any], Any]
"""From one made environment to the same or a wrapped one. It runs in the process of the environment."""


@dataclass(frozen=True)
class Task:
    """One task: what it changes, and nothing where it changes nothing. Fields are applied in the order given here."""

    name: str = "standard"
    rules: tuple[ActionRule, ...] = ()
    """What becomes of the action map, one after the other."""
    alterations: tuple[Alteration, ...] = ()
    """A family's own changes to each environment; those of a MiniGrid change it in place and return it."""
    max_steps: int | None = None
    """Steps of the environment after which an episode is truncated, in place of the environment's own limit."""
    step_cost: float = 0.0
    """Taken off the reward of every step of the environment."""
    slip: float = 0.0
    """Probability that a step repeats the action that was carried out before it."""

    @property
    def changes_steps(self) -> bool:
        """Whether more than the meaning of actions changes."""
        return bool(self.alterations or self.max_steps is not None or self.step_cost or self.slip)

    def then(self, other: Task) -> Task:
        """This task and then the other; a later number replaces an earlier one."""
        return Task(
            f"{self.name}+{other.name}",
            self.rules + other.rules,
            self.alterations + other.alterations,
            other.max_steps or self.max_steps,
            other.step_cost or self.step_cost,
            other.slip or self.slip,
        )

    def action_map(self, num_actions: int) -> ActionMap:
        """The environment's action for each action of the controller, `(n,)` with n <= num_actions, no two equal.

        Raises InvalidInputError where the task cannot be made of so few actions.
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

    def task(self, text: str) -> Task:
        """The task of a text that begins with this word. Raises InvalidInputError for an argument that does not fit."""
        _, colon, argument = text.partition(":")
        return replace(self.make(argument if colon else None), name=text)


def plain(usage: str, description: str, task: Task) -> Word:
    """A word that takes no argument."""

    def make(argument: str | None) -> Task:
        if argument is not None:
            raise InvalidInputError(f"task: expected {usage!r} with nothing behind it, found '{usage}:{argument}'")
        return task

    return Word(usage, description, make)


def _number(argument: str | None, usage: str, expected: str, low: float, high: float) -> float:
    """A number above `low` and below `high`. Raises InvalidInputError for anything else."""
    try:
        value = float(argument or "")
    except ValueError:
        value = math.nan
    if not low < value < high:  # NaN too
        raise InvalidInputError(f"task: expected {usage} with {expected}, found {argument!r}")
    return value


def _whole(argument: str | None, usage: str, expected: str, most: int) -> int:
    """A whole number from 0, in digits alone. Raises InvalidInputError for anything else."""
    if argument is None or not (argument.isascii() and argument.isdigit()) or int(argument) > most:
        raise InvalidInputError(f"task: expected {usage} with {expected}, found {argument!r}")
    return int(argument)


def _enough(mapping: ActionMap, word: str) -> None:
    if len(mapping) < 2:
        raise InvalidInputError(f"num_actions: task {word!r} needs at least 2 actions, found {len(mapping)}")


def shift(mapping: ActionMap) -> ActionMap:
    """A cyclic shift: no action keeps its meaning (a derangement)."""
    _enough(mapping, "scrambled")
    return np.roll(mapping, -1)


def _scrambled(argument: str | None) -> Task:
    if argument is None:
        return Task(rules=(shift,))
    usage, (key, _, digits) = "scrambled or scrambled:seed=NUMBER", argument.partition("=")
    if key != "seed":
        raise InvalidInputError(f"task: expected {usage}, found 'scrambled:{argument}'")
    seed = _whole(digits, usage, "a whole number", 2**63)

    def derange(mapping: ActionMap) -> ActionMap:
        """One cycle through all actions (Sattolo 1986), so that none stays in its place."""
        _enough(mapping, "scrambled")
        # Python's own generator: its floats are promised to stay the same, and an agent lives by what its actions mean.
        rng, order = random.Random(seed), list(range(len(mapping)))
        for last in range(len(order) - 1, 0, -1):
            chosen = int(rng.random() * last)
            order[last], order[chosen] = order[chosen], order[last]
        return mapping[order]

    return Task(rules=(derange,))


def _length(argument: str | None) -> Task:
    expected = "a whole number of steps, 1 to 10000000"
    steps = _whole(argument, "length:STEPS", expected, 10**7)
    if steps == 0:
        raise InvalidInputError(f"task: expected length:STEPS with {expected}, found '0'")
    return Task(max_steps=steps)


def _time_cost(argument: str | None) -> Task:
    return Task(step_cost=_number(argument, "time-cost:COST", "a number above 0", 0, math.inf))


def _slippery(argument: str | None) -> Task:
    return Task(slip=_number(argument, "slippery:PROBABILITY", "a number above 0 and below 1", 0, 1))


def drop_action(index: int) -> ActionRule:
    """The rule that leaves one action of the environment out."""

    def rule(mapping: ActionMap) -> ActionMap:
        if index not in mapping:
            raise InvalidInputError(
                f"task: expected an action to leave out among {sorted(mapping.tolist())}, found {index}"
            )
        if len(mapping) < 2:
            raise InvalidInputError(f"task: expected an action to be left, found only {index}, which is left out")
        return np.delete(mapping, np.flatnonzero(mapping == index))

    return rule


def without(names: Sequence[str]) -> Word:
    """The word that leaves out an action of an environment, by its number or, where it has names, its name."""

    def make(argument: str | None) -> Task:
        if argument in names:
            return Task(rules=(drop_action(names.index(argument)),))
        if names and argument and not argument.isdigit():
            raise UnknownNameError("action", argument, names)
        expected = f"an action's number{' or name: ' + ', '.join(names) if names else ''}"
        return Task(rules=(drop_action(_whole(argument, "without:ACTION", expected, 10**6)),))

    return Word("without:ACTION", "one action of the environment less, by number or name", make)


COMMON: tuple[Word, ...] = (
    plain("standard", "as the environment is", Task()),
    Word(
        "scrambled", "every action takes the meaning of the next; scrambled:seed=NUMBER: of another, drawn", _scrambled
    ),
    Word("length:STEPS", "episodes are cut after so many steps, whatever the environment's own limit", _length),
    Word("time-cost:COST", "the reward of every step is less by so much", _time_cost),
    Word("slippery:PROBABILITY", "a step repeats the action before it with that probability", _slippery),
)
"""Words that every environment has, beside `without`."""
