"""The words that a task's text is made of: those of every environment, and those of one family."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rlstitch.envs.tasks import effects
from rlstitch.envs.tasks.action_rules import SCRAMBLED, drop_action, without
from rlstitch.envs.tasks.task import ActionMap, Task, Word, plain_word
from rlstitch.errors import RlstitchError, require_known

COMMON: tuple[Word, ...] = (
    plain_word("standard", "the environment as it is", Task()),
    SCRAMBLED,
    *effects.WORDS,
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
