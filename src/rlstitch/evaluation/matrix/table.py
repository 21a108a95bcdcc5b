"""What the cells of a matrix come to: one row a cell, one line a method, one comparison for every two methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rlstitch.evaluation.comparison import aggregate, paired_test, performance_profile, probability_of_improvement
from rlstitch.evaluation.matrix.plan import (
    NATIVE,
    Pairing,
    Plan,
    native_identity,
    plain_world,
    random_identity,
)
from rlstitch.evaluation.matrix.tasks import read_cell
from rlstitch.evaluation.matrix.worlds import CELL
from rlstitch.evaluation.row import describe
from rlstitch.rollouts.statistics import RESAMPLES, iqm, mean, recovery, summarize

Floats = npt.NDArray[np.float64]
RECOVERED = 90.0
"""Percent of recovery from which a cell counts as recovered."""
LEVELS = tuple(range(-20, 121, 10))
"""Percents of recovery at which the profiles are taken."""
_DRAWS = 200_000_000  # scores that one bootstrap may draw: seconds


@dataclass(frozen=True)
class Row:
    """One cell: who, where, how, and what came of it. Numbers are None where there is no result."""

    encoder: str
    controller: str
    method: str
    map: str | None
    """The map that stood between: that which `auto` chose, else the method; None where nothing was joined."""
    world: str
    encoder_seed: int
    controller_seed: int
    same_seed: bool
    counted: bool
    """Whether the cell stands in the figures of its method."""
    state: str
    """done, refused or missing."""
    reason: str
    """Of a refused cell, or of one that is done and has no recovery."""
    episodes: int | None = None
    return_mean: float | None = None
    return_low: float | None = None
    return_high: float | None = None
    random_return: float | None = None
    native_return: float | None = None
    recovery: float | None = None
    recovery_low: float | None = None
    recovery_high: float | None = None
    success: float | None = None
    length_mean: float | None = None
    action_agreement: float | None = None
    kl: float | None = None
    r2: float | None = None
    place: str = CELL
    """The world as it was asked for: `cell`, a look, or a look with a task; `world` says what it is for this cell."""


@dataclass(frozen=True)
class MethodSummary:
    """One method over its counted cells in one world. Recovery in percent; intervals cover 95 % over episodes."""

    method: str
    cells: int
    """Counted."""
    refused: int
    missing: int
    mean: dict[str, float] | None
    iqm: dict[str, float] | None
    recovered: float | None
    """Share of the counted cells with a recovery of 90 % or more."""
    success: float | None
    profile: dict[str, list[float]] | None
    """`levels` in percent, and the `share`, `low` and `high` of episodes above each."""
    place: str = CELL


@dataclass(frozen=True)
class Comparison:
    """Two methods over the cells that count under both in one world."""

    first: str
    second: str
    improvement: dict[str, float]
    """Probability that an episode under the first beats one under the second, with its interval."""
    test: dict[str, float | int]
    """Wilcoxon's signed-rank test over the cells' recoveries."""
    place: str = CELL


@dataclass(frozen=True)
class Figures:
    """All rows and what they come to."""

    rows: tuple[Row, ...]
    methods: tuple[MethodSummary, ...]
    comparisons: tuple[Comparison, ...]


def assemble(plan: Plan, folder: Path, *, same_seed: bool = False) -> Figures:
    """Read what is on the disk and return its figures.

    Args:
        plan: of the matrix.
        folder: of the matrix.
        same_seed: count pairs of agents of one seed, too.
    """
    baselines = _Baselines(plan, folder)
    rows: list[Row] = []
    scores: dict[tuple[str, str], dict[tuple[str, str], Floats]] = {}
    for pairing in (*plan.pairings, *plan.natives):
        for method in (NATIVE,) if pairing.native else plan.methods:
            row, score = _row(plan, folder, pairing, method, baselines, same_seed)
            rows.append(row)
            found = scores.setdefault((row.place, method), {})
            if score is not None and row.counted:
                found[row.encoder, row.controller] = score
    methods, compared = [], []
    for place in plan.places:
        listed = (*plan.methods, NATIVE) if place != CELL else plan.methods
        methods += [_summary(place, method, scores[place, method], rows) for method in listed]
        compared += [
            _comparison(place, first, second, scores[place, first], scores[place, second])
            for first, second in combinations(plan.methods, 2)
        ]
    return Figures(tuple(rows), tuple(methods), tuple(found for found in compared if found is not None))


class _Baselines:
    """The returns of native and random evaluations, each read once."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._options, self._folder = plan.options, folder
        self._known: dict[str, Floats | None] = {}

    def of(self, pairing: Pairing) -> tuple[Floats, Floats] | None:
        if pairing.world is None:
            return None
        random = self._returns(random_identity(plain_world(pairing.world), self._options))
        native = self._returns(native_identity(pairing.controller, self._options))
        return None if random is None or native is None else (random, native)

    def _returns(self, identity: str) -> Floats | None:
        if identity not in self._known:
            found = read_cell(self._folder, identity)
            self._known[identity] = None if found is None else np.asarray(found["returns"], dtype=np.float64)
        return self._known[identity]


