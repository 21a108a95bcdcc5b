"""The row of every report, how its numbers are written, and the table for the terminal and for Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from rlstitch.errors import InvalidInputError

Verdict = Literal["recovered", "partly", "failed", "native", "random", "unknown"]

RECOVERED, FAILED = 90.0, 50.0
"""Recovery in percent from which a stitch counts as recovered, and below which it counts as failed."""
WIDTH = 110
"""The text table is at most so wide."""
MISSING = "–"
_NARROWEST = 7  # characters that a name keeps in the text table
_NAMES = ("encoder", "controller", "method")


@dataclass(frozen=True)
class Cell:
    """One encoder with one controller under one method, and what it came to. Intervals cover 95 %."""

    encoder: str
    controller: str
    method: str
    """native, random, naive, affine, relative (post-hoc), ..."""
    world: str
    """The world that was played in, in words."""
    episodes: int
    return_mean: float
    return_low: float
    return_high: float
    recovery: float | None
    """In percent: 0 is random actions, 100 the native controller; None for these two."""
    recovery_low: float | None
    recovery_high: float | None
    success: float | None
    """Share of the episodes in [0, 1]; None where the world has no success."""
    success_low: float | None
    success_high: float | None
    length_mean: float
    policy: str
    """`sampled` or `greedy`"""
    diagnostics: Mapping[str, Any] | None = None
    """Figures of the stitch on held-out pairs, by name; None where nothing was stitched."""

    def __post_init__(self) -> None:
        if self.policy not in ("sampled", "greedy"):
            raise InvalidInputError(f"policy: expected 'sampled' or 'greedy', found {self.policy!r}")
        if self.episodes < 0:
            raise InvalidInputError(f"episodes: expected 0 or more, found {self.episodes}")
        if self.success is not None and not (0 <= self.success <= 1 or math.isnan(self.success)):
            raise InvalidInputError(f"success: expected a share in [0, 1], found {self.success}")

    @property
    def verdict(self) -> Verdict:
        """What the row shows: a baseline, or a stitch that recovered, recovered partly, or failed."""
        if self.method == "native":
            return "native"
        if self.method == "random":
            return "random"
        if self.recovery is None or not math.isfinite(self.recovery):
            return "unknown"
        if self.recovery >= RECOVERED:
            return "recovered"
        return "failed" if self.recovery < FAILED else "partly"

    def to_row(self) -> dict[str, Any]:
        """Return a flat row for `rlstitch.storage.write_table`; diagnostics stand under `fit_<name>`."""
        row = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "diagnostics"}
        row["verdict"] = self.verdict
        return row | {f"fit_{name}": value for name, value in (self.diagnostics or {}).items()}


def number(value: float | None, *, like: float | None = None) -> str:
    """Write a number: two decimals below ten, one below a hundred, none from there on; `–` where there is none.

    Args:
        value: what is written.
        like: the magnitude that decides on the decimals, where it is not the value's own.
    """
    if value is None or not math.isfinite(value):
        return MISSING
    size = abs(value if like is None or not math.isfinite(like) else like)
    if max(size, abs(value)) >= 1e6:
        return f"{value:.3g}"
    # 9.996 would be written 10.00: decide on what is written.
    decimals = 2 if round(size, 2) < 10 else 1 if round(size, 1) < 100 else 0
    text = f"{value:,.{decimals}f}"
    return text if text.strip("-0.,") else text.lstrip("-")  # no minus before a zero


def percent(value: float | None) -> str:
    """Write a number of percent as a whole one, without the sign; beyond 9999, where it says no more, as `>9999`."""
    if value is not None and 9999 < abs(value) < math.inf:
        return ">9999" if value > 0 else "<-9999"
    return number(value, like=100.0)


def return_parts(cell: Cell) -> tuple[str, str]:
    """Return the mean return and its interval as text, with equal decimals: `0.96`, `[0.95, 0.97]`."""
    ends = [end for end in (cell.return_mean, cell.return_low, cell.return_high) if math.isfinite(end)]
    like = max(map(abs, ends), default=0.0)
    mean, low, high = (number(x, like=like) for x in (cell.return_mean, cell.return_low, cell.return_high))
    return mean, _interval(mean, low, high)


def recovery_parts(cell: Cell) -> tuple[str, str]:
    """Return recovery and its interval in percent as text."""
    return _percents(cell.recovery, cell.recovery_low, cell.recovery_high)


def success_parts(cell: Cell) -> tuple[str, str]:
    """Return the success rate and its interval in percent as text."""
    return _percents(*(None if x is None else 100 * x for x in (cell.success, cell.success_low, cell.success_high)))


def _percents(*values: float | None) -> tuple[str, str]:
    texts = [percent(value) for value in values]
    return texts[0], _interval(*texts)


def _interval(value: str, low: str, high: str) -> str:
    return "" if MISSING in (value, low, high) else f"[{low}, {high}]"


def printable(text: object, *, squeeze: bool = True) -> str:
    """Return text on one line in which everything shows: no control characters, no reversed writing.

    Args:
        text: anything; its `str` is taken.
        squeeze: make one space of every run of white space.
    """
    line = " ".join(str(text).split()) if squeeze else str(text)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def shorten(text: str, width: int) -> str:
    """Cut the middle out of a text that is longer than `width`; names differ at their ends."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def conditions(cells: Sequence[Cell]) -> str:
    """Say how the rows were measured: `100 episodes a row, sampled actions`."""
    low, high = (f(cell.episodes for cell in cells) for f in (min, max)) if cells else (0, 0)
    count = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    kinds = " or ".join(dict.fromkeys(cell.policy for cell in cells))
    return f"{count} episodes a row, {kinds} actions" if cells else ""


