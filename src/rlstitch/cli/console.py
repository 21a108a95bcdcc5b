"""What the commands share: lists in one argument; results to standard output, complaints to standard error."""

from __future__ import annotations

import sys


def split_names(text: str) -> list[str]:
    """Return the names of a comma-separated list; none of an empty one."""
    return [name.strip() for name in text.split(",") if name.strip()]


def say(result: object) -> None:
    """Print a result as its own text (`str`); nothing for None."""
    if result is not None:
        sys.stdout.write(f"{result}\n")


def complain(message: str) -> None:
    """Print one line on standard error, whatever line breaks the message has."""
    sys.stdout.flush()
    sys.stderr.write(f"rlstitch: {' '.join(message.split())}\n")
    sys.stderr.flush()
