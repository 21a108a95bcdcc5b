"""The page of a cross: one line a group and method, from the rows of its cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from rlstitch.reporting.plots import curves_plot

if TYPE_CHECKING:
    from cross import Cross

Row = dict[str, Any]


def page(cross: Cross, rows: Sequence[Row]) -> str:
    """Return the page in Markdown: the file's text, a table by policy, verdicts, and the cells below the bar."""
    lines = [f"# {cross.title}", "", cross.about.strip()]
    if not rows:
        return "\n".join(lines) + "\n"
    for policy in dict.fromkeys(row["policy"] for row in rows):
        lines += [
            "",
            f"## {policy.capitalize()} actions",
            "",
            *table(cross, [r for r in rows if r["policy"] == policy]),
        ]
    if cross.mean_bar is not None:
        lines += ["", "## Against the bars", "", *verdicts(cross, rows)]
    low = [row for row in rows if row["recovery"] is not None and row["recovery_high"] < cross.bar]
    low = [row for row in low if not is_own(row) and row["label"] in main_labels(cross)]
    lines += ["", f"## Cells of {' and '.join(main_labels(cross))} whose upper end is below {cross.bar:.0f} %", ""]
    lines += [
        f"- {row['encoder']} with the controller of {row['controller']}, {row['label']}, {row['policy']}: "
        f"{row['recovery']:.1f} [{row['recovery_low']:.1f}, {row['recovery_high']:.1f}]"
        for row in sorted(low, key=lambda row: row["recovery"])
    ] or ["None."]
    if undefined := sum(row["recovery"] is None for row in rows):
        lines += ["", f"{undefined} rows have no recovery: their native agent is no better than random actions."]
    agents: dict[str, set[str]] = {}
    for row in rows:
        agents.setdefault(row["group"], set()).update((row["encoder"], row["controller"]))
    lines += ["", "## Agents", ""]
    lines += [f"- {group}: {', '.join(sorted(names))}" for group, names in agents.items()]
    for group, names in cross.groups.items():
        if absent := [name for name in names if group in agents and name not in agents[group]]:
            lines.append(
                f"- {group}, left out (success below {cross.gate or 0:.0%}, or not trained): {', '.join(absent)}"
            )
    return "\n".join([*lines, "", cross.notes.strip()]).rstrip() + "\n"


def main_labels(cross: Cross) -> list[str]:
    """Return the methods that the bars are about: the first of the file that is marked, else the last."""
    return list(cross.judged) or [cross.methods[-1].label]


def is_own(row: Row) -> bool:
    """Return whether the row is of an agent's own encoder and controller."""
    return bool(row["encoder"] == row["controller"])


def table(cross: Cross, rows: Sequence[Row]) -> list[str]:
    """Return a line a group and method, after random actions and the native controllers."""
    titles = ("group", "method", "pairs or anchors", "distinct views", "cells", "own", "return", "recovery: mean",
              "median", "worst", f"upper ends ≥ {cross.bar:.0f} %", *["success"] * cross.success)  # fmt: skip
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    unknown = " | –" * cross.success
    for group in dict.fromkeys(row["group"] for row in rows):
        mine = [row for row in rows if row["group"] == group and row["recovery"] is not None]
        for name, share in (("random", 0), ("native", 100)):
            returns = [row[f"{name}_return"] for row in mine if row[f"{name}_return"] is not None]
            mean = f"{np.mean(returns):.3f}" if returns else "–"
            lines.append(f"| {group} | {name} | – | – | – | – | {mean} | {share} | – | – | –{unknown} |")
        for label in dict.fromkeys(row["label"] for row in mine):
            chosen = [row for row in mine if row["label"] == label]
            if any(not is_own(row) for row in chosen):
                lines.append(f"| {group} | {label} | {line(cross, chosen)} |")
    return lines


