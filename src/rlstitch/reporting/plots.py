"""All plots, drawn by matplotlib: SVG for pages, PNG and PDF for papers, arrays for TensorBoard.

Colours are Okabe and Ito's, which are distinct with any colour vision; marker shapes and dashes repeat what they say.
An SVG refers to each colour by a CSS variable of the page (`#0072b2` becomes `var(--native)`), so that it follows light
mode, dark mode and print. The same input gives the same bytes.
"""

from __future__ import annotations

import io
import math
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib.style
import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter

from rlstitch.reporting.page_svg import page_svg
from rlstitch.reporting.tables import minus, number
from rlstitch.storage.text import printable, shorten

COLOURS = {
    "page": "#ffffff",
    "panel": "#f5f6f7",
    "text": "#1a1d21",
    "soft": "#565d66",
    "line": "#d5d9de",
    "good": "#009e73",
    "middle": "#b87d00",
    "bad": "#d55e00",
    "native": "#0072b2",
    "random": "#6b7280",
    "purple": "#b0578d",
    "olive": "#8a6d00",
    "sky": "#3b8fc4",
}
"""CSS variables of the pages and their values in light mode."""
SERIES = tuple(COLOURS[name] for name in ("native", "bad", "good", "purple", "olive", "sky", "text", "random"))
"""Colours of the curves and groups of one plot, in order; after the last they begin again."""
MARKERS, DASHES = "os^Dv*", ("-", (0, (6, 3)), (0, (1.5, 2.5)), (0, (7, 3, 1.5, 3)), (0, (3, 3)), (0, (10, 4)))
RAMP = tuple(to_hex(colour) for colour in colormaps["cividis"](np.linspace(0.0, 1.0, 64)))
"""Colours of a heat map from low to high; lightness rises throughout, for any colour vision (Nuñez et al., 2018)."""
MAX_POINTS = 2000
"""Points of a plot that an SVG draws one by one; beyond, they are one embedded image."""
MAX_NUMBERED = 40
"""Rows or columns up to which a heat map has names and numbers."""

Point = tuple[float, float] | tuple[float, float, float, float]
"""(x, y), or (x, y, low, high) with the interval of y."""

_PIXEL = 1 / 72  # inch; a unit of an SVG
_LOCK = threading.RLock()  # matplotlib's parameters belong to the process
_STYLE = {
    "font.size": 12.0, "text.parse_math": False, "axes.grid": True, "axes.axisbelow": True, "grid.linewidth": 1.0,
    "axes.edgecolor": COLOURS["line"], "grid.color": COLOURS["line"], "axes.facecolor": "none",
    "axes.labelcolor": COLOURS["soft"], "text.color": COLOURS["text"], "legend.frameon": False,
    "xtick.labelcolor": COLOURS["soft"], "ytick.labelcolor": COLOURS["soft"], "axes.labelsize": 12.0,
    "xtick.major.size": 0.0, "ytick.major.size": 0.0, "axes.spines.top": False, "axes.spines.right": False,
    "lines.solid_capstyle": "butt", "savefig.dpi": 144.0, "svg.fonttype": "none", "svg.hashsalt": "rlstitch",
    "pdf.fonttype": 42,
}  # fmt: skip
_NO_METADATA: dict[str, dict[str, None]] = {
    "svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
    "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
    "png": {"Software": None},
}
_VARIABLES = {value: f"var(--{name})" for name, value in COLOURS.items()}
_VERDICTS = {
    "recovered": ("good", "o"), "partly": ("middle", "D"), "failed": ("bad", "X"), "native": ("native", "s"),
    "random": ("random", "s"), "control": ("random", "D"), "unknown": ("random", "_"),
}  # fmt: skip


@contextmanager
def _style() -> Iterator[None]:
    with _LOCK, warnings.catch_warnings(), matplotlib.style.context(["default", _STYLE]):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has fonts that matplotlib has not
        yield


