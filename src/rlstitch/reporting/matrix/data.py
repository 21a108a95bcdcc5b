"""The results of a matrix, read from its folder and checked."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rlstitch.errors import ArtefactError
from rlstitch.evaluation.matrix.plan import CELL, NATIVE
from rlstitch.evaluation.matrix.table import Cells, Comparison, MethodSummary, group_cells
from rlstitch.storage import canonical_json, first_problem, is_name, limits, parse_json, read_bytes, read_json, recover

SCHEMA_VERSION = 1
"""Of `matrix.json`, as `rlstitch.evaluation.matrix.run` writes it."""
_ATTEMPTS = 20
STATES = ("done", "refused", "missing")
_TEXTS = ("encoder", "controller", "method", "state")
PARTS = ("return_low", "return_high", "recovery_low", "recovery_high", "random_return", "native_return", "episodes",
         "fit_seconds")  # fmt: skip
"""Numeric columns of `cells.json` that are shown beside a metric."""
_SEEDS = ("encoder_seed", "controller_seed")

CellRow = Mapping[str, Any]
"""A row of `cells.json`."""


_SUMMARIES, _COMPARISONS = TypeAdapter(list[MethodSummary]), TypeAdapter(list[Comparison])
_INTERVAL, _TEST = {"estimate", "low", "high"}, {"cells", "median_difference", "p_value"}
_LARGEST = 1e15
_PROFILE = ("levels", "share", "low", "high")


@dataclass(frozen=True)
class Metric:
    """A numeric column of `cells.json` and how it is shown."""

    key: str
    label: str
    scale: float = 1.0
    """Factor of values where they are shown: 100 for a share."""
    ends: tuple[float, float] | None = None
    """Shown values where colours begin and end; None: the lowest and highest."""
    fit: bool = False
    """Whether it is known before any episode is played."""
    decimals: int | None = None
    """Shown; None: by the largest value."""
    lowest_first: bool = False
    """Whether agents are ordered from the lowest mean on."""

    @property
    def edges(self) -> tuple[float, float] | None:
        """Shown values beyond which a point is drawn at the edge: an R² of −200 would squeeze all others."""
        if self.ends is None:
            return None
        low, high = self.ends
        return 2 * low - high, 2 * high - low

    @property
    def stem(self) -> str:
        """The name of its tables and images."""
        return self.key.removesuffix("_mean")

    def written(self, value: float | None, *, decimals: int = 0) -> str:
        """Write a value of a cell; a dash for None."""
        if value is None:
            return "–"
        text = f"{value * self.scale:.{decimals}f}"
        return text.lstrip("-") if float(text) == 0 else text


METRICS = (
    Metric("recovery", "recovery %", ends=(0.0, 100.0)),
    Metric("return_mean", "return"),
    Metric("success", "success %", 100.0, (0.0, 100.0)),
    Metric("length_mean", "episode length", lowest_first=True),
    Metric("action_agreement", "same action %", 100.0, (0.0, 100.0), fit=True),
    Metric("kl", "KL (nats)", fit=True, decimals=3, lowest_first=True),
    Metric("r2", "R²", ends=(0.0, 1.0), fit=True, decimals=2),
)
OUTCOMES = ("recovery", "return_mean", "success")
"""Keys of the metrics that have tables and heat maps of their own."""


@dataclass(frozen=True)
class MatrixData:
    """The contents of a matrix's folder."""

    folder: Path
    complete: bool
    command: str
    methods: tuple[str, ...]
    options: Mapping[str, Any]
    members: Mapping[str, Mapping[str, Any]]
    """By name, as `matrix.json` describes them."""
    summary: tuple[Mapping[str, Any], ...]
    comparisons: tuple[Mapping[str, Any], ...]
    rows: tuple[CellRow, ...]

    @cached_property
    def encoders(self) -> tuple[str, ...]:
        """Names of all agents whose encoder occurs in a row, sorted."""
        return tuple(sorted({row["encoder"] for row in self.rows}))

    @cached_property
    def controllers(self) -> tuple[str, ...]:
        """Names of all agents whose controller occurs in a row, sorted."""
        return tuple(sorted({row["controller"] for row in self.rows}))

    @cached_property
    def agents(self) -> tuple[str, ...]:
        """Names of all agents that occur in a row, sorted."""
        return tuple(sorted({*self.encoders, *self.controllers}))

    @cached_property
    def places(self) -> tuple[str, ...]:
        """The worlds that cells are measured in, as they were asked for, in the order of the rows; never empty."""
        return tuple(dict.fromkeys(place_of(row) for row in self.rows)) or (CELL,)

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that some row has; numeric columns of a newer version come last, under their own names."""
        known = {metric.key for metric in METRICS}
        columns = dict.fromkeys(key for row in self.rows for key, value in row.items() if _is_number(value))
        for key in {key for row in self.rows for key in columns if not (row.get(key) is None or _is_number(row[key]))}:
            del columns[key]
        metrics = [metric for metric in METRICS if metric.key in columns]
        # Identifiers in the page are made of them.
        others = (key for key in columns if key not in {*known, *PARTS, *_SEEDS} and is_name(key))
        metrics += [Metric(key, key.replace("_", " "), fit=True) for key in others]
        return tuple(metrics) or METRICS[:1]  # a matrix without results has a page, too

    @property
    def fits(self) -> list[Metric]:
        """The metrics that are known before any episode is played."""
        return [metric for metric in self.metrics if metric.fit]

    @property
    def outcomes(self) -> list[Metric]:
        """Recovery, return and success, as far as some row has them."""
        return [metric for metric in self.metrics if metric.key in OUTCOMES] or [METRICS[0]]

    @cached_property
    def native_returns(self) -> dict[str, float]:
        """The mean return of each agent whose native evaluation some row holds, by name."""
        returns = ((row["controller"], row.get("native_return")) for row in self.rows)
        return {name: value for name, value in returns if value is not None}

    def counted_cells(self, place: str | None = None) -> Cells:
        """Return the cells of methods that count in a world; `place` None is the first world."""
        place = place or self.places[0]
        own = (row for row in self.rows if row.get("counted") and row["recovery"] is not None)
        own = (row for row in own if place_of(row) == place)
        return group_cells((row["method"], row["encoder"], row["controller"]) for row in own)

    def select(self, method: str, place: str | None = None) -> list[CellRow]:
        """Return the rows of a method in a world; `place` None is the first world."""
        place = place or self.places[0]
        return [row for row in self.rows if row["method"] == method and place_of(row) == place]

    def table(self, method: str, key: str, place: str | None = None) -> list[list[float | None]]:
        """Return a metric under one method in one world, encoders down and controllers across; None for no value.

        Natives that were measured in that world are on the diagonal. `place` None is the first world.
        """
        rows = [*self.select(NATIVE, place), *self.select(method, place)]
        values = {(row["encoder"], row["controller"]): row.get(key) for row in rows}
        return [[values.get((encoder, controller)) for controller in self.controllers] for encoder in self.encoders]


def place_of(row: CellRow) -> str:
    """Return the world of a row as it was asked for; rows of older matrices name none."""
    return str(row.get("place") or CELL)


def in_place(place: str) -> str:
    """Return ` in <world>`; empty for the cell's own world."""
    return "" if place == CELL else f" in {place}"


