"""The files beside the page of a matrix's report: Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import re
from itertools import product
from pathlib import Path
from typing import Any

from rlstitch.evaluation.matrix.worlds import CELL
from rlstitch.reporting.matrix.data import MatrixData, in_place
from rlstitch.reporting.matrix.summary import comparison_text, correlations, headline, method_table
from rlstitch.reporting.tables import markdown_lines, plain_markdown
from rlstitch.storage import write_bytes, write_json

SCHEMA_VERSION = 1
MAX_MARKDOWN = 24
"""Agents up to which Markdown has tables of every encoder with every controller; CSV and JSON always have them."""


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
    lines += ["", "Recovery in percent: 0 is random actions, 100 the native controller; [95 % interval] over episodes."]
    if data.comparisons:
        lines += ["", *(f"- {plain_markdown(comparison_text(entry))}" for entry in data.comparisons)]
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
