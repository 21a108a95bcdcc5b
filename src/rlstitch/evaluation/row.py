"""The result row: one encoder with one controller under one method, and what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rlstitch.envs import World
from rlstitch.errors import InvalidInputError

Verdict = Literal["recovered", "partly", "failed", "native", "random", "unknown"]

RECOVERED, FAILED = 90.0, 50.0
"""Recovery in percent from which a stitch counts as recovered, and below which it counts as failed."""


@dataclass(frozen=True)
class Row:
    """A measured cell. Intervals cover 95 %."""

    encoder: str
    controller: str
    method: str
    """native, random, naive, affine, relative (post-hoc), ..."""
    world: str
    """Environment, look and task, as `describe` writes them."""
    episodes: int
    return_mean: float
    return_low: float
    return_high: float
    recovery: float | None
    """In percent: 0 is random actions, 100 the native controller in its own world; None for these two."""
    recovery_low: float | None
    recovery_high: float | None
    success: float | None
    """Share of successful episodes in [0, 1]; None where the world reports no success."""
    success_low: float | None
    success_high: float | None
    length_mean: float
    policy: str
    """`sampled` or `greedy` actions."""
    diagnostics: Mapping[str, Any] | None = None
    """Metrics of the stitch on held-out pairs, by name; None where nothing was stitched."""
    random_return: float | None = None
    """Mean return of random actions, which recovery is relative to; None for a baseline."""
    native_return: float | None = None
    returns: npt.NDArray[np.float64] | None = field(default=None, repr=False, compare=False)
    """`(episodes,)`"""

    def __post_init__(self) -> None:
        if self.policy not in ("sampled", "greedy"):
            raise InvalidInputError(f"policy: expected 'sampled' or 'greedy', found {self.policy!r}")
        if self.episodes < 0:
            raise InvalidInputError(f"episodes: expected 0 or more, found {self.episodes}")
        if self.success is not None and not (0 <= self.success <= 1 or math.isnan(self.success)):
            raise InvalidInputError(f"success: expected a share in [0, 1], found {self.success}")

    @property
    def verdict(self) -> Verdict:
        """Whether the row is a baseline, or a stitch that recovered, recovered partly, or failed."""
        if self.method == "native":
            return "native"
        if self.method == "random":
            return "random"
        if self.recovery is None or not math.isfinite(self.recovery):
            return "unknown"
        if self.recovery >= RECOVERED:
            return "recovered"
        return "failed" if self.recovery < FAILED else "partly"

    def to_row(self) -> dict[str, Any]:
        """Return a flat row for `rlstitch.storage.write_table`; diagnostics have the prefix `fit_`."""
        row = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in _NO_COLUMNS}
        row["verdict"] = self.verdict
        return row | {f"fit_{name}": value for name, value in (self.diagnostics or {}).items()}


_NO_COLUMNS = ("diagnostics", "random_return", "native_return", "returns")


def describe(world: World) -> str:
    """Return a world as text: environment, look, and the task where it is not the standard one."""
    parts = [world.environment, world.variation]
    if world.task != "standard":
        parts.append(f"task {world.task}")
    return ", ".join(parts)
