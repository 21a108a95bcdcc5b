"""Figures of a study as PNG (values with their intervals, curves, one quantity against another), and its TensorBoard
events.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from rlstitch.reporting.event_files import EventFile

Row = dict[str, Any]
Point = tuple[float, float] | tuple[float, float, float, float]
"""(x, y), or (x, y, low, high) with the interval of y."""

SERIES = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (176, 87, 141), (138, 109, 0), (59, 143, 196))
"""Those of a matrix's pictures; here again, as these load environments."""
_INK, _SOFT, _LINE = (26, 29, 33), (86, 93, 102), (213, 217, 222)
_FINE = 3  # drawn so many times larger, for smooth lines
_SIZE = 13  # of letters
_TOP, _FOOT, _MARGIN = 24, 48, 24
Colour = tuple[int, int, int]


def interval_figure(table: Sequence[Row]) -> bytes | None:
    """A dot and its interval for each row, top to bottom, and a dashed line where `no-stitch` is.

    The value is what stands before `low` and `high` in a row, its name what stands before the value. None where rows
    have no such columns; a row without a finite value is left out.
    """
    head = list(table[0]) if table else []
    if "low" not in head or "high" not in head or head.index("low") < 2:
        return None
    at = head.index("low") - 1
    names = [name for name in head[:at] if not isinstance(table[0][name], float)]
    rows = [row for row in table if all(_is_finite(row.get(name)) for name in (head[at], "low", "high"))]
    if not names or not rows:
        return None
    labels = [", ".join(str(row[name]) for name in names if row[name] not in ("", "–", None)) for row in rows]
    left = _MARGIN + max(_wide(label) for label in labels)
    low, high = _span([row[name] for row in rows for name in ("low", "high", head[at])])
    chart = _Chart(left, (480, 24 * len(rows)), _MARGIN, (low, high), (len(rows) - 0.5, -0.5))
    chart.across(head[at])
    native = [row[head[at]] for row in rows if any(row[name] == "no-stitch" for name in names)]
    if native:
        chart.dashed((native[0], -0.5), (native[0], len(rows) - 0.5), _SOFT)
    for place, (row, label) in enumerate(zip(rows, labels, strict=True)):
        chart.text(label, chart.at(low, place), "rm", move=(-10, 0))
        chart.line([(row["low"], place), (row["high"], place)], SERIES[0])
        chart.dot((row[head[at]], place), SERIES[0])
    return chart.png()


def curves_figure(
    curves: Mapping[str, Sequence[Point]],
    x: str,
    y: str,
    *,
    levels: Mapping[str, float] | None = None,
    log: bool = True,
) -> bytes:
    """A line for each of `curves` through its points, with their intervals; `levels`: values of y as dashed lines.

    `log`: x, then above 0, on a logarithmic scale.
    """
    levels = dict(levels or {})
    points = [point for found in curves.values() for point in found]
    heights = [value for point in points for value in point[1:]]
    chart = _framed(list(curves), [point[0] for point in points], [*heights, *levels.values()], x, y, log)
    for name, value in levels.items():
        chart.dashed((chart.xs[0], value), (chart.xs[1], value), _SOFT)
        chart.text(name, chart.at(chart.xs[1], value), "rs", _SOFT, move=(-2, -3))
    for index, (name, found) in enumerate(curves.items()):
        colour = SERIES[index % len(SERIES)]
        chart.line([point[:2] for point in found], colour)
        for point in found:
            if len(point) == 4:
                chart.line([(point[0], point[2]), (point[0], point[3])], colour, width=1)
            chart.dot(point[:2], colour)
        chart.named(index, name, colour)
    return chart.png()


def scatter_figure(groups: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str) -> bytes:
    """A dot for each point, one colour a group."""
    points = [point for found in groups.values() for point in found]
    chart = _framed(list(groups), [point[0] for point in points], [point[1] for point in points], x, y)
    for index, (name, found) in enumerate(groups.items()):
        for point in found:
            chart.dot(point, SERIES[index % len(SERIES)], radius=2.5)
        chart.named(index, name, SERIES[index % len(SERIES)])
    return chart.png()


def write_study_events(
    folder: Path, config: Mapping[str, Any], facts: Sequence[str], table: Sequence[Row], files: Mapping[str, bytes]
) -> None:
    """Write one events file; those of an earlier run in this folder go.

    Texts: `facts` and the resolved config. Images: the PNGs among `files`, under their stems. Scalars: each column of
    floats as `<column>/<row>`, a row being named by its texts; rows of one name differ by their step, which is then
    their first whole number.

    Raises:
        ArtefactError: where the folder cannot be written.
    """
    events = EventFile(folder)
    events.text("facts", "\n\n".join(facts))
    events.text("config", "\n".join(f"    {line}" for line in json.dumps(dict(config), indent=2).splitlines()))
    for name, content in files.items():
        if name.endswith(".png"):
            with Image.open(io.BytesIO(content)) as image:
                events.encoded(Path(name).stem, content, image.height, image.width)
    names = ["/".join(value for value in row.values() if isinstance(value, str) and value != "–") for row in table]
    for name, row in zip(names, table, strict=True):
        whole = [value for value in row.values() if type(value) is int]
        for column, value in row.items():
            if _is_finite(value):
                step = whole[0] if whole and names.count(name) > 1 else 0
                events.scalar(f"{column}/{name}", value, step=step)
    events.close()


