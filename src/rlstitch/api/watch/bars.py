"""The action distribution of a controller, as bars of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rlstitch.agents import BoxActions, Controller, MultiBinaryActions
from rlstitch.envs import World, family_of
from rlstitch.stitching.actions import choices


@dataclass(frozen=True)
class Bar:
    """One action, or one number of a continuous action."""

    name: str
    value: float
    """Probability, or the mean within `low` and `high`."""
    text: str
    """The value as people read it."""
    chosen: bool = False
    """Whether this action is taken."""
    low: float = 0.0
    high: float = 1.0


def action_bars(
    controller: Controller, parameters: Tensor, action: npt.NDArray[Any] | None, names: Sequence[str] = ()
) -> list[Bar]:
    """Return the action distribution of one state.

    Args:
        controller: gives the parameters.
        parameters: action parameters `(1, A)`.
        action: that is taken, a batch of one; None where none is.
        names: of discrete actions; those without one have their number.
    """
    actions = controller.actions
    if isinstance(actions, BoxActions):
        means, log_std = controller.normal(parameters)
        spread = [None] * actions.width if log_std is None else log_std.exp().flatten().tolist()
        taken = [None] * actions.width if action is None else action[0].tolist()
        return [
            Bar(f"number {i}", mean, _continuous(mean, std, number), low=float(low), high=float(high))
            for i, (mean, std, number, low, high) in enumerate(
                zip(controller.bound(means)[0].tolist(), spread, taken, actions.low, actions.high, strict=True)
            )
        ]
    parts = [logits.softmax(dim=1)[0].tolist() for logits in choices(actions, parameters)]
    taken = [None] * len(parts) if action is None else np.ravel(action[0]).tolist()
    if isinstance(actions, MultiBinaryActions):
        return [_bar(f"switch {i}", on, bool(taken[i])) for i, (_, on) in enumerate(parts)]
    several = len(parts) > 1
    return [
        _bar(f"{i}: {option}" if several else _name(names, option), probability, taken[i] == option)
        for i, options in enumerate(parts)
        for option, probability in enumerate(options)
    ]


def _bar(name: str, probability: float, chosen: bool) -> Bar:
    return Bar(name, probability, f"{100 * probability:.1f} %", chosen)


def _continuous(mean: float, std: float | None, taken: float | None) -> str:
    return f"{mean:.2f}" + ("" if std is None else f" ± {std:.2f}") + ("" if taken is None else f", taken {taken:.2f}")


def _name(names: Sequence[str], action: int) -> str:
    return names[action] if action < len(names) else str(action)


def action_names(world: World, count: int) -> tuple[str, ...]:
    """Return the names of a world's discrete actions, as its task leaves them; empty where its family has none.

    Args:
        world: whose actions they are.
        count: how many actions its environment has before any task.
    """
    family = family_of(world)
    names = family.tasks.actions
    return tuple(names[i] for i in family.task(world).action_map(count)) if len(names) == count else ()