def _row(
    plan: Plan, folder: Path, pairing: Pairing, method: str, baselines: _Baselines, same_seed: bool
) -> tuple[Row, Floats | None]:
    """Return a cell's row and, where it has a recovery, the score of each episode in percent `(episodes,)`."""
    encoder, controller = pairing.encoder, pairing.controller
    known: dict[str, Any] = {
        "encoder": encoder.name,
        "controller": controller.name,
        "method": method,
        "map": None,
        "world": "" if pairing.world is None else describe(pairing.world),
        "encoder_seed": encoder.seed,
        "controller_seed": controller.seed,
        "same_seed": pairing.same_seed,
        "counted": False,
        "reason": "",
        "place": pairing.place,
    }
    refused: dict[str, Any] = {"refused": pairing.refused}
    found = refused if pairing.world is None else read_cell(folder, pairing.identity(method, plan.options))
    if found is None:
        return Row(**known, state="missing"), None
    if "refused" in found:
        return Row(**known | {"reason": found["refused"]}, state="refused"), None
    returns, summary = np.asarray(found["returns"]), summarize(found["returns"], found["successes"])
    diagnostics = found.get("diagnostics") or {}
    known |= {
        "map": None if pairing.native else diagnostics.get("method", method),
        "state": "done",
        "episodes": summary.episodes,
        "return_mean": summary.mean.estimate,
        "return_low": summary.mean.low,
        "return_high": summary.mean.high,
        "success": None if summary.success is None else summary.success.estimate,
        "length_mean": float(np.mean(found["lengths"])),
        **{name: diagnostics.get(name) for name in ("action_agreement", "kl", "r2")},
    }
    against = baselines.of(pairing)
    if against is None:
        return Row(**known | {"reason": "its baselines are missing"}), None
    random, native = against
    known |= {"random_return": float(random.mean()), "native_return": float(native.mean())}
    recovered = recovery(returns, random, native)
    if recovered is None:
        return Row(**known | {"reason": "the native agent cannot be told from random actions"}), None
    known |= {f"recovery{end}": value for end, value in zip(("", "_low", "_high"), _ends(recovered), strict=True)}
    known["counted"] = same_seed or not pairing.same_seed
    score = 100.0 * (returns - random.mean()) / (native.mean() - random.mean())
    return Row(**known), score


def _ends(interval: Any) -> tuple[float, float, float]:
    return interval.estimate, interval.low, interval.high


def _summary(place: str, method: str, scores: Mapping[tuple[str, str], Floats], rows: Sequence[Row]) -> MethodSummary:
    own = [row for row in rows if row.method == method and row.place == place]
    counted = [row for row in own if row.counted]
    counts = {state: sum(row.state == state for row in own) for state in ("refused", "missing")}
    if not scores:
        return MethodSummary(
            method, 0, **counts, mean=None, iqm=None, recovered=None, success=None, profile=None, place=place
        )
    matrix = np.stack(list(scores.values()))
    resamples = min(RESAMPLES, max(200, _DRAWS // matrix.size))
    profile = performance_profile(matrix, LEVELS, resamples=resamples)
    successes = [row.success for row in counted if row.success is not None]
    return MethodSummary(
        method,
        len(matrix),
        **counts,
        mean=aggregate(matrix, mean, resamples=resamples).to_dict(),
        iqm=aggregate(matrix, iqm, resamples=resamples).to_dict(),
        recovered=float(np.mean(matrix.mean(axis=1) >= RECOVERED)),
        success=float(np.mean(successes)) if successes else None,
        profile={"levels": [float(level) for level in LEVELS]}
        | {name: values.tolist() for name, values in asdict(profile).items()},
        place=place,
    )


def _comparison(
    place: str, first: str, second: str, mine: Mapping[tuple[str, str], Floats], other: Mapping[tuple[str, str], Floats]
) -> Comparison | None:
    common = [key for key in mine if key in other]
    if not common:
        return None
    x, y = (np.stack([scores[key] for key in common]) for scores in (mine, other))
    improvement = probability_of_improvement(x, y).to_dict()
    test = paired_test(x.mean(axis=1), y.mean(axis=1)).to_dict()
    return Comparison(first, second, improvement, test, place)
