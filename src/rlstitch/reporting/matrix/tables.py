"""The result of a matrix by method: in sentences and tables, how diagnostics predict outcomes, and the files of it.

The files beside the page of a report are Markdown, CSV and JSON.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from rlstitch.evaluation.matrix.plan import CELL, NATIVE
from rlstitch.evaluation.matrix.table import ranked_methods
from rlstitch.evaluation.matrix.text import INTERVALS, comparison_text, control_texts, ranking_texts
from rlstitch.reporting.matrix.data import CellRow, MatrixData, in_place, place_of
from rlstitch.reporting.tables import MISSING, markdown_lines, plain_markdown
from rlstitch.storage import write_bytes, write_json

METHOD_HEADER = ("method", "cells", "mean recovery %", "IQM %", "≥ 90 %", "success", "refused", "missing")
SCHEMA_VERSION = 1
MAX_MARKDOWN = 24
"""Agents up to which Markdown has tables of every encoder with every controller; CSV and JSON always have them."""


def method_line(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the results of a method as texts, in the order of `METHOD_HEADER`."""
    mean, iqm = (_percents(entry.get(name)) for name in ("mean", "iqm"))
    shares = [MISSING if (x := entry.get(name)) is None else f"{x:.0%}" for name in ("recovered", "success")]
    counts = [str(entry.get(name, 0)) for name in ("refused", "missing")]
    return (str(entry["method"]), str(entry["cells"]), mean, iqm, *shares, *counts)


def _percents(interval: Mapping[str, float] | None) -> str:
    if interval is None:
        return MISSING
    return f"{interval['estimate']:.1f} [{interval['low']:.1f}, {interval['high']:.1f}]"


def method_table(data: MatrixData) -> list[tuple[str, ...]]:
    """Return the header and the lines of all methods, with the world first unless it is always the cell's own."""
    rows = [METHOD_HEADER, *(method_line(entry) for entry in data.summary)]
    if data.places == (CELL,):
        return rows
    places = ["world", *(str(entry.get("place", CELL)) for entry in data.summary)]
    return [(place, *row) for place, row in zip(places, rows, strict=True)]


def best_method(data: MatrixData) -> Mapping[str, Any] | None:
    """Return the summary of the method with the highest mean recovery in the first world; None without a recovery.

    It is one of `ranked_methods`: means over different cells are not compared.
    """
    ranked = ranked_methods(data.counted_cells())
    first = [entry for entry in data.summary if entry.get("place", CELL) == data.places[0]]
    known = [entry for entry in first if entry["method"] in ranked and entry.get("mean") is not None]
    return max(known, key=lambda entry: entry["mean"]["estimate"], default=None)


def worst_row(data: MatrixData) -> int | None:
    """Return the row of the lowest recovery under that method, which its mean hides; None without a recovery."""
    best = best_method(data)
    rows = [
        index
        for index, row in enumerate(data.rows)
        if best and row["method"] == best["method"] and place_of(row) == data.places[0]
        if row.get("counted") and row["recovery"] is not None
    ]
    return min(rows, key=lambda index: float(data.rows[index]["recovery"]), default=None)


def headline(data: MatrixData) -> str:
    """Return the result as a sentence: the method with the highest mean recovery, and how much was measured."""
    done = sum(row["state"] == "done" for row in data.rows)
    size = (
        f"{len(data.encoders)} encoders with {len(data.controllers)} controllers under "
        f"{len(data.methods)} method{'s' if len(data.methods) > 1 else ''}, {done:,} cells done"
    )
    if data.places != (CELL,):
        size += f" in {len(data.places)} world{'s' if len(data.places) > 1 else ''}"
    return f"{verdict(data)}: {size}."


def verdict(data: MatrixData) -> str:
    """Return the first half of the headline; a recovery without its controls would say more than was shown."""
    best = best_method(data)
    if best is None:
        return f"No cell has a recovery{'' if undefined_cells(data) else ' yet'}"
    text = f"{best['method']} recovers {best['mean']['estimate']:.1f} % on average{in_place(data.places[0])}"
    above, cells = best.get("above_controls"), best["cells"]
    text += f" over {cells} cells" if ranking_texts(data.counted_cells()) else ""
    return text if above is None else f"{text}, above its controls in {above} of {cells} cells"


def compared_texts(data: MatrixData) -> list[str]:
    """Return in how many cells each method is above its controls, and how the methods compare."""
    return [*control_texts(data.summary), *map(comparison_text, data.comparisons)]


def uneven_texts(data: MatrixData) -> list[str]:
    """Return for each world where methods have different cells, which of them are compared for the best."""
    return [text for place in data.places for text in ranking_texts(data.counted_cells(place), place)]


def undefined_cells(data: MatrixData) -> list[CellRow]:
    """Return the cells that were measured and have no recovery; the note of each says why."""
    return [row for row in data.rows if row["state"] == "done" and row.get("recovery") is None]