def line(cross: Cross, rows: Sequence[Row]) -> str:
    """Return the columns of a method: its size, own recovery, and that of the crossed cells."""
    own, crossed = [row for row in rows if is_own(row)], [row for row in rows if not is_own(row)]
    recovery = np.array([row["recovery"] for row in crossed])
    mean, half = over_seed_pairs(crossed)
    views = [row["distinct_views"] for row in crossed if row["distinct_views"]]
    points = [row["points"] for row in crossed if row["points"] is not None]
    return " | ".join(
        (
            f"{np.median(points):.0f}" if points else "–",
            f"{np.median(views):.0f}" if views else "–",
            str(len(crossed)),
            f"{np.mean([row['recovery'] for row in own]):.1f}" if own else "–",
            f"{np.mean([row['return_mean'] for row in crossed]):.3f}",
            f"{mean:.1f}" + ("" if np.isnan(half) else f" ± {half:.1f}"),
            f"{np.median(recovery):.1f}",
            f"{recovery.min():.1f}",
            f"{sum(row['recovery_high'] >= cross.bar for row in crossed)} of {len(crossed)}",
            *(f"{np.mean([row['success'] for row in crossed]):.0%}" for _ in range(cross.success)),
        )
    )


def over_seed_pairs(rows: Sequence[Row]) -> tuple[float, float]:
    """Return mean recovery and half of its 95 % interval over the means of seed pairs, which share networks.

    The mean is that of the cells; the interval is Student's t, NaN for fewer than three seed pairs.
    """
    groups: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        seeds = (row["encoder"].rsplit("-s", 1)[1], row["controller"].rsplit("-s", 1)[1])
        groups.setdefault(seeds, []).append(row["recovery"])
    mean = float(np.mean([row["recovery"] for row in rows]))
    return mean, interval([float(np.mean(group)) for group in groups.values()])[1]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and half of its 95 % interval by Student's t; NaN for fewer than three values."""
    if len(values) < 3:
        return float(np.mean(values)), float("nan")
    return float(np.mean(values)), float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def plot(cross: Cross, rows: Sequence[Row]) -> bytes | None:
    """Return a PNG of mean recovery over the number of pairs or anchors, a curve each of the file's `plot`, if any."""
    curves = {}
    for group in cross.groups:
        for name, labels in cross.plot.items():
            points = []
            for label in labels:
                cells = [row for row in rows if (row["group"], row["label"]) == (group, label) and not is_own(row)]
                cells = [row for row in cells if row["recovery"] is not None]
                if cells:
                    mean, half = over_seed_pairs(cells)
                    points.append((float(np.median([row["points"] for row in cells])), mean, mean - half, mean + half))
            if points:
                curves[f"{group}: {name}"] = sorted(points)
    if not curves:
        return None
    return curves_plot(
        curves, "pairs or anchors", "recovery %", levels={f"{cross.bar:.0f} %": cross.bar}, log=True
    ).png()


def verdicts(cross: Cross, rows: Sequence[Row]) -> list[str]:
    """Return for each group whether the judged methods, sampled, reach the bars."""
    lines = []
    judged = [row for row in rows if row["label"] in main_labels(cross) and row["policy"] == "sampled"]
    judged = [row for row in judged if row["recovery"] is not None and not is_own(row)]
    for group, label in dict.fromkeys((row["group"], row["label"]) for row in judged):
        cells = [row for row in judged if (row["group"], row["label"]) == (group, label)]
        mean, reached = over_seed_pairs(cells)[0], sum(row["recovery_high"] >= cross.bar for row in cells)
        verdict = "reached" if mean >= (cross.mean_bar or 0.0) else "**missed**"
        every = "" if reached == len(cells) else ", **missed**"
        lines.append(
            f"- {group}, {label}: mean {mean:.1f}, {verdict} ({cross.mean_bar:.0f}); upper ends at {cross.bar:.0f} or "
            f"more: {reached} of {len(cells)}{every}."
        )
    if judged:
        lines.append(f"- all {len(judged)} cells: mean {np.mean([row['recovery'] for row in judged]):.1f}.")
    return lines
