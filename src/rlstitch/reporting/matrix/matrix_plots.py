"""The plots of a matrix: profiles, training curves, diagnostics against outcomes, latents, heat maps."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rlstitch.errors import ArtefactError
from rlstitch.evaluation.matrix.plan import CELL
from rlstitch.evaluation.matrix.table import ranked_methods
from rlstitch.evaluation.matrix.text import ranking_texts
from rlstitch.reporting.matrix.data import MatrixData, Metric, in_place
from rlstitch.reporting.matrix.latents import LatentScatter
from rlstitch.reporting.plots import (
    Interval,
    Plot,
    Point,
    curves_plot,
    heat_plot,
    interval_plot,
    matched_plot,
    scatter_plot,
)
from rlstitch.reporting.tables import minus
from rlstitch.stitching.controls import split_control
from rlstitch.storage import limits, read_bytes
from rlstitch.storage.files import decode_text
from rlstitch.storage.workspace import RUNS, is_name

MAX_CURVES = 24
"""More would hide each other."""
_DIGITS = "[0-9a-f]" * 8
Curve = list[tuple[float, float]]
"""(steps, success rate) of each evaluation."""
LEVELS = range(-20, 121)
"""Recovery in percent at which the share of cells is drawn."""


def training_curves(data: MatrixData, runs: Path = RUNS) -> dict[str, Curve]:
    """Return success over steps by agent, for each agent with exactly one run of its name under `runs`.

    Of several runs of one name it is unknown which the agent came from. Agents without a success rate or with a damaged
    file have no curve; there is none at all for more than `MAX_CURVES` agents.
    """
    curves = {}
    for name in data.agents:
        if not is_name(name):
            continue
        paths = [path / "curve.csv" for path in runs.glob(f"{name}-{_DIGITS}") if (path / "curve.csv").is_file()]
        if len(paths) == 1 and (curve := _read(paths[0])):
            curves[name] = curve
    return curves if len(curves) <= MAX_CURVES else {}


def _read(path: Path) -> Curve:
    """Return the points of a file; none if it is damaged or holds fewer than two."""
    try:
        text = decode_text(read_bytes(path, max_bytes=limits.CURVE_BYTES))
        points = [(float(row["steps"]), float(row["success"])) for row in csv.DictReader(io.StringIO(text))]
    except (ArtefactError, KeyError, TypeError, ValueError, csv.Error):
        return []
    return points if len(points) > 1 and all(0.0 <= success <= 1.0 for _, success in points) else []


def profile_plots(data: MatrixData) -> dict[str, Plot]:
    """Return the profiles by caption: shares of episodes, and of cells, that reach each level of recovery.

    The first are performance profiles (Agarwal et al., 2021, arXiv 2108.13264) with 95 % bands.
    """
    profiles = {}
    for entry in data.summary:
        if profile := entry.get("profile"):
            points = zip(*(profile[key] for key in ("levels", "share", "low", "high")), strict=True)
            profiles[_name(data, entry["method"], entry.get("place", CELL), entry["cells"])] = list(points)
    cells: dict[str, list[Point]] = {}
    for place in data.places:
        for method in data.methods:
            values = [row["recovery"] for row in data.select(method, place) if row.get("counted")]
            if values := [value for value in values if value is not None]:
                cells[_name(data, method, place, len(values))] = [
                    (float(level), share_reaching(values, level)) for level in LEVELS
                ]
    plots = {
        "Performance profiles: the share of all episodes whose recovery is above each level, with 95 % bands.": (
            profiles,
            "share of episodes above",
        ),
        "Cells: the share whose mean recovery reaches each level.": (cells, "share of cells at or above"),
    }
    return {
        caption: curves_plot(curves, "recovery in %", label, shares=True)
        for caption, (curves, label) in plots.items()
        if curves
    }


def method_plots(data: MatrixData) -> list[tuple[str, Plot]]:
    """Return mean recovery by method with its interval, for wide and narrow screens, by CSS class.

    The best is first; methods that are not among `ranked_methods`, whose means are over other cells, are last.
    """
    entries = [entry for entry in data.summary if entry.get("place", CELL) == data.places[0] and entry.get("mean")]
    cells = data.counted_cells()
    apart = cells.keys() - set(ranked_methods(cells))
    entries.sort(key=lambda entry: (entry["method"] not in apart, entry["mean"]["estimate"]), reverse=True)
    intervals = []
    for entry in entries:
        value, low, high = (entry["mean"][key] for key in ("estimate", "low", "high"))
        kind = "control" if split_control(entry["method"])[1] else "native"
        text = minus(f"{value:.1f} [{low:.1f}, {high:.1f}]")
        name = _name(data, entry["method"], data.places[0], entry["cells"])
        intervals.append(Interval(name, value, low, high, kind, text))
    label = "mean recovery %, with 95 % interval"
    plots = {"plot wide": interval_plot(intervals, label), "plot narrow": interval_plot(intervals, label, narrow=True)}
    return [(classes, plot) for classes, plot in plots.items() if plot is not None]


def share_reaching(values: Sequence[float], level: float) -> float:
    """Return the share of the finite values that are at least `level`."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(value >= level for value in finite) / max(1, len(finite))


def training_plot(curves: Mapping[str, Sequence[Point]]) -> Plot:
    """Return success over training steps by agent."""
    return curves_plot(curves, "steps", "success", shares=True)


def diagnostic_plots(data: MatrixData) -> dict[tuple[str, str], Plot]:
    """Return every diagnostic against the first outcome that is known, by world and key of the diagnostic.

    Group `i` of a plot is method `i` of the matrix, and its points are that method's cells with both values, in order.
    """
    outcome, plots = data.outcomes[0], {}
    for number, place in enumerate(data.places):
        for fit in data.fits:
            groups = {
                method: [
                    (_clipped(row[fit.key], fit), _clipped(row[outcome.key], outcome))
                    for row in data.select(method, place)
                    if row.get(fit.key) is not None and row.get(outcome.key) is not None
                ]
                for method in data.methods
            }
            if any(groups.values()):
                name = f"scatter-{number}-{fit.key}"
                plots[place, fit.key] = scatter_plot(groups, fit.label, outcome.label, name=name)
    return plots


def latents_plot(scatter: LatentScatter) -> Plot:
    """Return the matched states of a cell before (where the widths agree) and after stitching."""
    panels = {"before stitching": scatter.before, "after stitching": scatter.after}
    return matched_plot(scatter.target, {name: points for name, points in panels.items() if points is not None})


def matrix_heat_plot(data: MatrixData, method: str, metric: Metric, place: str) -> Plot:
    """Return a metric under a method in a world as a heat map, encoders down and controllers across."""
    table = [
        [None if value is None else value * metric.scale for value in row]
        for row in data.table(method, metric.key, place)
    ]
    known = [value for row in table for value in row if value is not None]
    ends = metric.ends or (min(known, default=0.0), max(known, default=1.0))
    return heat_plot(table, (data.encoders, data.controllers), f"{method}{in_place(place)}: {metric.label}", ends)


def _name(data: MatrixData, method: str, place: str, cells: int) -> str:
    """Return how a plot names a method: with the number of its cells where other methods have other cells."""
    name = method if place == CELL else f"{method}, {place}"
    return f"{name} ({cells} cells)" if ranking_texts(data.counted_cells(place)) else name


def _clipped(value: float, metric: Metric) -> float:
    low, high = metric.edges or (-math.inf, math.inf)
    return min(high, max(low, value * metric.scale))
