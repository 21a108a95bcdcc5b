"""The results of a matrix as text: the table by method for the terminal, and `summary.md`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlstitch.evaluation.matrix.plan import CELL, Plan, left_out_text
from rlstitch.evaluation.matrix.table import Cells, MatrixCell, MatrixResults, MethodSummary, ranked_methods
from rlstitch.stitching.controls import chance_controls, split_name
from rlstitch.storage.text import fitted

_WHERE = "world"
_HEADER = ("method", "cells", "mean", "95 % interval", "IQM", "95 % interval", "≥ 90 %", "success")
_MISSING = "–"
INTERVALS = (
    "The 95 % interval of a mean covers the episodes of these cells only: "
    "it takes native and random returns as exact, and does not cover other agents."
)


def terminal_text(plan: Plan, results: MatrixResults, folder: Path) -> str:
    """Return the table by method, what was left out, how the methods compare, and the paths of the files."""
    lines = fitted(_rows(plan, results), left=1 if plan.places == (CELL,) else 2, where=folder / "summary.md")
    lines += ["", *_notes(plan, results), *_compared(results), "", f"cells    {folder / 'cells.csv'}"]
    return "\n".join([*lines, f"summary  {folder / 'summary.md'}"])


def markdown(plan: Plan, results: MatrixResults, *, complete: bool) -> str:
    """Return `summary.md`: the same as Markdown."""
    header, *rows = _rows(plan, results)
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
        f"over episodes (arXiv 2108.13264). {INTERVALS}",
        "",
    ]
    lines += [f"- {line}" for line in (*_notes(plan, results), *_compared(results))]
    return "\n".join(lines) + "\n"


def _rows(plan: Plan, results: MatrixResults) -> list[tuple[str, ...]]:
    """Return the table by method; it has a column for the world where there is more than the cell's own."""
    rows = [_HEADER, *(_line(entry) for entry in results.methods)]
    if plan.places == (CELL,):
        return rows
    return [(where, *row) for where, row in zip((_WHERE, *(e.place for e in results.methods)), rows, strict=True)]


def _line(entry: MethodSummary) -> tuple[str, ...]:
    if entry.mean is None or entry.iqm is None or entry.recovered is None:
        return (entry.method, "0", *[_MISSING] * 6)
    texts = [entry.method, str(entry.cells)]
    for interval in (entry.mean, entry.iqm):
        texts += [f"{interval['estimate']:.1f} %", f"[{interval['low']:.1f}, {interval['high']:.1f}]"]
    success = _MISSING if entry.success is None else f"{entry.success:.1%}"
    return (*texts, f"{entry.recovered:.0%}", success)


def _notes(plan: Plan, results: MatrixResults) -> list[str]:
    notes = []
    same = sum(cell.same_seed and cell.state == "done" and not cell.counted for cell in results.cells)
    if same:
        notes.append(f"{same} cells join agents of one seed: not in the means (--same-seed counts them)")
    notes += [left_out_text(plan.left_out)] if plan.left_out else []
    notes += [text for place in plan.places for text in ranking_texts(results.counted_cells(place), place)]
    notes += _reasons(plan, results.refused, "refused")
    if missing := sum(cell.state == "missing" for cell in results.cells):
        notes.append(f"{missing} cells missing; the same command goes on")
    return notes + _reasons(plan, results.undefined, "without recovery")


def _reasons(plan: Plan, listed: Sequence[MatrixCell], outcome: str) -> list[str]:
    """One line a reason: how many cells, under which methods, and one of them; all of them are in matrix.json."""
    kinds: dict[str, list[MatrixCell]] = {}
    for cell in listed:
        kinds.setdefault(_kind(plan, cell.reason), []).append(cell)
    lines = []
    for cells in sorted(kinds.values(), key=len, reverse=True):
        counts = Counter(cell.method for cell in cells)
        methods = ", ".join(f"{method} {count}" for method, count in counts.items())
        first = cells[0]
        lines.append(
            f"{len(cells)} cells {outcome} ({methods}), as {first.encoder} -> {first.controller}: {first.reason}"
        )
    return lines


def _kind(plan: Plan, reason: str) -> str:
    """Return a reason without what differs from pair to pair: names of agents and environments, numbers."""
    names = {member.name for member in plan.members} | {member.world.environment for member in plan.members}
    for name in sorted(names, key=len, reverse=True):
        reason = reason.replace(name, "…")
    return re.sub(r"\b[0-9a-f]{8,64}\b|\d+", "#", reason)


def comparison_text(entry: Mapping[str, Any]) -> str:
    """Return how one method compares with another, the better one first, as a sentence.

    Args:
        entry: the values of a `Comparison` by name.
    """
    first, second, test = entry["first"], entry["second"], entry["test"]
    share, low, high = (entry["improvement"][name] for name in ("estimate", "low", "high"))
    difference = test["median_difference"]
    if share < 0.5:
        first, second, share, low, high, difference = second, first, 1 - share, 1 - high, 1 - low, -difference
    place = entry.get("place", CELL)
    return (
        f"{first} beats {second}{'' if place == CELL else f' in {place}'} in {share:.1%} of episodes "
        f"[{low:.1%}, {high:.1%}]; over {test['cells']} cells the median difference is {difference:+.1f} points of "
        f"recovery, Wilcoxon p = {test['p_value']:.2g}"
    )


def control_texts(summary: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return in how many cells each method is above its controls; only there it counts.

    Args:
        summary: the values of each `MethodSummary` by name.
    """
    return [
        f"{entry['method']}{'' if (place := entry.get('place', CELL)) == CELL else f' in {place}'} is above its "
        f"controls ({_controls_of(entry['method'])}) in {above} of {entry['cells']} cells"
        for entry in summary
        if (above := entry.get("above_controls")) is not None
    ]


def _controls_of(method: str) -> str:
    words = {"shuffled": "shuffled pairs", "untrained": "untrained encoder"}
    parts = map(split_name, chance_controls(method))
    return ", ".join(f"{'refined ' * bool(rounds)}{words[control]}" for _, rounds, control in parts)


def ranking_texts(cells: Cells, place: str = CELL) -> list[str]:
    """Return which methods are compared for the best where their cells in a world differ; nothing where they do not."""
    ranked = ranked_methods(cells)
    if len(ranked) == len(cells):
        return []
    counts = ", ".join(
        f"{method} {len(own)}" for method, own in sorted(cells.items(), key=lambda entry: -len(entry[1]))
    )
    return [
        f"Means{'' if place == CELL else f' in {place}'} are over different cells ({counts}): "
        f"the best is chosen among the methods that share the most, {', '.join(ranked)}"
    ]


def _compared(results: MatrixResults) -> list[str]:
    controls = control_texts([asdict(entry) for entry in results.methods])
    return [*controls, *(comparison_text(asdict(entry)) for entry in results.comparisons)]
