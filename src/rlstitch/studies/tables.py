"""Tables of studies: means of groups of measurements, with 95 % intervals over independent units such as seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from scipy import special

from rlstitch.errors import InvalidInputError
from rlstitch.storage.text import fitted

K = TypeVar("K")
Row = dict[str, Any]
"""One measurement, or one line of a table: column -> number, text or None."""

SHARE = (0.0, 1.0)
"""Range of accuracies, recalls and the like."""


def mean_interval(
    values: Sequence[float], within: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float, float, float]:
    """Mean and 95 % interval by Student's t, as suits a handful of values.

    Args:
        values: at least one; a single value gives an interval of no width.
        within: range of possible values, at which the interval is cut.

    Returns:
        Mean, lower and upper bound.

    Raises:
        InvalidInputError: for no values.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.size == 0:
        raise InvalidInputError("values must hold at least one number, found none")
    mean = float(sample.mean())
    if sample.size == 1:
        return mean, mean, mean
    half = float(special.stdtrit(sample.size - 1, 0.975) * sample.std(ddof=1) / np.sqrt(sample.size))
    return mean, max(mean - half, within[0]), min(mean + half, within[1])


def grouped(rows: Iterable[Row], key: Callable[[Row], K]) -> dict[K, list[Row]]:
    """Return rows by their key, in order of appearance."""
    groups: dict[K, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def interval_table(
    cells: Sequence[Row],
    key: Callable[[Row], Row],
    value: str,
    *,
    unit: Callable[[Row], object],
    within: tuple[float, float] = SHARE,
    means: Mapping[str, Callable[[Row], float | None]] | None = None,
    counts: Sequence[str] = ("seeds",),
) -> list[Row]:
    """Group measurements, and give each group's mean with an interval over its units.

    Cells of one unit may share networks or data, so only the mean of a unit is an independent value.

    Args:
        cells: the measurements.
        key: the first columns of a cell's line; cells with equal ones are a group.
        value: column that is averaged.
        unit: what a cell is a measurement of, such as its seed.
        within: range of possible values.
        means: further columns, each the mean over the group's cells of what the function returns; None is left out.
        counts: names of the last columns: the number of units and, with a second name, of cells.

    Returns:
        A line for each group, in order of appearance: the key, `value`, `low`, `high`, `means` and `counts`.
    """
    table: list[Row] = []
    for group in grouped(cells, lambda cell: tuple(key(cell).values())).values():
        units = grouped(group, unit)
        means_of_units = [float(np.mean([cell[value] for cell in cells])) for cells in units.values()]
        mean, low, high = mean_interval(means_of_units, within)
        line: Row = key(group[0]) | {value: mean, "low": low, "high": high}
        for name, of in (means or {}).items():
            present = [number for number in map(of, group) if number is not None]
            line[name] = float(np.mean(present)) if present else None
        table.append(line | dict(zip(counts, (len(units), len(group)), strict=False)))
    return table


def table_lines(rows: Sequence[Row], where: Path) -> list[str]:
    """Return a table as lines for the terminal; `where` is the file that holds all of it."""
    if not rows:
        return []
    head = list(rows[0])
    names = next((at for at, name in enumerate(head) if not isinstance(rows[0][name], str)), len(head))
    return fitted([head, *([_text(row.get(name)) for name in head] for row in rows)], left=names, where=where)


def markdown_table(rows: Sequence[Row]) -> str:
    """Format rows with the same keys as Markdown: floats with three digits, None as a dash."""
    if not rows:
        return ""
    head = list(rows[0])
    body = [[_text(row.get(name)) for name in head] for row in rows]
    widths = [max(len(line[at]) for line in [head, *body]) for at in range(len(head))]
    lines = [head, ["-" * width for width in widths], *body]
    return "\n".join(
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def _text(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
