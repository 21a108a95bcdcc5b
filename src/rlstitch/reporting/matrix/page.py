"""The page of a matrix's report: one file with its own script, style sheet and data."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from rlstitch.evaluation.matrix.plan import CELL, NATIVE
from rlstitch.evaluation.matrix.text import INTERVALS
from rlstitch.reporting.html import render
from rlstitch.reporting.matrix.commands import cell_commands
from rlstitch.reporting.matrix.data import PARTS, STATES, MatrixData, Metric, place_of
from rlstitch.reporting.matrix.latents import LatentScatter
from rlstitch.reporting.matrix.leaderboard import leaderboard, leaderboard_rows
from rlstitch.reporting.matrix.matrix_plots import (
    diagnostic_plots,
    latents_plot,
    method_plots,
    profile_plots,
    training_curves,
    training_plot,
)
from rlstitch.reporting.matrix.tables import (
    all_methods,
    best_method,
    compared_texts,
    correlations,
    method_table,
    undefined_texts,
    uneven_texts,
    verdict,
    worst_row,
)
from rlstitch.reporting.plots import RAMP, Plot
from rlstitch.reporting.tables import minus
from rlstitch.stitching.controls import split_control
from rlstitch.storage import limits, read_bytes

_SCRIPTS = ("core.js", "heat.js", "table.js", "cell.js")


@dataclass(frozen=True)
class Video:
    """A video of a cell that is embedded."""

    row: int
    """Index of the cell in the rows."""
    path: Path
    """An MP4 file."""
    caption: str

    @property
    def id(self) -> str:
        """The name of its element on the page."""
        return f"video-{self.row}"


def render_matrix(data: MatrixData, *, videos: Sequence[Video] = (), latents: Sequence[LatentScatter] = ()) -> str:
    """Return the page.

    Raises:
        ArtefactError: if a video cannot be read.
    """
    header, *lines = method_table(data)
    board_header, *board = leaderboard_rows(leaderboard(data))
    curves = training_curves(data)
    names = [f"latents-{index}" for index in range(len(latents))]
    content = payload(data) | {
        "videos": [{"row": video.row, "id": video.id, "caption": video.caption} for video in videos],
        "worst": worst_row(data),
        "latents": [{"row": _row_of(data, each), "id": name} for each, name in zip(latents, names, strict=True)],
    }
    return render(
        "matrix.html",
        scripts=_SCRIPTS,
        title=f"Stitching matrix {data.folder.resolve().name}",
        summary=f"{minus(verdict(data))}.",
        cards=_cards(data),
        intervals=[
            Markup(plot.svg(f"methods-{i}", "Mean recovery by method, with intervals", classes=classes))
            for i, (classes, plot) in enumerate(method_plots(data))
        ],
        board_header=_columns(board_header, 1),
        board=board,
        complete=data.complete,
        header=_columns(header, header.index("method") + 1),
        names=header.index("method") + 1,
        lines=lines,
        comparisons=[minus(text) for text in compared_texts(data)],
        undefined=undefined_texts(data),
        uneven=uneven_texts(data),
        intervals_note=INTERVALS,
        profiles=[
            (_svg(plot, f"profile-{i}", text), text) for i, (text, plot) in enumerate(profile_plots(data).items())
        ],
        training=_svg(training_plot(curves), "training", "Success over steps") if curves else "",
        diagnostics=_diagnostics(data),
        correlations=_correlations(data),
        outcome_heads=[(metric.label, "number") for metric in data.outcomes],
        latents=[
            (name, _svg(latents_plot(each), name, f"Latents of {len(each.target)} matched states"), each)
            for each, name in zip(latents, names, strict=True)
        ],
        facts={
            "episodes a cell": data.options.get("episodes"),
            "pairs, at most": data.options.get("pairs"),
            "seed": data.options.get("seed"),
            "actions": "greedy" if data.options.get("greedy") else "sampled",
            "methods": ", ".join(data.methods),
            "worlds": None if data.places == (CELL,) else ", ".join(data.places),
            "tables beside this file": "cells.csv, cells.json, report.md, report.json, tables/",
        },
        command=data.command,
        videos=[
            (video.id, base64.b64encode(read_bytes(video.path, max_bytes=limits.VIDEO_BYTES)).decode())
            for video in videos
        ],
        data=content,
    )


def _columns(header: Sequence[str], names: int) -> list[tuple[str, str]]:
    """Return the headings of a table with their CSS classes; the first columns hold names."""
    return [(name, "" if index < names else "number") for index, name in enumerate(header)]


def _cards(data: MatrixData) -> list[tuple[str, str, str]]:
    """Return the key figures: name, value, and a remark."""
    best, worst = best_method(data), worst_row(data)
    states = Counter(row["state"] for row in data.rows)
    cards = []
    if best is not None and worst is not None:
        mean, row = best["mean"], data.rows[worst]
        ends = minus(f"{best['method']}, [{mean['low']:.1f}, {mean['high']:.1f}], {best['cells']} cells")
        cards.append(("best mean recovery", minus(f"{mean['estimate']:.1f} %"), ends))
        value = minus(f"{row['recovery']:.1f} %")
        cards.append(("its worst cell", value, f"{row['encoder']} → {row['controller']}"))
        cards.append(
            ("cells at 90 % or more", f"{best['recovered']:.0%}", f"of {best['cells']} under {best['method']}")
        )
        if (above := best.get("above_controls")) is not None:
            cards.append(("above the controls", f"{above} of {best['cells']}", "shuffled pairs, untrained encoder"))
    size = f"{len(data.encoders)} × {len(data.controllers)}"
    cards.append(("encoders × controllers", size, f"under {len(data.methods)} methods"))
    rest = ", ".join(f"{states[name]:,} {name}" for name in STATES[1:] if states[name])
    return [*cards, ("cells measured", f"{states['done']:,}", rest or "all")]


def _svg(plot: Plot, name: str, description: str) -> Markup:
    return Markup(plot.svg(name, description))


def _row_of(data: MatrixData, scatter: LatentScatter) -> int:
    key = (scatter.encoder, scatter.controller, scatter.method)
    return next(i for i, row in enumerate(data.rows) if (row["encoder"], row["controller"], row["method"]) == key)


def _diagnostics(data: MatrixData) -> list[tuple[int, str, list[Markup]]]:
    """Return index, name and plots of each world."""
    plots = diagnostic_plots(data)
    return [
        (
            number,
            place,
            [
                _svg(plots[place, fit.key], f"d{number}.{i}", f"{data.outcomes[0].label} against {fit.label}")
                for i, fit in enumerate(data.fits)
                if (place, fit.key) in plots
            ],
        )
        for number, place in enumerate(data.places)
    ]


def _correlations(data: MatrixData) -> list[tuple[str, str, str, list[str]]]:
    """Return world, method, diagnostic, and a text for each outcome."""
    labels = {fit.key: fit.label for fit in data.fits}
    lines: dict[tuple[str, str, str], list[str]] = {}
    for entry in correlations(data):
        text = "–" if entry["rho"] is None else f"{entry['rho']:.2f} ({entry['cells']})"
        lines.setdefault((entry["place"], entry["method"], labels[entry["fit"]]), []).append(text)
    return [(*key, texts) for key, texts in lines.items()]


def payload(data: MatrixData) -> dict[str, Any]:
    """Return the data of the page's script: columns, with names as indices into lists, and short numbers."""
    columns: dict[str, list[Any]] = {}
    names: dict[str, list[str]] = {"agents": list(data.agents), "methods": all_methods(data)}
    for column, home in (("map", "maps"), ("world", "worlds"), ("reason", "reasons"), ("state", "states")):
        names[home] = list(dict.fromkeys(str(row.get(column) or "") for row in data.rows))
        columns[column] = _indices(names[home], [str(row.get(column) or "") for row in data.rows])
    commands = ["\n".join(cell_commands(data, row)) for row in data.rows]
    names["commands"] = list(dict.fromkeys(commands))
    columns["commands"] = _indices(names["commands"], commands)
    for column in ("encoder", "controller"):
        columns[column] = _indices(names["agents"], [row[column] for row in data.rows])
    columns["method"] = _indices(names["methods"], [row["method"] for row in data.rows])
    columns["place"] = _indices(data.places, [place_of(row) for row in data.rows])
    for flag in ("same_seed", "counted"):
        columns[flag] = [int(bool(row.get(flag))) for row in data.rows]
    metrics = {metric.key: _describe(metric, data) for metric in data.metrics}
    for key in (*metrics, *PARTS):
        columns[key] = [
            _short(row.get(key), _digits(metrics.get(key) or metrics.get(_parent(key)))) for row in data.rows
        ]
    digits = _digits(metrics.get("return_mean"))
    return {
        **names,
        "places": data.places,
        "native_method": NATIVE,
        "stitched": [name != NATIVE and not split_control(name)[1] for name in names["methods"]],
        "ramp": RAMP,
        "metrics": list(metrics.values()),
        "scatters": [{"fit": fit.key, "outcome": data.outcomes[0].key} for fit in data.fits],
        "columns": columns,
        "native": {data.agents.index(name): _short(value, digits) for name, value in data.native_returns.items()},
    }


