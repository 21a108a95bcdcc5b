"""Text that is safe to print, to embed in a page, and to write in an error message."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence

__all__ = ["aligned", "controls", "fitted", "printable", "shorten"]

_PLAIN_WIDTH = 120
"""Columns of a table that is not printed on a terminal, where COLUMNS says nothing."""
_NARROWEST = 7
"""Characters that a name keeps in a table."""
_ROWS = 60
"""Lines of a table that are printed where a file holds them all."""

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, line breaks among them, and those that change the direction of writing."""


def controls(text: str) -> bool:
    """Return whether a text holds control characters, which no name or remark in a file needs."""
    return _CONTROLS.search(text) is not None


def printable(text: object, *, squeeze: bool = True, limit: int | None = None) -> str:
    """Return text in which every character is visible: no control characters, no change of writing direction.

    Args:
        text: any object; its `str` is used.
        squeeze: replace every run of white space, line breaks included, by one space.
        limit: characters of `text` that are used, at most.
    """
    line = str(text)[:limit]
    line = " ".join(line.split()) if squeeze else line
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def shorten(text: str, width: int) -> str:
    """Cut the middle out of a text that is longer than `width` characters; names differ at their ends."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def aligned(rows: Sequence[Sequence[str]], *, left: int | None = None) -> list[str]:
    """Return rows of texts as lines with aligned columns, one line a row whatever the texts hold.

    Args:
        rows: of equal lengths, at least one.
        left: number of columns that are aligned left, the others right; None: all.
    """
    rows = [[printable(cell, squeeze=False) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = ["<" if left is None or column < left else ">" for column in range(len(widths))]
    return ["  ".join(f"{cell:{s}{w}}" for s, w, cell in zip(sides, widths, row, strict=True)).rstrip() for row in rows]


def fitted(rows: Sequence[Sequence[str]], *, left: int, where: object = "") -> list[str]:
    """Return a table as lines that are no wider than the terminal: `COLUMNS`, or 120 where there is no terminal.

    Names are shortened first, by as little as it takes; then columns are left out from the right, and, where a file
    holds them all, rows from the bottom. A last line names what is left out.

    Args:
        rows: the header and the others, of equal lengths; main columns and best rows first.
        left: number of columns that hold names; they are aligned left, the others right.
        where: the file that holds the whole table.
    """
    limit = max(40, shutil.get_terminal_size((_PLAIN_WIDTH, 24)).columns)
    header, *body = [[printable(cell, squeeze=False) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    least = [min(width, _NARROWEST) if column < left else width for column, width in enumerate(widths)]
    count = len(widths)
    while count > 1 and sum(least[:count]) + 2 * (count - 1) > limit:
        count -= 1
    widths, names = widths[:count], min(left, count)
    while sum(widths) + 2 * (count - 1) > limit and names and max(widths[:names]) > _NARROWEST:
        widths[widths.index(max(widths[:names]))] -= 1
    shown = body[:_ROWS] if where else body
    lines = aligned([list(map(shorten, row[:count], widths)) for row in (header, *shown)], left=left)
    missing = [f"columns {', '.join(header[count:])}"] * (count < len(header))
    missing += [f"{len(body) - _ROWS} rows"] * (len(shown) < len(body))
    return lines + ([f"left out: {' and '.join(missing)}{f' (see {where})' if where else ''}"] if missing else [])