@dataclass(frozen=True, eq=False)
class Plot:
    """A drawn plot, to be written in one of several formats."""

    figure: Figure

    def png(self) -> bytes:
        """Return a PNG file of 144 dots per inch."""
        return self._save("png")

    def pdf(self) -> bytes:
        """Return a PDF file with embedded fonts."""
        return self._save("pdf")

    def array(self) -> npt.NDArray[np.uint8]:
        """Return the pixels, uint8 `(H, W, 3)`."""
        with _style():
            canvas = FigureCanvasAgg(self.figure)
            canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def svg(self, name: str, description: str, *, classes: str = "plot") -> str:
        """Return an SVG element for a page whose style sheet defines the variables of `COLOURS`.

        Args:
            name: unique on the page; identifiers inside the element are derived from it.
            description: text for screen readers.
            classes: CSS classes of the element.
        """
        lines = [line for axes in self.figure.axes for line in axes.lines]
        if sum(np.size(line.get_xdata()) for line in lines if line.get_linestyle() == "None") > MAX_POINTS:
            for line in lines:
                line.set_rasterized(True)
        return page_svg(self._save("svg"), _VARIABLES, name=name, description=printable(description), classes=classes)

    def _save(self, form: str) -> bytes:
        stream = io.BytesIO()
        with _style():
            self.figure.savefig(stream, format=form, metadata=_NO_METADATA[form])
        return stream.getvalue()


@dataclass(frozen=True)
class Interval:
    """One row of `interval_plot`: a value with its 95 % interval."""

    label: str
    value: float
    low: float
    high: float
    verdict: str = "native"
    """Decides on colour and marker; one of `rlstitch.evaluation.row.Verdict`."""
    text: str = ""
    """Written at the right."""


@_style()
def interval_plot(
    intervals: Sequence[Interval],
    x_label: str,
    *,
    references: Mapping[str, Sequence[float]] | None = None,
    narrow: bool = False,
) -> Plot | None:
    """Draw one row for each interval, top to bottom: a marker at the value, a line from `low` to `high`.

    Args:
        intervals: rows; those with a value that is not finite are left out.
        x_label: of the axis.
        references: values drawn as dashed vertical lines behind the rows, by verdict (`native`, `random`).
        narrow: write labels above their rows instead of at the left, and no texts at the right, for a phone.

    Returns:
        The plot; None where no row is left.
    """
    rows = [row for row in intervals if all(map(math.isfinite, (row.low, row.value, row.high)))]
    if not rows or not math.isfinite(max(row.high for row in rows) - min(row.low for row in rows)):
        return None
    labels = [shorten(printable(row.label), 52 if narrow else 90) for row in rows]
    texts = ["" if narrow else shorten(printable(row.text), 40) for row in rows]
    wide = 480 + 8 * (max(map(len, labels)) + max(map(len, texts)))
    figure, axes = _axes(420 if narrow else wide, (46 if narrow else 34) * len(rows) + 90, x_label)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.margins(x=0.04)
    axes.set_yticks(range(len(rows)), [""] * len(rows) if narrow else labels, color=COLOURS["text"])
    axes.grid(visible=False, axis="y")
    for y, row in enumerate(rows):
        name, marker = _VERDICTS[row.verdict]
        face = COLOURS["page" if row.verdict == "random" else name]
        whisker: list[tuple[float, float]] = [(row.low, y), (row.high, y), (math.nan, y)]
        for end in (row.low, row.high):
            whisker += [(end, y - 0.12), (end, y + 0.12), (math.nan, y)]
        axes.plot(*zip(*whisker, strict=True), color=COLOURS[name], linewidth=2.0)
        axes.plot([row.value], [y], linestyle="", color=COLOURS[name], marker=marker, ms=10, markerfacecolor=face)
        if narrow:
            axes.text(0, y - 0.28, labels[y], transform=axes.get_yaxis_transform())
        axes.text(1.02, y, texts[y], transform=axes.get_yaxis_transform(), va="center", color=COLOURS["soft"])
    known = {verdict: values for verdict, values in (references or {}).items() if values}
    for line, (verdict, values) in enumerate(known.items()):
        _reference_lines(axes, _VERDICTS[verdict][0], verdict, values, 1.01 + 16 / (34 * len(rows)) * line)
    return _finished(figure)


def table_plot(table: Sequence[Mapping[str, Any]]) -> Plot | None:
    """Draw a table whose columns `low` and `high` bound the column before them, as `interval_plot` does.

    A row is named by the columns before the value that hold no floats; rows without a finite value are left out, and
    the value of a row named `no-stitch` is a dashed line behind all rows.

    Returns:
        The plot; None where the table has no such columns or no row is left.
    """
    columns = list(table[0]) if table else []
    if "low" not in columns or "high" not in columns or columns.index("low") < 2:
        return None
    at = columns.index("low") - 1
    names = [name for name in columns[:at] if not isinstance(table[0][name], float)]
    rows = [row for row in table if all(isinstance(row.get(key), float) for key in (columns[at], "low", "high"))]
    intervals, native = [], []
    for row in rows if names else ():
        label = ", ".join(str(row[name]) for name in names if row[name] not in ("", "–", None))
        intervals.append(Interval(label, row[columns[at]], row["low"], row["high"]))
        native += [row[columns[at]]] if "no-stitch" in (row[name] for name in names) else []
    return interval_plot(intervals, columns[at], references={"native": native[:1]})


