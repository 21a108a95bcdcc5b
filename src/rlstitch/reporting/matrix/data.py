"""A matrix read back from its folder, checked, and put into columns for the page of its report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from rlstitch.errors import ArtefactError
from rlstitch.evaluation.matrix.plan import NATIVE
from rlstitch.evaluation.matrix.worlds import CELL
from rlstitch.storage import read_json

SCHEMA_VERSION = 1
"""Of `matrix.json`, as `rlstitch.evaluation.matrix.run` writes it."""
MAX_BYTES = 512 * 2**20
STATES = ("done", "refused", "missing")
_TEXTS = ("encoder", "controller", "method", "state")
_PARTS = ("return_low", "return_high", "recovery_low", "recovery_high", "random_return", "native_return", "episodes")
_SEEDS = ("encoder_seed", "controller_seed")

Row = Mapping[str, Any]
RAMP = ((18, 48, 107), (61, 95, 143), (127, 145, 153), (196, 189, 124), (255, 233, 74))
"""Colours from low to high, blue to yellow: lightness rises throughout, so that any colour vision keeps their order."""


@dataclass(frozen=True)
class Figure:
    """A number that cells have: how it is called and written."""

    key: str
    """The column of `cells.json`."""
    label: str
    scale: float = 1.0
    """What a value is multiplied by where it is shown: 100 for a share."""
    ends: tuple[float, float] | None = None
    """Shown values where colours begin and end; None: the lowest and highest."""
    fit: bool = False
    """Whether it is known before any episode is played."""
    decimals: int | None = None
    """How many are shown; None: by the largest value."""

    @property
    def edges(self) -> tuple[float, float] | None:
        """Shown values beyond which a point is drawn at the edge: an R² of −200 would squeeze all others."""
        if self.ends is None:
            return None
        low, high = self.ends
        return 2 * low - high, 2 * high - low


FIGURES = (
    Figure("recovery", "recovery %", ends=(0.0, 100.0)),
    Figure("return_mean", "return"),
    Figure("success", "success %", 100.0, (0.0, 100.0)),
    Figure("length_mean", "episode length"),
    Figure("action_agreement", "same action %", 100.0, (0.0, 100.0), fit=True),
    Figure("kl", "KL (nats)", fit=True, decimals=3),
    Figure("r2", "R²", ends=(0.0, 1.0), fit=True, decimals=2),
)


@dataclass(frozen=True)
class MatrixData:
    """What the folder of a matrix tells."""

    folder: Path
    complete: bool
    command: str
    methods: tuple[str, ...]
    options: Mapping[str, Any]
    members: Mapping[str, Mapping[str, Any]]
    """By name, as `matrix.json` describes them."""
    summary: tuple[Mapping[str, Any], ...]
    comparisons: tuple[Mapping[str, Any], ...]
    rows: tuple[Row, ...]

    @cached_property
    def encoders(self) -> tuple[str, ...]:
        """Names of all agents whose encoder stands in a row, sorted."""
        return tuple(sorted({row["encoder"] for row in self.rows}))

    @cached_property
    def controllers(self) -> tuple[str, ...]:
        """Names of all agents whose controller stands in a row, sorted."""
        return tuple(sorted({row["controller"] for row in self.rows}))

    @cached_property
    def places(self) -> tuple[str, ...]:
        """The worlds that cells are played in, as they were asked for, in the order of the rows; never empty."""
        return tuple(dict.fromkeys(place_of(row) for row in self.rows)) or (CELL,)

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """The figures that some row has; numbers of a newer version stand last, under their own names."""
        known = {figure.key: figure for figure in FIGURES}
        aside = {*known, *_TEXTS, *_PARTS, *_SEEDS}
        others = dict.fromkeys(key for row in self.rows for key, value in row.items() if _is_number(value))
        found = [figure for figure in FIGURES if any(row.get(figure.key) is not None for row in self.rows)]
        found += [Figure(key, key.replace("_", " "), fit=True) for key in others if key not in aside]
        return tuple(found) or FIGURES[:1]  # where nothing is done yet there is still something to draw

    @cached_property
    def native_returns(self) -> dict[str, float]:
        """The mean return of each agent whose native evaluation some row tells, by name."""
        told = ((row["controller"], row.get("native_return")) for row in self.rows)
        return {name: value for name, value in told if value is not None}

    def table(self, method: str, key: str, place: str | None = None) -> list[list[float | None]]:
        """Return a figure under one method in one world, encoders down and controllers across; None where it is not.

        Where natives were played in that world they stand on the diagonal. `place` None is the first world.
        """
        place, methods = place or self.places[0], (method, NATIVE)
        there = (row for row in self.rows if row["method"] in methods and place_of(row) == place)
        found = {(row["encoder"], row["controller"]): row.get(key) for row in there}
        return [[found.get((encoder, controller)) for controller in self.controllers] for encoder in self.encoders]


def place_of(row: Row) -> str:
    """Return the world of a row as it was asked for; matrices that know of no other tell none."""
    return str(row.get("place") or CELL)


def read_matrix(folder: str | Path) -> MatrixData:
    """Read the folder that `rlstitch matrix` wrote.

    Raises:
        ArtefactError: where it is none, or a file in it is damaged or of another version.
    """
    folder = Path(folder)
    if not (folder / "matrix.json").is_file():
        raise ArtefactError(f"{folder}: expected the folder of a matrix, found no matrix.json; see rlstitch matrix")
    about = read_json(folder / "matrix.json", schema_version=SCHEMA_VERSION, max_bytes=MAX_BYTES)
    rows = read_json(folder / "cells.json", max_bytes=MAX_BYTES)
    where = folder / "cells.json"
    if not isinstance(rows, list):
        raise ArtefactError(f"{where}: expected a list of rows, found {type(rows).__name__}")
    for number, row in enumerate(rows):
        _check_row(row, f"{where}, row {number}")
    try:
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
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{folder / 'matrix.json'}: not what a matrix writes: {error!r}") from None


def _check_row(row: Any, where: str) -> None:
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in _TEXTS):
        raise ArtefactError(f"{where}: expected {', '.join(_TEXTS)} as texts, found {str(row)[:80]}")
    if row["state"] not in STATES:
        raise ArtefactError(f"{where}: state: expected {', '.join(STATES)}, found {row['state'][:40]!r}")
    for key in (*(figure.key for figure in FIGURES), *_PARTS):
        value = row.get(key)
        if value is not None and not _is_number(value):
            raise ArtefactError(f"{where}: {key}: expected a number, found {str(value)[:40]!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def payload(data: MatrixData) -> dict[str, Any]:
    """Return what the page's script reads: columns with names looked up in lists, numbers of six digits."""
    rows = data.rows
    agents = sorted({*data.encoders, *data.controllers})
    columns: dict[str, list[Any]] = {}
    names = {"methods": _methods(data)}
    for column, known in (("encoder", agents), ("controller", agents), ("method", names["methods"])):
        place = {name: index for index, name in enumerate(known)}
        columns[column] = [place[row[column]] for row in rows]
    for column, home in (("map", "maps"), ("world", "worlds"), ("reason", "reasons"), ("state", "states")):
        names[home] = list(dict.fromkeys(str(row.get(column) or "") for row in rows))
        place = {name: index for index, name in enumerate(names[home])}
        columns[column] = [place[str(row.get(column) or "")] for row in rows]
    columns["place"] = [data.places.index(place_of(row)) for row in rows]
    for flag in ("same_seed", "counted"):
        columns[flag] = [int(bool(row.get(flag))) for row in rows]
    for key in (*(figure.key for figure in data.figures), *_PARTS):
        columns[key] = [_short(row.get(key)) for row in rows]
    return {
        "agents": agents,
        **names,
        "places": data.places,
        "unjoined": NATIVE,
        "ramp": RAMP,
        "figures": [_describe(figure, columns[figure.key]) for figure in data.figures],
        "columns": columns,
        "native": {str(agents.index(name)): _short(value) for name, value in data.native_returns.items()},
    }


