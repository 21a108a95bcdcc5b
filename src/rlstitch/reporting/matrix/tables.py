"""The tables of a matrix's report: Markdown to read, CSV and JSON to go on with."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from rlstitch.evaluation.matrix.plan import NATIVE
from rlstitch.evaluation.matrix.worlds import CELL
from rlstitch.reporting.matrix.data import Figure, MatrixData, correlations
from rlstitch.reporting.rows import MISSING, plain_markdown
from rlstitch.storage import write_bytes, write_json

SCHEMA_VERSION = 1
WIDEST = 24
"""A table of more agents than this is no longer readable as Markdown; CSV and JSON have it."""


def write_tables(data: MatrixData, folder: Path) -> list[Path]:
    """Write `report.md`, `report.json`, and `tables/<figure>-<method>.csv` for recovery, return and success.

    A world that is not the cell's own stands behind the method: `tables/<figure>-<method>-<world>.csv`.

    Raises:
        ArtefactError: where a file cannot be written.
    """
    figures = [figure for figure in data.figures if figure.key in ("recovery", "return_mean", "success")]
    written = [folder / "report.md", folder / "report.json"]
    write_bytes(written[0], markdown(data).encode())
    content = {
        "encoders": data.encoders,
        "controllers": data.controllers,
        "tables": _tables(data, figures, data.places[0]),
        "worlds": data.places,
        "tables_of_other_worlds": {place: _tables(data, figures, place) for place in data.places[1:]},
        "native_return": data.native_returns,
        "summary": data.summary,
        "comparisons": data.comparisons,
        "correlations": correlations(data),
    }
    write_json(written[1], content, schema_version=SCHEMA_VERSION)
    for place, method, figure in product(data.places, data.methods, figures):
        where = "" if place == CELL else "-" + re.sub(r"[^\w.=-]+", "-", place, flags=re.ASCII)
        path = folder / "tables" / f"{figure.key.removesuffix('_mean')}-{method}{where}.csv"
        write_bytes(path, _csv(data, data.table(method, figure.key, place)).encode())
        written.append(path)
    return written


def _tables(data: MatrixData, figures: Sequence[Figure], place: str) -> dict[str, Any]:
    return {method: {f.key: data.table(method, f.key, place) for f in figures} for method in data.methods}


def _csv(data: MatrixData, table: Sequence[Sequence[float | None]]) -> str:
    """Return a table with a line of controllers above and a column of encoders before; empty where there is none."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["encoder", *data.controllers])
    writer.writerows([name, *line] for name, line in zip(data.encoders, table, strict=True))
    return text.getvalue()


def markdown(data: MatrixData) -> str:
    """Return the report as Markdown: methods, comparisons, and recovery of every encoder with every controller."""
    lines = ["# Report of a stitching matrix", "", plain_markdown(headline(data)), ""]
    lines += _table(method_table(data))
    lines += ["", "Recovery in percent: 0 is random actions, 100 the native controller; [95 % interval] over episodes."]
    if data.comparisons:
        lines += ["", *(f"- {plain_markdown(comparison_text(entry))}" for entry in data.comparisons)]
    recovery = next(figure for figure in data.figures if figure.key in ("recovery", "return_mean"))
    if max(len(data.encoders), len(data.controllers)) > WIDEST:
        lines += ["", f"Every encoder with every controller: tables/{recovery.key.removesuffix('_mean')}-METHOD.csv."]
        return "\n".join(lines) + "\n"
    for place, method in product(data.places, data.methods):
        what = f"{plain_markdown(method + _in(place))}: {recovery.label}"
        lines += ["", f"## {what}, encoders down, controllers across", ""]
        table = data.table(method, recovery.key, place)
        rows = [
            (name, *(written(value, recovery) for value in line))
            for name, line in zip(data.encoders, table, strict=True)
        ]
        lines += _table([("", *data.controllers), *rows])
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(plain_markdown(text) for text in row) + " |" for row in rows]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]


def written(value: float | None, figure: Figure, *, decimals: int = 0) -> str:
    """Write a figure of a cell; a dash where there is none."""
    if value is None:
        return MISSING
    text = f"{value * figure.scale:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text


METHOD_HEADER = ("method", "cells", "mean recovery %", "IQM %", "≥ 90 %", "success", "refused", "missing")


def method_line(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a method's figures as texts, in the order of `METHOD_HEADER`."""
    mean, iqm = (_percents(entry.get(name)) for name in ("mean", "iqm"))
    shares = [MISSING if (x := entry.get(name)) is None else f"{x:.0%}" for name in ("recovered", "success")]
    counts = [str(entry.get(name, 0)) for name in ("refused", "missing")]
    return (str(entry["method"]), str(entry["cells"]), mean, iqm, *shares, *counts)


def method_table(data: MatrixData) -> list[tuple[str, ...]]:
    """Return the lines of all methods under their header; they begin with the world where it is not the cell's own."""
    rows = [METHOD_HEADER, *(method_line(entry) for entry in data.summary)]
    if data.places == (CELL,):
        return rows
    places = ["world", *(str(entry.get("place", CELL)) for entry in data.summary)]
    return [(place, *row) for place, row in zip(places, rows, strict=True)]


def _in(place: str) -> str:
    return "" if place == CELL else f" in {place}"


def _percents(interval: Mapping[str, float] | None) -> str:
    if interval is None:
        return MISSING
    return f"{interval['estimate']:.1f} [{interval['low']:.1f}, {interval['high']:.1f}]"


def comparison_text(entry: Mapping[str, Any]) -> str:
    """Say how one method does against another."""
    better, test = entry["improvement"], entry["test"]
    who = f"{entry['first']} beats {entry['second']}{_in(entry.get('place', CELL))}"
    return (
        f"{who} in {better['estimate']:.1%} of episodes [{better['low']:.1%}, {better['high']:.1%}]; over "
        f"{test['cells']} cells the median difference is {test['median_difference']:+.1f} points of recovery, "
        f"Wilcoxon p = {test['p_value']:.2g}"
    )


def headline(data: MatrixData) -> str:
    """Return the result in a sentence: the method with the highest mean recovery, and how much was measured."""
    done = sum(row["state"] == "done" for row in data.rows)
    here = [entry for entry in data.summary if entry.get("place", CELL) == data.places[0]]
    told = [entry for entry in here if entry.get("mean") is not None and entry["method"] != NATIVE]
    size = (
        f"{len(data.encoders)} encoders with {len(data.controllers)} controllers under "
        f"{len(data.methods)} method{'s' if len(data.methods) > 1 else ''}, {done:,} cells done"
    )
    if data.places != (CELL,):
        size += f" in {len(data.places)} world{'s' if len(data.places) > 1 else ''}"
    if not told:
        return f"No cell has a recovery yet: {size}."
    best = max(told, key=lambda entry: entry["mean"]["estimate"])
    return f"{best['method']} recovers {best['mean']['estimate']:.1f} % on average{_in(data.places[0])}: {size}."