def _reference_lines(axes: Axes, colour: str, name: str, values: Sequence[float], top: float) -> None:
    """Draw dashed lines at `values`, with one label above."""
    low, high = axes.get_xlim()
    middle = sum(values) / len(values)
    share = (middle - low) / (high - low)
    where = "left" if share < 0.15 else "right" if share > 0.85 else "center"
    text = " to ".join(dict.fromkeys(minus(number(end)) for end in (min(values), max(values))))
    axes.text(middle, top, f"{name} {text}", transform=axes.get_xaxis_transform(), ha=where, color=COLOURS["soft"])
    for value in values:
        axes.axvline(value, color=COLOURS[colour], linestyle=(0, (4, 3)), linewidth=1.5, zorder=1)


@_style()
def curves_plot(
    curves: Mapping[str, Sequence[Point]],
    x_label: str,
    y_label: str,
    *,
    levels: Mapping[str, float] | None = None,
    log: bool = False,
    shares: bool = False,
) -> Plot:
    """Draw one curve for each name, with the interval of y as a bar at each point.

    Args:
        curves: points by name.
        x_label: of the horizontal axis.
        y_label: of the vertical axis.
        levels: values of y drawn as dashed horizontal lines, by name.
        log: draw x, which is above 0, on a logarithmic scale with a tick at each point.
        shares: y lies in [0, 1] and is written in percent; curves have no markers, and bands in place of bars.
    """
    figure, axes = _axes(480 if shares else 620, 320 if shares else 420, x_label, y_label)
    for index, points in enumerate(curves.values()):
        colour, marker = SERIES[index % len(SERIES)], "" if shares else MARKERS[index % len(MARKERS)]
        x, y, *ends = zip(*points, strict=True)
        if ends and shares:
            axes.fill_between(x, ends[0], ends[1], color=colour, alpha=0.18, linewidth=0)
        elif ends:
            axes.vlines(x, ends[0], ends[1], color=colour, linewidth=1.0)
        axes.plot(x, y, color=colour, marker=marker, markersize=5, linewidth=2.0, linestyle=DASHES[index % len(DASHES)])
    for name, value in (levels or {}).items():
        axes.axhline(value, color=COLOURS["soft"], linestyle=(0, (4, 3)), linewidth=1.0)
        axes.annotate(
            printable(name), (1, value), (-2, 2), ha="right", va="bottom", color=COLOURS["soft"],
            xycoords=axes.get_yaxis_transform(), textcoords="offset points",
        )  # fmt: skip
    if log:
        places = sorted({point[0] for points in curves.values() for point in points})
        axes.set_xscale("log")
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.xaxis.set_minor_locator(NullLocator())
    if shares:
        axes.set_ylim(-0.02, 1.02)
        axes.margins(x=0.0)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _legend(figure, axes, list(curves))
    return _finished(figure)


@dataclass(frozen=True)
class Curves:
    """Curves of one plot; see `curves_plot`."""

    points: Mapping[str, Sequence[Point]]
    x: str
    y: str
    levels: Mapping[str, float]
    log: bool = False

    def plot(self) -> Plot:
        """Draw them."""
        return curves_plot(self.points, self.x, self.y, levels=self.levels, log=self.log)


@_style()
def scatter_plot(
    groups: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str, *, name: str = "scatter"
) -> Plot:
    """Draw one marker for each point, each group with its own shape and colour.

    In an SVG of at most 2,000 points, group `i` is an element with the identifier `<name>-<i>` that holds one `use`
    element for each point, in their order.
    """
    figure, axes = _axes(480, 360, x_label, y_label)
    many = sum(map(len, groups.values())) > MAX_POINTS
    for index, points in enumerate(groups.values()):
        x, y = zip(*points, strict=True) if points else ((), ())
        (line,) = axes.plot(x, y, linestyle="", color=SERIES[index % len(SERIES)], alpha=0.85, gid=f"{name}-{index}")
        line.set(marker=MARKERS[index % len(MARKERS)], markersize=2.5 if many else 6)
        line.set(markeredgecolor=COLOURS["page"], markeredgewidth=0.0 if many else 0.6)
    _legend(figure, axes, list(groups))
    return _finished(figure)


