"""Words of a task that change what actions mean and how many there are."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from rlstitch.envs.tasks.task import ActionMap, ActionRule, Task, Word, read_whole
from rlstitch.errors import InvalidInputError, UnknownNameError


def _check_enough(mapping: ActionMap) -> None:
    if len(mapping) < 2:
        raise InvalidInputError(f"num_actions: task 'scrambled' needs at least 2 actions, found {len(mapping)}")


def shift(mapping: ActionMap) -> ActionMap:
    """Return the cyclic shift of an action map: no action keeps its meaning (a derangement)."""
    _check_enough(mapping)
    return np.roll(mapping, -1)


def _scrambled(argument: str | None) -> Task:
    if argument is None:
        return Task(rules=(shift,))
    usage, (key, _, digits) = "scrambled or scrambled:seed=NUMBER", argument.partition("=")
    if key != "seed":
        raise InvalidInputError(f"task: expected {usage}, found 'scrambled:{argument}'")
    seed = read_whole(digits, usage, "a whole number", high=2**63)

    def derange(mapping: ActionMap) -> ActionMap:
        """One cycle through all actions (Sattolo 1986), so that none stays in its place."""
        _check_enough(mapping)
        # Python's own generator: its floats are promised to stay the same, and an agent depends on what actions mean.
        rng, order = random.Random(seed), list(range(len(mapping)))
        for last in range(len(order) - 1, 0, -1):
            chosen = int(rng.random() * last)
            order[last], order[chosen] = order[chosen], order[last]
        return mapping[order]

    return Task(rules=(derange,))


SCRAMBLED = Word(
    "scrambled", "every action takes the meaning of the next; scrambled:seed=NUMBER: of a random other one", _scrambled
)


def drop_action(index: int) -> ActionRule:
    """Return the rule that leaves one action of the environment out."""

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
    """Return the word that leaves out an action of an environment, by its number or its name."""

    def make(argument: str | None) -> Task:
        if argument in names:
            return Task(rules=(drop_action(names.index(argument)),))
        if names and argument and not argument.isdigit():
            raise UnknownNameError("action", argument, names)
        expected = f"an action's number{' or name: ' + ', '.join(names) if names else ''}"
        return Task(rules=(drop_action(read_whole(argument, "without:ACTION", expected, high=10**6)),))

    return Word("without:ACTION", "one action of the environment less, by number or name", make)