def read_matrix(folder: str | Path) -> MatrixData:
    """Read the folder that `rlstitch matrix` wrote.

    Raises:
        ArtefactError: if it is none, or a file in it is damaged or of another version.
    """
    folder = Path(folder)
    if not (folder / "matrix.json").is_file():
        raise ArtefactError(f"{folder}: expected the folder of a matrix, found no matrix.json; see rlstitch matrix")
    where = folder / "cells.json"
    about, rows = _read_together(folder / "matrix.json", where)
    if not isinstance(rows, list):
        raise ArtefactError(f"{where}: expected a list of rows, found {type(rows).__name__}")
    for number, row in enumerate(rows):
        _check_row(row, f"{where}, row {number}")
    sizes = [len({row[key] for row in rows}) for key in ("encoder", "controller", "method")]
    if math.prod(sizes) > limits.MATRIX_CELLS:
        raise ArtefactError(f"{where}: expected at most {limits.MATRIX_CELLS:,} cells, found {math.prod(sizes):,}")
    try:
        _check_summary(about)
        return MatrixData(
            folder,
            bool(about["complete"]),
            str(about["command"]),
            tuple(str(name) for name in about["methods"]),
            dict(about["options"]),
            {str(member["name"]): dict(member) for member in about["agents"]},
            tuple(dict(entry) for entry in about["summary"]),
            tuple(dict(entry) for entry in about["comparisons"]),
            tuple(rows),
        )
    except ValidationError as error:
        raise ArtefactError(f"{folder / 'matrix.json'}: not what a matrix writes: {first_problem(error)}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{folder / 'matrix.json'}: not what a matrix writes: {error!r}") from None


def _read_together(about_path: Path, rows_path: Path) -> tuple[Any, Any]:
    """Return the contents of both files, of one state of the matrix although it may be measured meanwhile."""
    for _ in range(_ATTEMPTS):
        recover(about_path.parent)
        about = read_json(about_path, schema_version=SCHEMA_VERSION, max_bytes=limits.MATRIX_BYTES)
        rows = read_bytes(rows_path, max_bytes=limits.MATRIX_BYTES)
        # Older matrices do not say which rows they belong to.
        if about.get("cells_sha256") in (None, hashlib.sha256(rows).hexdigest()):
            return about, parse_json(rows, str(rows_path))
        time.sleep(0.05)
    raise ArtefactError(f"{rows_path}: not the file that {about_path.name} was written with; run rlstitch matrix again")


def _check_summary(about: dict[str, Any]) -> None:
    """Refuse tables of methods whose values are of other types than a matrix writes, or profiles that do not fit."""
    for table, schema in (("summary", _SUMMARIES), ("comparisons", _COMPARISONS)):
        schema.validate_json(canonical_json(about[table]), strict=True)
    for entry in about["summary"]:
        if (profile := entry["profile"]) and len({len(profile[key]) for key in _PROFILE}) > 1:
            raise ValueError("a profile of unequal parts")
    intervals = [entry[key] for entry in about["summary"] for key in ("mean", "iqm")]
    intervals += [entry["improvement"] for entry in about["comparisons"]]
    if any(interval and not interval.keys() >= _INTERVAL for interval in intervals):
        raise ValueError("an interval without ends")
    if any(not entry["test"].keys() >= _TEST for entry in about["comparisons"]):
        raise ValueError("a test without its result")


def _check_row(row: Any, where: str) -> None:
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in _TEXTS):
        raise ArtefactError(f"{where}: expected {', '.join(_TEXTS)} as texts, found {str(row)[:80]}")
    if row["state"] not in STATES:
        raise ArtefactError(f"{where}: state: expected {', '.join(STATES)}, found {row['state'][:40]!r}")
    for key in (*(metric.key for metric in METRICS), *PARTS):
        value = row.get(key)
        if value is not None and not _is_number(value):
            raise ArtefactError(f"{where}: {key}: expected a number, found {str(value)[:40]!r}")
    row.setdefault("recovery", None)


def _is_number(value: Any) -> bool:
    # Beyond, squares of them are infinite.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
