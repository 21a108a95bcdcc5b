"""The words that a task's text is made of: those of every environment, and those of one family."""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from rlstitch.envs.tasks.task import ActionMap, ActionRule, Task, Word, number_word, plain_word, read_whole, whole_word
from rlstitch.errors import InvalidInputError, RlstitchError, UnknownNameError, require_known


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


_DOMAIN = 0x736C6970


class Slip:
    """Sticky actions of one environment (Machado et al. 2018, arXiv:1709.06009, section 5.2).

    With `probability` the action that was carried out last is carried out again, instead of the chosen one; the first
    action of an episode is the chosen one. The random numbers are a function of the episode's seed and of nothing else,
    so that the environment's own randomness is what it is without them.
    """

    def __init__(self, probability: float) -> None:
        self._probability = probability
        self._rng: np.random.Generator | None = None
        self._last: Any = None

    def start(self, seed: int | None) -> None:
        """Begin an episode; without a seed the random numbers go on, as an environment's own do."""
        if seed is not None:
            self._rng = np.random.default_rng((_DOMAIN, seed))
        elif self._rng is None:
            self._rng = np.random.default_rng()
        self._last = None

    def carried_out(self, action: Any) -> Any:
        """Return the action that is carried out where `action` was chosen."""
        if self._rng is not None and self._rng.random() < self._probability and self._last is not None:
            return self._last
        self._last = action
        return action


class Delay:
    """Actions that take effect some steps after they were chosen; before that, the first of the episode does."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._chosen: list[Any] = []

    def start(self, seed: int | None) -> None:
        """Begin an episode: nothing is chosen yet."""
        self._chosen.clear()

    def carried_out(self, action: Any) -> Any:
        """Return the action that was chosen that many steps before."""
        self._chosen.append(action)
        return self._chosen.pop(0) if len(self._chosen) > self._steps else self._chosen[0]


COMMON: tuple[Word, ...] = (
    plain_word("standard", "the environment as it is", Task()),
    SCRAMBLED,
    whole_word(
        "length:STEPS",
        "episodes are truncated after that many steps, whatever the environment's own limit",
        "a whole number of steps, 1 to 10000000",
        lambda steps: Task(max_steps=steps),
        high=10**7,
    ),
    number_word(
        "time-cost:COST",
        "that much is subtracted from the reward of every step",
        "a number above 0",
        lambda cost: Task(step_cost=cost),
    ),
    number_word(
        "slippery:PROBABILITY",
        "a step repeats the action before it with that probability",
        "a number above 0 and below 1",
        lambda probability: Task(filters={"slippery": functools.partial(Slip, probability)}),
        high=1,
    ),
    whole_word(
        "delayed:STEPS",
        "each action is carried out that many steps after it was chosen; before that, the first one is",
        "a whole number of steps, 1 to 1000",
        lambda steps: Task(filters={"delayed": functools.partial(Delay, steps)}),
        high=1000,
    ),
)
"""Words of every environment, beside `without`."""


@dataclass(frozen=True, eq=False)
class TaskWords:
    """The words of a family's tasks, and the names of its discrete actions."""

    family: str = ""
    """Its name in messages; empty: of no family in particular."""
    actions: tuple[str, ...] = ()
    """Names of the discrete actions, in their order."""
    idle: str | None = None
    """The action that does nothing."""
    own: tuple[Word, ...] = ()

    @functools.cached_property
    def words(self) -> Mapping[str, Word]:
        """Every word, by name."""
        words = [*COMMON, without(self.actions)]
        if self.idle is not None:
            rule = drop_action(self.actions.index(self.idle))
            words.append(plain_word("no-idle", "without the action that does nothing", Task(rules=(rule,))))
        return MappingProxyType({word.name: word for word in [*words, *self.own]})


COMMON_WORDS = TaskWords()
"""The words of environments of no particular family."""


@functools.lru_cache(maxsize=256)
def get_task(task: str, words: TaskWords = COMMON_WORDS) -> Task:
    """Return the task that a text names.

    Raises:
        UnknownNameError: for a word or an action that is not known.
        InvalidInputError: for an argument that does not fit.
    """
    kind = f"{words.family} task".lstrip()
    made = []
    for part in task.split("+"):
        name = part.partition(":")[0]
        require_known(kind, name, words.words)
        made.append(words.words[name].task(part))
    return functools.reduce(Task.then, made)


def has_task(task: str, words: TaskWords) -> bool:
    """Return whether a text names a task of these words."""
    try:
        return bool(get_task(task, words))
    except RlstitchError:
        return False


def action_map(task: str, num_actions: int, words: TaskWords = COMMON_WORDS) -> ActionMap:
    """Return the environment's action for each action of the controller, `(n,)` with n <= num_actions, all distinct.

    Raises:
        UnknownNameError, InvalidInputError: as `get_task`, and where the task needs more actions than that.
    """
    return get_task(task, words).action_map(num_actions)
