"""Families of environments, and the words of a task that each has of its own.

Families are told apart by the environment's id, so that a task can be checked before anything is loaded. A family is
extended here: with a `Word` whose task alters the made environment (see `Task.alterations`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from rlstitch.envs.tasks.words import COMMON, Task, Word, drop_action, plain, without


@dataclass(frozen=True)
class Family:
    """Environments whose actions mean the same."""

    name: str
    prefixes: tuple[str, ...] = ()
    """How the ids begin."""
    actions: tuple[str, ...] = ()
    """Names of the discrete actions, in their order."""
    idle: str | None = None
    """The action that does nothing."""
    own: tuple[Word, ...] = ()

    @functools.cached_property
    def words(self) -> Mapping[str, Word]:
        """Every word that a task of this family can have, by name."""
        words = [*COMMON, without(self.actions)]
        if self.idle is not None:
            rule = drop_action(self.actions.index(self.idle))
            words.append(plain("no-idle", "without the action that does nothing", Task(rules=(rule,))))
        words += self.own
        return MappingProxyType({word.usage.partition(":")[0]: word for word in words})


def _constant_success(environment: Any) -> Any:
    """A MiniGrid whose success gives 1, not 1 - 0.9 * steps / max_steps (`MiniGridEnv._reward`)."""
    environment.unwrapped._reward = _one
    return environment


def _one() -> float:
    return 1.0


def _slow_driving(environment: Any) -> Any:
    from rlstitch.envs.families.car_racing.cars import SlowDriving

    return SlowDriving(environment)


OTHER = Family("other")
MINIGRID = Family(
    "MiniGrid",
    prefixes=("MiniGrid-", "BabyAI-"),
    actions=("left", "right", "forward", "pickup", "drop", "toggle", "done"),
    idle="done",
    own=(plain("no-time-cost", "a success gives 1, however late", Task(alterations=(_constant_success,))),),
)
CAR_RACING = Family(
    "CarRacing",
    prefixes=("CarRacing-",),
    actions=("idle", "right", "left", "gas", "brake"),
    idle="idle",
    own=(
        plain(
            "slow",
            "no time cost, 3,000 steps; a speed above 35 ends the episode with -100",
            Task(alterations=(_slow_driving,), max_steps=3000),
        ),
    ),
)
FAMILIES = (MINIGRID, CAR_RACING, OTHER)


def family_of(environment: str) -> Family:
    """The family that an environment's id tells; `OTHER` where it tells none."""
    return next((family for family in FAMILIES if environment.startswith(family.prefixes)), OTHER)
