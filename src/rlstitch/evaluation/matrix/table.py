"""The results of a matrix: its cells, one summary a method, one comparison for every two methods."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rlstitch.evaluation.baselines import plain_world
from rlstitch.evaluation.comparison import aggregate, paired_test, performance_profile, probability_of_improvement
from rlstitch.evaluation.matrix.plan import CELL, NATIVE, Pairing, Plan, native_identity, random_identity
from rlstitch.evaluation.matrix.tasks import read_cell, stored_evaluation
from rlstitch.evaluation.options import CellOptions
from rlstitch.evaluation.row import RECOVERED, Row, describe, judged, make_row
from rlstitch.rollouts.statistics import RESAMPLES, iqm, mean
from rlstitch.stitching.controls import split_control

Floats = npt.NDArray[np.float64]
Cells = dict[str, set[tuple[str, str]]]
"""Encoder and controller of each counted cell in one world, by method; of no natives and no controls."""
LEVELS = tuple(range(-20, 121, 10))
"""Recoveries in percent at which the performance profiles are evaluated."""
_MAX_SAMPLES = 200_000_000  # scores that one bootstrap may sample: seconds
_ROW_COLUMNS = (
    "episodes", "return_mean", "return_low", "return_high", "random_return", "native_return",
    "recovery", "recovery_low", "recovery_high", "success", "length_mean", "above_controls",
)  # fmt: skip
_DIAGNOSTIC_COLUMNS = ("action_agreement", "kl", "r2")


@dataclass(frozen=True)
class MatrixCell:
    """One cell as it was planned, and its row where it was measured."""

    encoder: str
    controller: str
    method: str
    place: str
    """The world as the user named it: `cell`, a look, or a look with a task."""
    world: str
    """The world of this cell, as `describe` writes it; empty where it cannot be made."""
    encoder_seed: int
    controller_seed: int
    same_seed: bool
    state: Literal["done", "refused", "missing"]
    reason: str = ""
    """Why a cell was refused, or why one that is done has no recovery."""
    counted: bool = False
    """Whether the cell counts in the summary of its method."""
    row: Row | None = None
    fit_seconds: float | None = field(default=None, compare=False)
    """What it took to fit the map; None where nothing was fitted, and in results of older versions."""

    @property
    def recovery(self) -> float | None:
        """In percent; None where the cell was not measured, or its native agent is no better than random."""
        return None if self.row is None else self.row.recovery

    def to_dict(self) -> dict[str, Any]:
        """Return the columns of `cells.csv`; `map`: what `auto` chose, by the reason in `choice`, else the method."""
        diagnostics = (self.row and self.row.diagnostics) or {}
        joined = self.row is not None and self.method != NATIVE
        return {
            "encoder": self.encoder,
            "controller": self.controller,
            "method": self.method,
            "map": diagnostics.get("method", self.method) if joined else None,
            "choice": diagnostics.get("choice") or None,
            "world": self.world,
            "encoder_seed": self.encoder_seed,
            "controller_seed": self.controller_seed,
            "same_seed": self.same_seed,
            "counted": self.counted,
            "state": self.state,
            "reason": self.reason,
            **{name: getattr(self.row, name, None) for name in _ROW_COLUMNS},
            **{name: diagnostics.get(name) for name in _DIAGNOSTIC_COLUMNS},
            "place": self.place,
            "fit_seconds": self.fit_seconds,
        }


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
    above_controls: int | None = None
    """Of the counted cells, how many are above their controls; None where these were not measured."""


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
class MatrixResults:
    """All cells, and their summaries."""

    cells: tuple[MatrixCell, ...]
    methods: tuple[MethodSummary, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def refused(self) -> list[MatrixCell]:
        """The cells that cannot be measured."""
        return [cell for cell in self.cells if cell.state == "refused"]

    def counted_cells(self, place: str) -> Cells:
        """Return the cells of methods that count in a world."""
        own = (cell for cell in self.cells if cell.counted and cell.place == place)
        return group_cells((cell.method, cell.encoder, cell.controller) for cell in own)

    @property
    def undefined(self) -> list[MatrixCell]:
        """The cells that were measured and have no recovery."""
        return [cell for cell in self.cells if cell.state == "done" and cell.recovery is None]


def group_cells(counted: Iterable[tuple[str, str, str]]) -> Cells:
    """Return the cells of methods from method, encoder and controller of each."""
    cells: Cells = {}
    for method, encoder, controller in counted:
        if method != NATIVE and not split_control(method)[1]:
            cells.setdefault(method, set()).add((encoder, controller))
    return cells


def ranked_methods(cells: Cells) -> list[str]:
    """Return the methods whose means can be compared for the best: those that share the most cells."""
    most = max(cells.values(), key=len, default=set())
    return [method for method, own in cells.items() if own == most]


def assemble(plan: Plan, folder: Path, *, same_seed: bool = False) -> MatrixResults:
    """Read the measured cells of a matrix and summarize them.

    Args:
        plan: of the matrix.
        folder: of the matrix.
        same_seed: count pairs of agents of one seed, too.
    """
    stored = functools.cache(functools.partial(_returns, folder))
    cells: list[MatrixCell] = []
    scores: dict[tuple[str, str], dict[tuple[str, str], Floats]] = {}
    for pairing in (*plan.pairings, *plan.natives):
        for method in (NATIVE,) if pairing.native else plan.methods:
            cell = _cell(plan, folder, pairing, method, stored, same_seed)
            cells.append(cell)
            of_method = scores.setdefault((cell.place, method), {})
            if cell.counted and cell.row is not None and cell.row.scores is not None:
                of_method[cell.encoder, cell.controller] = cell.row.scores
    cells = _judged(cells)
    methods, compared = [], []
    for place in plan.places:
        listed = (*plan.methods, NATIVE) if place != CELL else plan.methods
        methods += [_summary(place, method, scores[place, method], cells) for method in listed]
        compared += [
            _comparison(place, first, second, scores[place, first], scores[place, second])
            for first, second in combinations([m for m in plan.methods if not split_control(m)[1]], 2)
        ]
    return MatrixResults(tuple(cells), tuple(methods), tuple(entry for entry in compared if entry is not None))


def _judged(cells: Sequence[MatrixCell]) -> list[MatrixCell]:
    """Return the cells with rows that say whether they are above their controls."""
    rows: dict[tuple[str, str, str], list[Row]] = {}
    for cell in cells:
        if cell.row is not None:
            rows.setdefault((cell.encoder, cell.controller, cell.place), []).append(cell.row)
    return [
        cell
        if cell.row is None
        else replace(cell, row=judged(cell.row, rows[cell.encoder, cell.controller, cell.place]))
        for cell in cells
    ]


def _baselines(
    pairing: Pairing, options: CellOptions, stored: Callable[[str], Floats | None]
) -> tuple[Floats, Floats] | None:
    """Return the returns of random actions and of the native controller; None where one is missing."""
    if pairing.world is None:
        return None
    random = stored(random_identity(plain_world(pairing.world), options))
    native = stored(native_identity(pairing.controller, options))
    return None if random is None or native is None else (random, native)


def _returns(folder: Path, identity: str) -> Floats | None:
    content = read_cell(folder, identity)
    return None if content is None else np.asarray(content["returns"], dtype=np.float64)


def _cell(
    plan: Plan,
    folder: Path,
    pairing: Pairing,
    method: str,
    stored: Callable[[str], Floats | None],
    same_seed: bool,
) -> MatrixCell:
    encoder, controller = pairing.encoder, pairing.controller
    planned: dict[str, Any] = {
        "encoder": encoder.name,
        "controller": controller.name,
        "method": method,
        "place": pairing.place,
        "world": "" if pairing.world is None else describe(pairing.world),
        "encoder_seed": encoder.seed,
        "controller_seed": controller.seed,
        "same_seed": pairing.same_seed,
    }
    if pairing.world is None:
        return MatrixCell(**planned, state="refused", reason=pairing.refused)
    content = read_cell(folder, pairing.identity(method, plan.options))
    if content is None:
        return MatrixCell(**planned, state="missing")
    if "refused" in content:
        return MatrixCell(**planned, state="refused", reason=content["refused"])
    returns = _baselines(pairing, plan.options, stored)
    row = make_row(
        encoder.name,
        controller.name,
        method,
        stored_evaluation(content, pairing.world, plan.options),
        baselines=returns,
        diagnostics=content.get("diagnostics"),
    )
    reason = "its baselines are missing" if returns is None else row.recovery_reason
    counted = not reason and (same_seed or not pairing.same_seed)
    seconds = content.get("fit_seconds")
    return MatrixCell(**planned, state="done", reason=reason, counted=counted, row=row, fit_seconds=seconds)


def _summary(
    place: str, method: str, scores: Mapping[tuple[str, str], Floats], cells: Sequence[MatrixCell]
) -> MethodSummary:
    own = [cell for cell in cells if cell.method == method and cell.place == place]
    counts = {state: sum(cell.state == state for cell in own) for state in ("refused", "missing")}
    if not scores:
        return MethodSummary(
            method, 0, **counts, mean=None, iqm=None, recovered=None, success=None, profile=None, place=place
        )
    matrix = np.stack(list(scores.values()))
    resamples = min(RESAMPLES, max(200, _MAX_SAMPLES // matrix.size))
    profile = performance_profile(matrix, LEVELS, resamples=resamples)
    counted = [cell.row for cell in own if cell.counted and cell.row is not None]
    successes = [row.success for row in counted if row.success is not None]
    above = [row.above_controls for row in counted if row.above_controls is not None]
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
        above_controls=sum(above) if above and len(above) == len(counted) else None,
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