def _indices(names: Sequence[str], values: Sequence[str]) -> list[int]:
    places = {name: index for index, name in enumerate(names)}
    return [places[value] for value in values]


def _parent(key: str) -> str:
    """Return the metric in whose unit a column is written: `return_mean` for `return_low` and `native_return`."""
    return "return_mean" if "return" in key else key.partition("_")[0]


def _digits(metric: Mapping[str, Any] | None) -> int:
    """Return the decimals of a metric's values in the page: two more than are shown."""
    return 6 if metric is None else metric["decimals"] + 2 + round(math.log10(metric["scale"]))


def _short(value: float | None, digits: int) -> float | int | None:
    if value is None or not math.isfinite(value):
        return None
    short = round(value, digits)
    return int(short) if short == int(short) and abs(short) < 1e15 else short


def _describe(metric: Metric, data: MatrixData) -> dict[str, Any]:
    shown = [row[metric.key] * metric.scale for row in data.rows if row.get(metric.key) is not None]
    low, high = metric.ends or (min(shown, default=0.0), max(shown, default=1.0))
    size = max(map(abs, shown), default=0.0)
    decimals = metric.decimals
    if decimals is None:
        decimals = 0 if metric.ends == (0.0, 100.0) else 2 if size < 10 else 1 if size < 100 else 0
    return {
        "key": metric.key,
        "label": metric.label,
        "scale": metric.scale,
        "decimals": decimals,
        "low": low,
        "high": high if high > low else low + 1.0,
        "fit": metric.fit,
        "lowest_first": metric.lowest_first,
    }
