"""The report of `demo`: measured cells, their videos and diagnostics, as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from rlstitch.evaluation.row import FAILED, RECOVERED, Row
from rlstitch.reporting.html import read_video, render
from rlstitch.reporting.plots import Interval, interval_plot
from rlstitch.reporting.tables import (
    MISSING,
    conditions,
    minus,
    number,
    percent,
    recovery_parts,
    return_parts,
    success_parts,
    undefined_recoveries,
)
from rlstitch.storage import limits, write_bytes
from rlstitch.storage.text import printable, shorten

_DIAGNOSTICS = {
    "pairs": "pairs fitted",
    "held_out": "held out",
    "distinct_views": "distinct views",
    "residual": "residual",
    "r2": "R²",
    "mean_cosine": "cosine",
    "condition_number": "condition number",
    "rank": "rank",
    "action_agreement": "same action %",
    "kl": "KL (nats)",
    "met_later": "held out, met later",
    "observations": "observations",
    "episodes": "episodes",
    "unseen": "unseen %",
    "choice": "choice",
    "round": "round",
    "met": "states met",
    "met_agreement": "same action on them %",
    "met_kl": "KL on them (nats)",
}


@dataclass(frozen=True)
class Report:
    """Contents of a report. Texts are plain text, never markup."""

    title: str
    summary: str
    """One sentence that begins with the result."""
    cells: Sequence[Row]
    """The rows, shown in this order."""
    panels: Sequence[tuple[str, Path]] = ()
    """Captions and MP4 files; they are embedded."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Seed, steps, seconds, versions, machine, the exact command (under `command`)."""
    next_commands: Sequence[tuple[str, str]] = ()
    """Comments and commands."""


def write_report(report: Report, path: str | Path) -> Path:
    """Write a report as one self-contained HTML file, atomically.

    Returns:
        The path of the file.

    Raises:
        InvalidInputError: if a panel is no MP4 file, or `path` a folder.
        ArtefactError: if a file cannot be read or written.
    """
    path = Path(path)
    write_bytes(path, render_report(report).encode())
    return path


def render_report(report: Report) -> str:
    """Return the page; raises the errors of `write_report`."""
    cells = report.cells
    environment = _shared_environment(cells)
    mixed = len({(cell.episodes, cell.policy) for cell in cells}) > 1
    header = [(name, "") for name in ("result", "method", "encoder", "controller", "world")]
    header += [(name, "number") for name in ("return", "recovery %", "success %", "length")]
    fitted = [cell for cell in cells if cell.diagnostics is not None]
    # A column is shown where some row has a value in it: only `auto` has a choice.
    values = [item for cell in fitted for item in (cell.diagnostics or {}).items()]
    names = dict.fromkeys(name for name, value in values if name != "method" and value not in (None, ""))
    fit_names = [
        *(name for name in _DIAGNOSTICS if name in names),
        *(name for name in names if name not in _DIAGNOSTICS),
    ]
    facts = dict(report.facts)
    return render(
        "cells.html",
        title=report.title,
        summary=report.summary,
        cells=cells,
        note=(
            f"{conditions(cells)}{environment and ' in '}{environment}; in brackets the 95 % interval. Recovery: 0 % "
            "is random actions, 100 % the native controller in its own world; a stitch is recovered from "
            f"{RECOVERED:.0f} % and failed below {FAILED:.0f} %."
        ),
        undefined=undefined_recoveries(cells),
        environment=environment,
        header=[*header, *([("episodes", "number"), ("actions", "")] if mixed else [])],
        mixed=mixed,
        columns=(return_parts, recovery_parts, success_parts),
        number=number,
        chart=_chart(cells),
        videos=[read_video(*panel, max_bytes=limits.MEDIA_BYTES) for panel in report.panels],
        fitted=fitted,
        fit_names=fit_names,
        fit_header=[(name, "") for name in ("method", "encoder", "controller")]
        + [(_DIAGNOSTICS.get(name, name), "number") for name in fit_names],
        diagnostic=_diagnostic,
        next_commands=report.next_commands,
        command=facts.pop("command", ""),
        facts=facts,
    )


def _shared_environment(cells: Sequence[Row]) -> str:
    """Return what all worlds start with, up to the first comma; empty if they differ or consist of nothing else."""
    first = {cell.world.partition(", ")[0] for cell in cells}
    return first.pop() if len(first) == 1 and all(", " in cell.world for cell in cells) else ""


def _chart(cells: Sequence[Row]) -> Markup:
    """Return the returns of the rows as a wide plot and as a narrow one, of which the style sheet shows one."""
    intervals = [
        Interval(_label(cell), cell.return_mean, cell.return_low, cell.return_high, cell.verdict, _value(cell))
        for cell in cells
    ]
    references = {
        name: [row.value for row in intervals if row.verdict == name and number(row.value) != MISSING]
        for name in ("random", "native")
    }
    svg = ""
    for name in ("wide", "narrow"):
        plot = interval_plot(intervals, "return per episode", references=references, narrow=name == "narrow")
        if plot is not None:
            svg += plot.svg(name, "Mean return and its 95 % interval for the rows of the table", classes=f"plot {name}")
    return Markup(svg)


def _label(cell: Row) -> str:
    method = shorten(printable(cell.method), 24)
    encoder, controller = (
        shorten(printable(name), (43 - len(method)) // 2) for name in (cell.encoder, cell.controller)
    )
    agents = "" if cell.method == "random" else encoder if encoder == controller else f"{encoder} → {controller}"
    return ", ".join(filter(None, (method, agents)))


def _value(cell: Row) -> str:
    return minus(" ".join(return_parts(cell)))


def _diagnostic(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return MISSING if value is None else str(value)
    if name in ("action_agreement", "met_agreement"):
        return percent(100 * value)
    if name == "unseen":
        return f"{100 * value:.2f}"
    return f"{value:.3f}" if 5e-4 <= abs(value) < 10 or value == 0 else f"{value:.3g}"
