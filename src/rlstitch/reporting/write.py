"""What a command ends in: rows of figures, as a table for the terminal and as one page to open in a browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rlstitch.evaluation.row import Row
from rlstitch.reporting.page import render
from rlstitch.reporting.rows import table_markdown, table_text
from rlstitch.storage import write_bytes

__all__ = ["Report", "table_markdown", "table_text", "write_report"]


@dataclass(frozen=True)
class Report:
    """All that a report shows. Text is text, never markup: it is escaped when it is written."""

    title: str
    summary: str
    """One plain sentence: what was shown, the result first."""
    cells: Sequence[Row]
    """The rows, shown in this order."""
    panels: Sequence[tuple[str, Path]] = ()
    """Captions and MP4 files; they are embedded."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Seed, steps, seconds, versions, machine, the exact command (under `command`)."""
    next_commands: Sequence[tuple[str, str]] = ()
    """Comments and commands."""
    images: Sequence[tuple[str, Path]] = ()
    """Captions and PNG files; they are embedded."""


def write_report(report: Report, path: str | Path) -> Path:
    """Write a report as one self-contained HTML file, which appears whole or not at all.

    Returns:
        The path of the file.

    Raises:
        InvalidInputError: where a panel is no MP4, an image no PNG, or `path` a folder.
        ArtefactError: where a file cannot be read or written.
    """
    path = Path(path)
    write_bytes(path, render(report).encode())
    return path
