"""What the commands share: lists in one argument; results to standard output, complaints to standard error.

Everything is printed by `say`, `complain` or a progress reporter, and all three show control characters as `�`.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rlstitch.errors import InvalidInputError
from rlstitch.storage.text import printable

_WIDTHS = (40, 500)
"""Columns between which help is laid out: tyro does not end on a terminal of five columns."""


def split_names(text: str) -> list[str]:
    """Return the names of a comma-separated list; none of an empty one."""
    return [name.strip() for name in text.split(",") if name.strip()]


def fill(given: Sequence[str], **options: str | Path | None) -> tuple[str, str]:
    """Return the values of two options, those that were not given from positional arguments in their order.

    Raises:
        InvalidInputError: where there are too many or too few.
    """
    missing = [name for name, value in options.items() if value is None]
    if len(given) != len(missing):
        names = " and ".join(name.upper() for name in options)
        raise InvalidInputError(f"expected {names}, found {len(given) + len(options) - len(missing)} of them")
    rest = iter(given)
    first, second = (str(next(rest)) if value is None else str(value) for value in options.values())
    return first, second


def say(result: object) -> None:
    """Print a result as its own text (`str`); nothing for None."""
    if result is not None:
        sys.stdout.writelines(f"{printable(line, squeeze=False)}\n" for line in str(result).split("\n"))
        sys.stdout.flush()


def complain(message: str) -> None:
    """Print one line on standard error, whatever line breaks the message has; where that fails, go on."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    try:
        sys.stderr.write(f"rlstitch: {printable(message)}\n")
        sys.stderr.flush()
    except OSError:  # what it still holds would fail once more when Python ends
        if sys.__stderr__ is not None and sys.stderr is sys.__stderr__:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def open_streams() -> None:
    """Make the standard streams fit to be written to.

    A closed one becomes the null device: the next file that is opened would take its number, and get what C code
    prints. Characters that the encoding of standard output lacks become `?`.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def silence_output() -> None:
    """Discard what standard output still holds, which would be written, and fail, once more when Python ends."""
    stream = sys.__stdout__
    if stream is not None and stream is sys.stdout:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def fit_width() -> int:
    """Return the width of the terminal (`COLUMNS`, where set), within what help can be laid out in."""
    columns = shutil.get_terminal_size().columns
    width = min(max(columns, _WIDTHS[0]), _WIDTHS[1])
    if width != columns:
        os.environ["COLUMNS"] = str(width)
    return width