@_style()
def matched_plot(target: Sequence[tuple[float, float]], panels: Mapping[str, Sequence[tuple[float, float]]]) -> Plot:
    """Draw pairs of points in panels of one scale: circles at `target`, triangles at a panel's points, lines between.

    Args:
        target: `(n, 2)`.
        panels: `(n, 2)` by the label of the panel.
    """
    figure = Figure(figsize=(340 * len(panels) * _PIXEL, 370 * _PIXEL), layout="constrained")
    for axes, (label, own) in zip(
        np.atleast_1d(figure.subplots(1, len(panels), sharex=True, sharey=True)), panels.items(), strict=True
    ):
        axes.set(xlabel=printable(label), xticks=[], yticks=[])
        axes.spines[["top", "right"]].set_visible(True)
        pairs = [end for pair in zip(own, target, strict=True) for end in (*pair, (math.nan, math.nan))]
        axes.plot(*zip(*pairs, strict=True), color=COLOURS["soft"], linewidth=0.6, alpha=0.4)
        hollow = {"markerfacecolor": "none", "markeredgewidth": 1.4}
        axes.plot(*zip(*target, strict=True), linestyle="", marker="o", color=COLOURS["native"], markersize=7, **hollow)
        axes.plot(*zip(*own, strict=True), linestyle="", marker="^", color=COLOURS["bad"], markersize=5.5)
    return _finished(figure)


@_style()
def heat_plot(
    table: Sequence[Sequence[float | None]],
    names: tuple[Sequence[str], Sequence[str]],
    label: str,
    ends: tuple[float, float],
) -> Plot:
    """Draw a table as a heat map, with names and numbers where it has at most 40 rows and columns.

    Args:
        table: rows of values; None is an empty cell.
        names: of the rows, and of the columns.
        label: what the values are.
        ends: values where colours begin and end.
    """
    values = np.array([[math.nan if value is None else value for value in row] for row in table], dtype=float)
    numbered = max(values.shape) <= MAX_NUMBERED
    side = 34 if numbered else 7
    figure, axes = _axes(side * values.shape[1] + 160, side * values.shape[0] + 160, label)
    axes.grid(visible=False)
    image = axes.imshow(
        values, cmap=colormaps["cividis"].with_extremes(bad=COLOURS["panel"]), vmin=ends[0], vmax=ends[1]
    )
    figure.colorbar(image, shrink=0.8)
    down, across = ([shorten(printable(name), 22) for name in side_names] if numbered else [] for side_names in names)
    axes.set_yticks(range(len(down)), down, color=COLOURS["text"])
    axes.set_xticks(range(len(across)), across, color=COLOURS["text"], rotation=90)
    for (i, j), value in np.ndenumerate(values) if numbered else ():
        if math.isfinite(value):
            text = f"{value:.{0 if ends[1] - ends[0] > 20 else 2}f}"
            colour = COLOURS["text" if value > sum(ends) / 2 else "page"]
            axes.text(j, i, text, ha="center", va="center", size=9, color=colour, in_layout=False)
    return _finished(figure)


def _axes(width: float, height: float, x_label: str, y_label: str = "") -> tuple[Figure, Axes]:
    """Return a figure of a size in pixels with one pair of axes."""
    figure = Figure(figsize=(width * _PIXEL, height * _PIXEL), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=shorten(printable(x_label), 60), ylabel=shorten(printable(y_label), 60))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    return figure, axes


def _finished(figure: Figure) -> Plot:
    """Lay the figure out, once: every format then has the same geometry, however often it is written."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    figure.set_layout_engine("none")
    return Plot(figure)


def _legend(figure: Figure, axes: Axes, names: Sequence[str]) -> None:
    """Name the lines of `axes`, in order, below it."""
    labels = [shorten(printable(name), 60) for name in names]
    columns = max(1, int(72 * figure.get_figwidth() // (7 * max(map(len, labels), default=1) + 50)))
    rows = math.ceil(len(labels) / columns)
    figure.set_figheight(figure.get_figheight() + 16 * _PIXEL * max(0, rows - 2))  # the axes keep their height
    figure.legend(axes.lines[: len(labels)], labels, loc="outside lower left", ncols=columns, columnspacing=1.2)
