"""The leaderboard of a matrix: its methods by mean recovery, beside their controls, random actions and natives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rlstitch.evaluation.matrix.plan import CELL, NATIVE
from rlstitch.evaluation.matrix.table import ranked_methods
from rlstitch.evaluation.matrix.text import INTERVALS
from rlstitch.reporting.matrix.data import CellRow, MatrixData, place_of
from rlstitch.reporting.matrix.tables import compared_texts, headline, uneven_texts
from rlstitch.reporting.tables import MISSING, markdown_lines, number, plain_markdown
from rlstitch.stitching.controls import CONTROLS, split_control
from rlstitch.storage import write_bytes, write_table

RANDOM = "random"
_REFERENCES = {NATIVE: 100.0, RANDOM: 0.0}
Standing = dict[str, Any]
"""One line: method, cells, mean, low, high (recovery in percent), worst and its cell, success, mean recovery of each
control, cells above the controls, seconds to fit, and the mean recovery and return in each environment."""


def leaderboard(data: MatrixData) -> list[Standing]:
    """Return the methods in the cells' own worlds, the highest mean recovery first; None for what was not measured.

    Those that are not among `ranked_methods`, whose means are over other cells, follow the others. The native agents
    and random actions, the ends of the scale, stand first and last.
    """
    rows = [row for row in data.rows if row.get("counted") and place_of(row) == data.places[0]]
    rows = [row for row in rows if row["recovery"] is not None]
    entries = {entry["method"]: entry for entry in data.summary if entry.get("place", CELL) == data.places[0]}
    methods = [name for name in entries if name != NATIVE and not split_control(name)[1]]
    lines = [_standing(entries, name, [row for row in rows if row["method"] == name]) for name in methods]
    ranked = ranked_methods(data.counted_cells())
    lines.sort(
        key=lambda line: (line["method"] in ranked, -np.inf if line["mean"] is None else line["mean"]), reverse=True
    )
    native, random = (_reference(name, rows, lines) for name in (NATIVE, RANDOM))
    return [native, *lines, random]


def _standing(entries: Mapping[str, Mapping[str, Any]], method: str, rows: Sequence[CellRow]) -> Standing:
    entry = entries[method]
    mean = entry["mean"] or dict.fromkeys(("estimate", "low", "high"))
    worst = min(rows, key=lambda row: row["recovery"], default=None)
    line = {"method": method, "cells": entry["cells"], "mean": mean["estimate"], "low": mean["low"]}
    line |= {"high": mean["high"], "worst": worst and worst["recovery"]}
    line |= {"worst_cell": worst and f"{worst['encoder']} → {worst['controller']}", "success": entry["success"]}
    for control in CONTROLS:
        of_control = (entries.get(f"{method}-{control}") or {}).get("mean")
        line[control] = of_control and of_control["estimate"]
    line["above_controls"] = entry.get("above_controls")
    line["fit_seconds"] = _median(row.get("fit_seconds") for row in rows)
    return line | _by_environment(rows, "recovery", "return_mean")


def _reference(name: str, rows: Sequence[CellRow], lines: Sequence[Standing]) -> Standing:
    """Return the line of the native agents or of random actions, whose recovery is known by definition."""
    of_cells = {(row["encoder"], row["controller"]): row for row in rows}.values()
    line: Standing = dict.fromkeys(lines[0]) if lines else {}
    line |= {"method": name, "cells": len(of_cells), "mean": _REFERENCES[name]}
    places = _by_environment(of_cells, "recovery", f"{name}_return")
    return line | {key: _REFERENCES[name] if key.startswith("recovery") else value for key, value in places.items()}


def _by_environment(rows: Iterable[CellRow], recovery: str, returns: str) -> Standing:
    """Return the means of two columns over the cells of each environment."""
    groups: dict[str, list[CellRow]] = {}
    for row in rows:
        groups.setdefault(str(row.get("world")).partition(",")[0], []).append(row)
    return {
        f"{name} {environment}": float(np.mean(values))
        for name, column in (("recovery", recovery), ("return", returns))
        for environment in sorted(groups)
        if (values := [row[column] for row in groups[environment] if row.get(column) is not None])
    }


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def leaderboard_rows(standings: Sequence[Standing]) -> list[tuple[str, ...]]:
    """Return header and lines as texts; columns that no method has are left out."""
    columns: dict[str, Callable[[Standing], str]] = {
        "method": lambda line: line["method"],
        "cells": lambda line: str(line["cells"]),
        "mean recovery %": _mean,
        "worst cell %": lambda line: _text(line["worst"]),
        "success": lambda line: MISSING if line["success"] is None else f"{line['success']:.0%}",
        **{f"{name} %": functools.partial(_value, name) for name in CONTROLS},
        "above controls": _above,
        "fit seconds": lambda line: MISSING if line["fit_seconds"] is None else number(line["fit_seconds"]),
    }
    texts = {name: [text(line) for line in standings] for name, text in columns.items()}
    kept = {name: column for name, column in texts.items() if set(column) != {MISSING}}
    return [tuple(kept), *zip(*kept.values(), strict=True)]


def _value(name: str, line: Standing) -> str:
    return _text(line[name])


def _text(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1f}"


def _mean(line: Standing) -> str:
    ends = "" if line["low"] is None else f" [{line['low']:.1f}, {line['high']:.1f}]"
    return f"{_text(line['mean'])}{ends}"


def _above(line: Standing) -> str:
    return MISSING if line["above_controls"] is None else f"{line['above_controls']} of {line['cells']}"


def write_leaderboard(data: MatrixData, facts: Mapping[str, str]) -> list[Standing]:
    """Write `leaderboard.md`, `leaderboard.csv` and `leaderboard.json` into the folder of a matrix.

    Args:
        data: the matrix.
        facts: how it was measured, by name.

    Returns:
        The lines.
    """
    standings = leaderboard(data)
    write_table(standings, data.folder / "leaderboard")
    write_bytes(data.folder / "leaderboard.md", _markdown(data, standings, facts).encode())
    return standings


def _markdown(data: MatrixData, standings: Sequence[Standing], facts: Mapping[str, str]) -> str:
    header, *rows = leaderboard_rows(standings)
    lines = ["# Leaderboard", "", plain_markdown(headline(data)), ""]
    lines += [] if data.complete else ["**Cells are missing; the same command goes on.**", ""]
    lines += [*markdown_lines(header, rows, names=1), ""]
    lines += [
        "Recovery in percent: 0 is random actions, 100 the native controllers.",
        INTERVALS,
        "Controls: a map of unrelated states, an encoder with fresh weights, the controller's own encoder.",
    ]
    if compared := [*uneven_texts(data), *compared_texts(data)]:
        lines += ["", *(f"- {plain_markdown(text)}" for text in compared)]
    for name, title in (("recovery", "Mean recovery %"), ("return", "Mean return")):
        keys = [key for key in standings[0] if key.startswith(f"{name} ")]
        if not keys:
            continue
        texts = [(line["method"], *(number(line.get(key)) for key in keys)) for line in standings]
        lines += ["", f"## {title} by environment", ""]
        lines += markdown_lines(("method", *(key.partition(" ")[2] for key in keys)), texts, names=1)
    worst = [line for line in standings if line["worst"] is not None]
    lines += ["", "## Worst cells", ""] if worst else []
    lines += [
        f"- {plain_markdown(line['method'])}: {plain_markdown(line['worst_cell'])}, {line['worst']:.1f} %"
        for line in worst
    ]
    lines += ["", "## How this was measured", ""]
    lines += [f"- {name}: {plain_markdown(value)}" for name, value in facts.items()]
    return "\n".join(lines) + "\n"