def _methods(data: MatrixData) -> list[str]:
    return list(dict.fromkeys((*data.methods, *(row["method"] for row in data.rows))))


def _short(value: float | None) -> float | int | None:
    if value is None:
        return None
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def _describe(figure: Figure, values: Sequence[float | None]) -> dict[str, Any]:
    shown = [value * figure.scale for value in values if value is not None]
    low, high = figure.ends or (min(shown, default=0.0), max(shown, default=1.0))
    size = max(map(abs, shown), default=0.0)
    decimals = figure.decimals
    if decimals is None:
        decimals = 0 if figure.ends == (0.0, 100.0) else decimals_for(size)
    return {
        "key": figure.key,
        "label": figure.label,
        "scale": figure.scale,
        "decimals": decimals,
        "low": low,
        "high": high if high > low else low + 1.0,
        "edges": figure.edges,
        "fit": figure.fit,
    }


def decimals_for(size: float) -> int:
    """Return how many decimals a column has whose largest value is `size`: three digits or so."""
    return 2 if size < 10 else 1 if size < 100 else 0


def correlations(data: MatrixData) -> list[dict[str, Any]]:
    """Return Spearman's rank correlation of each figure of fit with recovery, return and success, a method and world.

    Over the cells that are done and have both; fewer than three, or one value alone, have no correlation.
    """
    fits = [figure.key for figure in data.figures if figure.fit]
    outcomes = [key for key in ("recovery", "return_mean", "success") if key in {f.key for f in data.figures}]
    found = []
    listed = [(place, method) for place in data.places for method in _methods(data) if method != NATIVE]
    done = [row for row in data.rows if row["state"] == "done"]
    for (place, method), fit, outcome in product(listed, fits, outcomes):
        rows = [row for row in done if row["method"] == method and place_of(row) == place]
        pairs = [(r[fit], r[outcome]) for r in rows if r.get(fit) is not None and r.get(outcome) is not None]
        told = {"method": method, "fit": fit, "outcome": outcome, "cells": len(pairs), "rho": _spearman(pairs)}
        found.append(told | {"place": place})
    return found


def _spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return the correlation of ranks, ties sharing their mean rank (Spearman, 1904); None where there is none."""
    import numpy as np
    from scipy.stats import rankdata

    if len(pairs) < 3:
        return None
    ranks = [rankdata(side) for side in zip(*pairs, strict=True)]
    if any(np.ptp(side) == 0 for side in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def spread(values: Iterable[float], levels: Sequence[float]) -> list[float]:
    """Return the share of values at or above each level."""
    ordered = sorted(value for value in values if math.isfinite(value))
    return [sum(value >= level for value in ordered) / max(1, len(ordered)) for level in levels]


def recoveries(data: MatrixData, method: str, place: str) -> list[float]:
    """Return the recovery of each counted cell of a method in a world, in percent."""
    rows = (row for row in data.rows if row["method"] == method and place_of(row) == place and row.get("counted"))
    return [row["recovery"] for row in rows if row.get("recovery") is not None]