def _framed(
    names: Sequence[str], xs: Sequence[float], ys: Sequence[float], x: str, y: str, log: bool = False
) -> _Chart:
    """A chart with both axes that holds all `xs` and `ys`, and room for the names of what it shows."""
    across = (min(xs) / 1.2, max(xs) * 1.2) if log else _span(xs)
    chart = _Chart(62, (520, 340), 44 + max(_wide(name) for name in names), across, _span(ys), log)
    chart.across(x, sorted(set(xs)) if log else None)
    chart.upwards(y)
    return chart


def _span(values: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis: all values and a little more."""
    low, high = min(values), max(values)
    more = 0.04 * (high - low) or 0.5
    return low - more, high + more


def _is_finite(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _wide(text: str) -> int:
    return math.ceil(ImageFont.load_default(_SIZE).getlength(text))


def ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Round numbers from `low` to `high`: 1, 2 or 5 times a power of ten apart, at most `most` + 1 of them."""
    if not high > low:
        return [low]
    unit = 10 ** math.floor(math.log10((high - low) / most))
    step = next(unit * by for by in (1, 2, 5, 10, 20) if (high - low) / (unit * by) <= most)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


class _Chart:
    """A picture with axes, whose places are given in the units of the data."""

    def __init__(
        self,
        left: int,
        inside: tuple[int, int],
        right: int,
        xs: tuple[float, float],
        ys: tuple[float, float],
        log: bool = False,
    ) -> None:
        self.xs, self.ys, self._log = xs, ys, log
        self._box = (left, _TOP, left + inside[0], _TOP + inside[1])
        self._size = (self._box[2] + right, self._box[3] + _FOOT)
        self._image = Image.new("RGB", (self._size[0] * _FINE, self._size[1] * _FINE), "white")
        self._draw = ImageDraw.Draw(self._image)
        self._font = ImageFont.load_default(_SIZE * _FINE)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of (x, y) in the picture, the end of `ys` at the top."""
        left, top, right, foot = self._box
        ends = [math.log(value) if self._log else value for value in (*self.xs, x)]
        across = (ends[2] - ends[0]) / ((ends[1] - ends[0]) or 1.0)
        up = (y - self.ys[0]) / ((self.ys[1] - self.ys[0]) or 1.0)
        return left + across * (right - left), foot - up * (foot - top)

    def across(self, name: str, marks: Sequence[float] | None = None) -> None:
        """The axis of x, with a light line at each mark."""
        for value in ticks(*self.xs) if marks is None else marks:
            self.line([(value, self.ys[0]), (value, self.ys[1])], _LINE, width=1)
            self.text(f"{value:.6g}", self.at(value, self.ys[0]), "ma", _SOFT, move=(0, 6))
        self.text(name, ((self._box[0] + self._box[2]) / 2, self._size[1] - 8), "ms")

    def upwards(self, name: str) -> None:
        """The axis of y, with a light line at each mark."""
        for value in ticks(*self.ys):
            self.line([(self.xs[0], value), (self.xs[1], value)], _LINE, width=1)
            self.text(f"{value:.6g}", self.at(self.xs[0], value), "rm", _SOFT, move=(-6, 0))
        self.text(name, (8, _TOP - 6), "ls")

    def line(self, points: Sequence[Sequence[float]], colour: Colour, width: int = 2) -> None:
        """A line through all points."""
        places = [tuple(value * _FINE for value in self.at(*point)) for point in points]
        self._draw.line(places, fill=colour, width=width * _FINE, joint="curve")

    def dashed(self, start: tuple[float, float], end: tuple[float, float], colour: Colour) -> None:
        """A dashed line between two points."""
        (x, y), (to_x, to_y) = self.at(*start), self.at(*end)
        parts = max(1, round(math.hypot(to_x - x, to_y - y) / 8))
        for part in range(parts):
            ends = [(part + share) / parts for share in (0, 0.6)]
            places = [((x + (to_x - x) * at) * _FINE, (y + (to_y - y) * at) * _FINE) for at in ends]
            self._draw.line(places, fill=colour, width=_FINE)

    def dot(self, point: Sequence[float], colour: Colour, radius: float = 4.0) -> None:
        """A filled dot."""
        x, y = self.at(*point)
        box = [(x - radius) * _FINE, (y - radius) * _FINE, (x + radius) * _FINE, (y + radius) * _FINE]
        self._draw.ellipse(box, fill=colour)

    def text(
        self,
        text: str,
        place: tuple[float, float],
        anchor: str,
        colour: Colour = _INK,
        move: tuple[float, float] = (0, 0),
    ) -> None:
        """A text at a place in the picture."""
        x, y = place[0] + move[0], place[1] + move[1]
        self._draw.text((x * _FINE, y * _FINE), text, fill=colour, font=self._font, anchor=anchor)

    def named(self, index: int, name: str, colour: Colour) -> None:
        """A line of the legend, at the right of the axes."""
        x, y = self._box[2] + 16, _TOP + 8 + 20 * index
        self._draw.ellipse([value * _FINE for value in (x - 4, y - 4, x + 4, y + 4)], fill=colour)
        self.text(name, (x + 10, y), "lm")

    def png(self) -> bytes:
        """The picture as it is in a file."""
        stream = io.BytesIO()
        self._image.resize(self._size, Image.Resampling.LANCZOS).save(stream, "PNG", optimize=True)
        return stream.getvalue()
