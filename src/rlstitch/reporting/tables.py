"""Tables for the terminal and in Markdown, and how the numbers in them are written."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from rlstitch.evaluation.row import Row
from rlstitch.storage.text import fitted, printable

MISSING = "–"
_NAMES = ("encoder", "controller", "method")


def number(value: float | None, *, like: float | None = None) -> str:
    """Write a number with two decimals below ten, one below a hundred, and none above; `–` for None and NaN.

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
    """Write a percentage as an integer without the sign; beyond 9999 as `>9999`."""
    if value is not None and 9999 < abs(value) < math.inf:
        return ">9999" if value > 0 else "<-9999"
    return number(value, like=100.0)


def minus(text: str) -> str:
    """Return a text with a minus sign before each negative number; hyphens in names stay as they are."""
    return re.sub(r"(?<![\w-])-(?=\d)", "−", text)


def return_parts(cell: Row) -> tuple[str, str]:
    """Return the mean return and its interval as text, with equal decimals: `0.96`, `[0.95, 0.97]`."""
    ends = [end for end in (cell.return_mean, cell.return_low, cell.return_high) if math.isfinite(end)]
    like = max(map(abs, ends), default=0.0)
    mean, low, high = (number(x, like=like) for x in (cell.return_mean, cell.return_low, cell.return_high))
    return mean, _interval(mean, low, high)


def recovery_parts(cell: Row) -> tuple[str, str]:
    """Return recovery and its interval in percent as text."""
    return _percents(cell.recovery, cell.recovery_low, cell.recovery_high)


def success_parts(cell: Row) -> tuple[str, str]:
    """Return the success rate and its interval in percent as text."""
    return _percents(*(None if x is None else 100 * x for x in (cell.success, cell.success_low, cell.success_high)))


def _percents(*values: float | None) -> tuple[str, str]:
    texts = [percent(value) for value in values]
    return texts[0], _interval(*texts)


def _interval(value: str, low: str, high: str) -> str:
    return "" if MISSING in (value, low, high) else f"[{low}, {high}]"


def conditions(cells: Sequence[Row]) -> str:
    """Return how the rows were measured: `100 episodes a row, sampled actions`."""
    cells = [cell for cell in cells if not cell.reason]
    low, high = (f(cell.episodes for cell in cells) for f in (min, max)) if cells else (0, 0)
    count = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    kinds = " or ".join(dict.fromkeys(cell.policy for cell in cells))
    return f"{count} episodes a row, {kinds} actions" if cells else ""


def table_text(cells: Sequence[Row]) -> str:
    """Return the table for the terminal: aligned columns, no wider than the terminal."""
    if not cells:
        return "no rows"
    lines = fitted(_text_rows(cells), left=len(_NAMES))
    notes = [f"{MISSING} {cell.method}: {printable(cell.reason)}" for cell in cells if cell.reason]
    notes += undefined_recoveries(cells)
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:], f"{conditions(cells)}; [95 % interval]", *notes])


def undefined_recoveries(cells: Sequence[Row]) -> list[str]:
    """Return why rows have no recovery, a line for each controller."""
    reasons = dict.fromkeys((cell.controller, cell.recovery_reason) for cell in cells if cell.recovery_reason)
    return [f"no recovery with the controller of {printable(name)}: {reason}" for name, reason in reasons]


def _text_rows(cells: Sequence[Row]) -> list[list[str]]:
    """Return the header and one row for each cell; intervals are padded so that brackets align."""
    columns: list[list[str]] = [[printable(getattr(cell, name)) for cell in cells] for name in _NAMES]
    for parts in (return_parts, recovery_parts, success_parts):
        values, intervals = zip(*map(parts, cells), strict=True)
        width = max(map(len, intervals))
        columns.append([f"{v} {i:>{width}}" if width else v for v, i in zip(values, intervals, strict=True)])
    columns.append([number(cell.length_mean, like=10.0) for cell in cells])
    header = [*_NAMES, "return", "recovery %", "success %", "length"]
    return [header, *map(list, zip(*columns, strict=True))]


def markdown_lines(header: Sequence[str], rows: Iterable[Sequence[str]], *, names: int) -> list[str]:
    """Return the lines of a Markdown table; the first `names` columns are aligned left, the others right."""
    rule = "|" + "---|" * names + "---:|" * (len(header) - names)
    head, *body = (f"| {' | '.join(map(plain_markdown, row))} |" for row in (header, *rows))
    return [head, rule, *body]


def plain_markdown(text: str) -> str:
    """Escape what Markdown or HTML would take for markup."""
    return re.sub(r"([\\`*_\[\]<>|~&#])", r"\\\1", printable(text))
