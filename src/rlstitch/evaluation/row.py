"""The result row: one encoder with one controller under one method, and what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rlstitch.envs import World
from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.evaluation import Evaluation
from rlstitch.rollouts.statistics import recovery, why_no_recovery
from rlstitch.stitching.controls import chance_controls, split_control

Floats = npt.NDArray[np.float64]
Verdict = Literal["recovered", "partly", "failed", "native", "random", "control", "unknown"]

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
    """In percent: 0 is random actions, 100 the native controller in its own world; None for these two, and where the
    native controller is no better than random actions (`recovery_reason`)."""
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
    recovery_reason: str = ""
    """Why recovery is undefined, where there are baselines and they do not allow it."""
    returns: Floats | None = field(default=None, repr=False, compare=False)
    """`(episodes,)`"""
    reason: str = ""
    """Why nothing was measured: the values are then NaN or None."""
    above_controls: bool | None = None
    """Whether the interval of the recovery lies above those of all controls, see
    `rlstitch.stitching.controls.chance_controls`; None where one of them was not measured."""

    def __post_init__(self) -> None:
        if self.policy not in ("sampled", "greedy"):
            raise InvalidInputError(f"policy: expected 'sampled' or 'greedy', found {self.policy!r}")
        if self.episodes < 0:
            raise InvalidInputError(f"episodes: expected 0 or more, found {self.episodes}")
        if self.success is not None and not (0 <= self.success <= 1 or math.isnan(self.success)):
            raise InvalidInputError(f"success: expected a share in [0, 1], found {self.success}")

    @property
    def verdict(self) -> Verdict:
        """Whether the row is a baseline or a control, or a stitch that recovered, recovered partly, or failed.

        One that is not above its controls has failed, whatever its recovery.
        """
        if self.method == "native":
            return "native"
        if self.method == "random":
            return "random"
        if split_control(self.method)[1]:
            return "control"
        if self.above_controls is False:
            return "failed"
        if self.recovery is None or not math.isfinite(self.recovery):
            return "unknown"
        if self.recovery >= RECOVERED:
            return "recovered"
        return "failed" if self.recovery < FAILED else "partly"

    @property
    def scores(self) -> Floats | None:
        """Recovery of each episode in percent, `(episodes,)`; None for a baseline, and where recovery is undefined."""
        if self.returns is None or self.recovery is None or self.random_return is None or self.native_return is None:
            return None
        return 100.0 * (self.returns - self.random_return) / (self.native_return - self.random_return)

    def to_row(self) -> dict[str, Any]:
        """Return a flat row for `rlstitch.storage.write_table`; diagnostics have the prefix `fit_`."""
        row = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in _NO_COLUMNS}
        row["verdict"] = self.verdict
        return row | {f"fit_{name}": value for name, value in (self.diagnostics or {}).items()}


_OPTIONAL = (
    *("recovery", "recovery_low", "recovery_high", "success", "success_low", "success_high"),
    *("diagnostics", "random_return", "native_return", "returns"),
)
_NO_COLUMNS = ("diagnostics", "random_return", "native_return", "returns", "reason")


def judged(row: Row, others: Sequence[Row]) -> Row:
    """Return a row that says whether it is above its controls, where all of them are among the others."""
    highs = {other.method: other.recovery_high for other in others if other.recovery_high is not None}
    names = chance_controls(row.method)
    if row.recovery_low is None or not all(name in highs for name in names):
        return row
    return replace(row, above_controls=all(row.recovery_low > highs[name] for name in names))


def unmeasured_row(encoder: str, controller: str, method: str, world: World, reason: str, *, like: Row) -> Row:
    """Return the row of a cell that cannot be measured, beside one that was, with the reason."""
    values: dict[str, Any] = dict.fromkeys(("return_mean", "return_low", "return_high", "length_mean"), math.nan)
    values |= {"encoder": encoder, "controller": controller, "method": method, "world": describe(world)}
    values |= dict.fromkeys(_OPTIONAL)
    return replace(like, **values, episodes=0, reason=reason)


def make_row(
    encoder: str,
    controller: str,
    method: str,
    result: Evaluation,
    *,
    baselines: tuple[Floats, Floats] | None = None,
    diagnostics: Mapping[str, Any] | None = None,
) -> Row:
    """Summarize an evaluation as a row.

    Args:
        encoder, controller: names of the agents whose parts were used.
        method: name of the stitching method; `native` or `random`.
        result: the evaluation.
        baselines: returns of random actions and of the native controller, one an episode, for the recovery.
        diagnostics: metrics of the stitch on held-out pairs.
    """
    summary = result.summary()
    mean, success = summary.mean, summary.success
    recovered = None if baselines is None else recovery(result.returns, *baselines)
    random, native = (None, None) if baselines is None else (float(returns.mean()) for returns in baselines)
    return Row(
        encoder=encoder,
        controller=controller,
        method=method,
        world=describe(result.world),
        episodes=result.episodes,
        return_mean=mean.estimate,
        return_low=mean.low,
        return_high=mean.high,
        recovery=None if recovered is None else recovered.estimate,
        recovery_low=None if recovered is None else recovered.low,
        recovery_high=None if recovered is None else recovered.high,
        success=None if success is None else success.estimate,
        success_low=None if success is None else success.low,
        success_high=None if success is None else success.high,
        length_mean=float(result.lengths.mean()),
        policy="greedy" if result.deterministic else "sampled",
        diagnostics=diagnostics,
        random_return=random,
        native_return=native,
        recovery_reason="" if baselines is None else why_no_recovery(*baselines),
        returns=result.returns,
    )


def describe(world: World) -> str:
    """Return a world as text: environment, look, and the task where it is not the standard one."""
    parts = [world.environment, world.look_in_words]
    if world.task != "standard":
        parts.append(f"task {world.task}")
    return ", ".join(parts)