def undefined_texts(data: MatrixData) -> list[str]:
    """Return why cells have no recovery, a line for each controller and reason."""
    cells = Counter((row["controller"], str(row.get("reason") or "unknown")) for row in undefined_cells(data))
    return [f"No recovery of {count} cells with the controller of {c}: {why}." for (c, why), count in cells.items()]


def correlations(data: MatrixData) -> list[dict[str, Any]]:
    """Return Spearman's rank correlation (1904) of each diagnostic with each outcome, for every method and world.

    Over the cells that are done and have both; None for fewer than three cells or a constant.
    """
    entries = []
    for place, method in product(data.places, all_methods(data)):
        rows = [row for row in data.select(method, place) if row["state"] == "done" and method != NATIVE]
        for fit, outcome in product(data.fits, data.outcomes) if method != NATIVE else ():
            keys = (fit.key, outcome.key)
            pairs = [tuple(row[key] for key in keys) for row in rows if all(row.get(key) is not None for key in keys)]
            entry = {"method": method, "fit": fit.key, "outcome": outcome.key, "cells": len(pairs)}
            entries.append(entry | {"rho": _spearman(pairs), "place": place})
    return entries


def all_methods(data: MatrixData) -> list[str]:
    """Return the methods of the matrix in their order, then those of other rows, as `native`."""
    return list(dict.fromkeys((*data.methods, *(row["method"] for row in data.rows))))


def _spearman(pairs: Sequence[tuple[float, ...]]) -> float | None:
    if len(pairs) < 3:
        return None
    ranks = [rankdata(side) for side in zip(*pairs, strict=True)]
    if any(np.ptp(side) == 0 for side in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def write_tables(data: MatrixData, folder: Path) -> list[Path]:
    """Write `report.md`, `report.json`, and `tables/<metric>-<method>.csv` for recovery, return and success.

    A world that is not the cell's own follows the method: `tables/<metric>-<method>-<world>.csv`.

    Raises:
        ArtefactError: if a file cannot be written.
    """
    paths = [folder / "report.md", folder / "report.json"]
    write_bytes(paths[0], markdown(data).encode())
    content = {
        "encoders": data.encoders,
        "controllers": data.controllers,
        "tables": _tables(data, data.places[0]),
        "worlds": data.places,
        "tables_of_other_worlds": {place: _tables(data, place) for place in data.places[1:]},
        "native_return": data.native_returns,
        "summary": data.summary,
        "comparisons": data.comparisons,
        "correlations": correlations(data),
        "undefined": [
            {key: row.get(key) for key in ("encoder", "controller", "method", "place", "reason")}
            for row in undefined_cells(data)
        ],
    }
    write_json(paths[1], content, schema_version=SCHEMA_VERSION)
    for place, method, metric in product(data.places, data.methods, data.outcomes):
        suffix = "" if place == CELL else "-" + re.sub(r"[^\w.=-]+", "-", place, flags=re.ASCII)
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["encoder", *data.controllers])
        table = data.table(method, metric.key, place)
        writer.writerows([name, *line] for name, line in zip(data.encoders, table, strict=True))
        paths.append(folder / "tables" / f"{metric.stem}-{method}{suffix}.csv")
        write_bytes(paths[-1], text.getvalue().encode())
    return paths


def _tables(data: MatrixData, place: str) -> dict[str, Any]:
    return {method: {m.key: data.table(method, m.key, place) for m in data.outcomes} for method in data.methods}


def markdown(data: MatrixData) -> str:
    """Return the report as Markdown: methods, comparisons, and recovery of every encoder with every controller."""
    header, *rows = method_table(data)
    lines = ["# Report of a stitching matrix", "", plain_markdown(headline(data)), ""]
    lines += markdown_lines(header, rows, names=header.index("method") + 1)
    lines += ["", "Recovery in percent: 0 is random actions, 100 the native controller.", INTERVALS]
    lines += ["", *(f"- {plain_markdown(text)}" for text in uneven)] if (uneven := uneven_texts(data)) else []
    if compared := compared_texts(data):
        lines += ["", *(f"- {plain_markdown(text)}" for text in compared)]
    if undefined := undefined_texts(data):
        lines += ["", *(f"- {plain_markdown(text)}" for text in undefined)]
    metric = data.outcomes[0]
    if max(len(data.encoders), len(data.controllers)) > MAX_MARKDOWN:
        lines += ["", f"Every encoder with every controller: tables/{metric.stem}-METHOD.csv."]
        return "\n".join(lines) + "\n"
    for place, method in product(data.places, data.methods):
        title = f"{plain_markdown(method + in_place(place))}: {metric.label}"
        lines += ["", f"## {title}, encoders down, controllers across", ""]
        table = zip(data.encoders, data.table(method, metric.key, place), strict=True)
        rows = [(name, *map(metric.written, values)) for name, values in table]
        lines += markdown_lines(("", *data.controllers), rows, names=1)
    return "\n".join(lines) + "\n"
