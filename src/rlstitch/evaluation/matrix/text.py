"""A matrix in words: the table by method for the terminal, `summary.md`, and the line that tells of progress."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from rlstitch.evaluation.matrix.plan import Plan, left_out_text
from rlstitch.evaluation.matrix.table import Figures, MethodSummary, Row
from rlstitch.evaluation.matrix.worlds import CELL
from rlstitch.jobs.progress import duration

_WHERE = "world"
_HEADER = ("method", "cells", "mean", "95 % interval", "IQM", "95 % interval", "≥ 90 %", "success")
_MISSING = "–"
_LOG_EVERY = 60.0  # seconds between two lines where no terminal shows them


def terminal_text(plan: Plan, figures: Figures, folder: Path) -> str:
    """Return the table by method, what was left out, how the methods compare, and where all of it lies."""
    rows = _rows(plan, figures)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", *_notes(plan, figures), *_compared(figures), "", f"cells    {folder / 'cells.csv'}"]
    return "\n".join([*lines, f"summary  {folder / 'summary.md'}"])


def markdown(plan: Plan, figures: Figures, *, complete: bool) -> str:
    """Return `summary.md`: the same as one page."""
    header, *rows = _rows(plan, figures)
    table = [header, tuple("---" for _ in header), *rows]
    how = (
        f"{len(plan.members)} agents, {plan.options.episodes} episodes a cell, "
        f"{'greedy' if plan.options.greedy else 'sampled'} actions, "
        f"at most {plan.options.pairs} pairs, seed {plan.options.seed}."
    )
    lines = ["# Stitching matrix", "", how, *([] if complete else ["", "**Cut off: cells are missing.**"]), ""]
    lines += ["| " + " | ".join(row) + " |" for row in table]
    lines += [
        "",
        "Recovery in percent: 0 is random actions, 100 the native controller. Intervals are stratified bootstraps",
        "over the episodes of these cells (arXiv 2108.13264).",
        "",
    ]
    lines += [f"- {line}" for line in (*_notes(plan, figures), *_compared(figures))]
    return "\n".join(lines) + "\n"


def _rows(plan: Plan, figures: Figures) -> list[tuple[str, ...]]:
    """Return the table by method; it names the world where that is not always the cell's own."""
    rows = [_HEADER, *(_line(entry) for entry in figures.methods)]
    if plan.places == (CELL,):
        return rows
    return [(where, *row) for where, row in zip((_WHERE, *(e.place for e in figures.methods)), rows, strict=True)]


def _line(entry: MethodSummary) -> tuple[str, ...]:
    if entry.mean is None or entry.iqm is None or entry.recovered is None:
        return (entry.method, "0", *[_MISSING] * 6)
    texts = [entry.method, str(entry.cells)]
    for figure in (entry.mean, entry.iqm):
        texts += [f"{figure['estimate']:.1f} %", f"[{figure['low']:.1f}, {figure['high']:.1f}]"]
    success = _MISSING if entry.success is None else f"{entry.success:.1%}"
    return (*texts, f"{entry.recovered:.0%}", success)


def _notes(plan: Plan, figures: Figures) -> list[str]:
    notes = []
    same = sum(row.same_seed and row.state == "done" and not row.counted for row in figures.rows)
    if same:
        notes.append(f"{same} cells join agents of one seed: not in the means (--same-seed counts them)")
    notes += [left_out_text(plan.left_out)] if plan.left_out else []
    notes += _refusals(plan, figures)
    for state, text in (("missing", "missing; the same command goes on"), ("done", "left out: {}")):
        found = Counter(row.reason for row in figures.rows if row.state == state and (state == "missing" or row.reason))
        notes += [f"{count} cells {text.format(reason)}" for reason, count in found.items()]
    return notes


def _refusals(plan: Plan, figures: Figures) -> list[str]:
    """One line a reason: how many cells, under which methods, and one of them; all of them are in matrix.json."""
    kinds: dict[str, list[Row]] = {}
    for row in figures.rows:
        if row.state == "refused":
            kinds.setdefault(_kind(plan, row.reason), []).append(row)
    lines = []
    for rows in sorted(kinds.values(), key=len, reverse=True):
        counts = Counter(row.method for row in rows)
        methods = ", ".join(f"{method} {count}" for method, count in counts.items())
        first = rows[0]
        lines.append(f"{len(rows)} cells refused ({methods}), as {first.encoder} -> {first.controller}: {first.reason}")
    return lines


def _kind(plan: Plan, reason: str) -> str:
    """Return a reason without what differs from pair to pair: names of agents and environments, numbers."""
    names = {member.name for member in plan.members} | {member.world.environment for member in plan.members}
    for name in sorted(names, key=len, reverse=True):
        reason = reason.replace(name, "…")
    return re.sub(r"\b[0-9a-f]{8,64}\b|\d+", "#", reason)


def _compared(figures: Figures) -> list[str]:
    lines = []
    for entry in figures.comparisons:
        better, test = entry.improvement, entry.test
        where = "" if entry.place == CELL else f"in {entry.place} "
        lines.append(
            f"{where}{entry.first} beats {entry.second} in {better['estimate']:.1%} of episodes "
            f"[{better['low']:.1%}, {better['high']:.1%}]; over {test['cells']} cells: median difference "
            f"{test['median_difference']:+.1f}, Wilcoxon p = {test['p_value']:.2g}"
        )
    return lines


class ProgressLine:
    """Draws results done, wanted and the time left: anew on a terminal, a line a minute elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Begin; `stream` is standard error where it is None."""
        self.stream = stream or sys.stderr
        self._terminal = self.stream.isatty()
        self._begun = self._told = time.monotonic()
        self._shown: Sequence[int] = ()

    def __call__(self, done: int, total: int) -> None:
        """Tell how far the matrix is, where it is time to."""
        now = time.monotonic()
        if (done, total) == self._shown or (
            now - self._told < (0.5 if self._terminal else _LOG_EVERY) and done < total
        ):
            return
        self._told, self._shown = now, (done, total)
        left = f", {duration((now - self._begun) / done * (total - done))} left" if 0 < done < total else ""
        line = f"{done} of {total} results{left}"
        self.stream.write(f"\r\x1b[2K{line}" if self._terminal else f"{line}\n")
        self.stream.flush()

    def close(self) -> None:
        """End the line."""
        if self._terminal and self._shown:
            self.stream.write("\n")