def table_text(cells: Sequence[Cell]) -> str:
    """Return the table for the terminal: aligned columns, at most 110 characters wide, names cut to fit."""
    if not cells:
        return "no rows"
    rows = _text_rows(cells)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    while sum(widths) + 2 * (len(widths) - 1) > WIDTH:
        widest = max(range(len(_NAMES)), key=lambda column: widths[column])
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    lines = [_line(row, widths) for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], f"{conditions(cells)}; [95 % interval]"])


def _text_rows(cells: Sequence[Cell]) -> list[list[str]]:
    """Return the header and one row a cell; the ends of intervals are padded so that brackets align."""
    rows = [[*_NAMES, "return", "recovery %", "success %", "length"]]
    parts = [[pair(cell) for cell in cells] for pair in (return_parts, recovery_parts, success_parts)]
    figures = []
    for column in parts:
        width = max(len(interval) for _, interval in column)
        figures.append([f"{value} {interval:>{width}}" if width else value for value, interval in column])
    for index, cell in enumerate(cells):
        names = [printable(name) for name in (cell.encoder, cell.controller, cell.method)]
        rows.append([*names, *(column[index] for column in figures), number(cell.length_mean, like=10.0)])
    return rows


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = []
    for column, (text, width) in enumerate(zip(row, widths, strict=True)):
        cells.append(shorten(text, width).ljust(width) if column < len(_NAMES) else text.rjust(width))
    return "  ".join(cells).rstrip()


def table_markdown(cells: Sequence[Cell]) -> str:
    """Return the table as Markdown (GitHub's kind), with the world of each row."""
    header = ("encoder", "controller", "method", "world", "return", "recovery %", "success %", "length")
    rows = [_markdown_row(header), "|" + "---|" * 4 + "---:|" * 4]
    for cell in cells:
        names = [plain_markdown(text) for text in (cell.encoder, cell.controller, cell.method, cell.world)]
        figures = [" ".join(filter(None, pair(cell))) for pair in (return_parts, recovery_parts, success_parts)]
        rows.append(_markdown_row([*names, *figures, number(cell.length_mean, like=10.0)]))
    if cells:
        rows += ["", f"{conditions(cells)}; [95 % interval]."]
    return "\n".join(rows)


def _markdown_row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def plain_markdown(text: str) -> str:
    """Escape what Markdown or HTML would take for markup."""
    return re.sub(r"([\\`*_\[\]<>|~&#])", r"\\\1", printable(text))
