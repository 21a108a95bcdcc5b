"""The pages and the drawing that `relative_cross.py` makes of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

Row = dict[str, Any]
BAR, MEAN_BAR = 90.0, 95.0
KEYS = ("method", "similarity", "normalization", "shrinkage", "noise", "anchors")
BASELINES = ("naive", "affine")
ENDS = (("random", 0), ("native", 100))
LABELS = ("gaussian, all views", "gaussian", "cosine", "affine, all views", "affine")

SWEEP = """# Relativized agents, by projection

`python benchmarks/relative_cross.py sweep`. Recovery in percent of the *absolute* native agent (100; random play 0),
100 sampled episodes a cell. Three agents a preset (red-s1, green-s2, blue-s3), relativized with 1,000 steps of
distillation and crossed with both others: six cells; `own`: the relativized agents themselves. ± is half of the 95 %
interval (Student's t over seed pairs), `upper ends`: cells whose own interval reaches 90. `noise`: that the
similarities are distilled under. `affine` is a translation fitted on the same anchors, as pairs. DoorKey-5x5 has 138
anchors where more are asked for: all the views that it shows. One thread of a shared two-core machine, torch 2.13.0.

![Recovery by number of anchors, shrinkage and projection](relative-sweep.png)"""
SWEPT = """
Whitened cosines cross best of the cosines in both worlds, with a shrinkage of 0.01 to 0.05; much of it (1.0) makes them
centred cosines, which cross as badly as standard-scaled ones. Distances and the product of three cross worse. On 512
anchors of random play and more, Gaussian kernels of whitened cosines are better than the cosines themselves, most of
all on all 1,372 views that two agents find too (an affine map on as many pairs keeps less); on 128 anchors and fewer
they are much worse, as their kernels leave gaps in between. `rlstitch relativize` takes Gaussian kernels from 256
anchors on, cosines on fewer, 512 anchors, noise 0.3.

Rows with noise 0.3, and `gaussian` with 0.2, are newer than the others: `relativize` distils on anchors too since, and
looks for anchors longer (627 instead of 618). Similarities were standardized before the distillation
(`standardize=True`); the older rows of SimpleCrossing by cosines are from before they were centred too, which those
that are whitened nearly are anyway."""
CROSS = """# Relativized agents, every crossing

`rlstitch grid configs/grids/evidence.yaml`, then `python benchmarks/relative_cross.py cross`. Every encoder drives
every controller of another seed. Recovery in percent of the *absolute* native agent in its own world; 100 episodes a
cell.

- `gaussian, all views`: as `rlstitch relativize AGENT --similarity gaussian --anchors 4096 --drivers
  PRESET-red-s1,PRESET-green-s2` does: Gaussian kernels of whitened cosines (shrinkage {shrinkage}), {steps:,} steps of
  distillation, on all views that random play and two agents find, 4,096 at most; `affine, all views`: a translation
  fitted on these anchors, as pairs. (Nothing said, `relativize` takes cosines on fewer than 256 anchors.)
- `gaussian`: on at most 512 anchors of random play; among the agents of the sweep.
- `cosine`, `affine`: whitened cosines, noise 0.2, on these anchors, and a translation fitted on them; looks
  red, green and blue (`--looks 3`), from before `relativize` distilled on anchors too: `cosine` may differ now.
- `own`: relativized agents with their own encoders. ± is half of the 95 % interval (Student's t over seed pairs);
  `upper ends`: cells whose own interval reaches 90. Naive, and greedy actions, among the agents of the sweep alone.

One thread of a shared two-core machine, torch 2.13.0. By anchors and projection: [sweep](relative-sweep.md); agents
trained through a projection: [trained through](relative-through.md).

Agents, each with a success of 95 % or more alone; the grid's unlock-green-s1 (6 % after 800,768 steps) failed and is
left out:
"""

TRIED = """What brought the bars within reach: Gaussian kernels in the place of cosines, anchors where agents go, and
anchors among the views that are distilled on. Tried by hand on six cells of SimpleCrossing and Unlock without gain:
shrinkage 0.01 and 0.003; jitter of the latents themselves, anchors and all, while distilling; sums of narrow and wide
kernels. Narrower kernels and more noise are better where nearly all views are anchors, and worse elsewhere. The mean of
the nearest anchors' own action distributions (ASIF, 2210.01738), with nothing distilled, plays as well where all views
are anchors, and does not know what to do elsewhere."""


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and half of its 95 % interval by Student's t; NaN for fewer than three values."""
    if len(values) < 3:
        return float(np.mean(values)), float("nan")
    return float(np.mean(values)), float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def over_seed_pairs(rows: Sequence[Row]) -> tuple[float, float]:
    """Return mean recovery and half of its interval over the means of seed pairs: cells of one pair share networks."""
    groups: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        seeds = (row["encoder"].rsplit("-s", 1)[1], row["controller"].rsplit("-s", 1)[1])
        groups.setdefault(seeds, []).append(row["recovery"])
    return interval([float(np.mean(group)) for group in groups.values()])


def is_alone(row: Row) -> bool:
    """Return whether the row is of an agent's own encoder and controller."""
    return bool(row["encoder"] == row["controller"])


def way_of(row: Row) -> tuple[Any, ...]:
    """Return what tells a way from another."""
    return tuple(row[key] for key in KEYS)


def way_cells(way: tuple[Any, ...]) -> str:
    """Return the first columns of a way's line."""
    method, similarity, normalization, shrinkage, noise, anchors = way
    shrinkage = shrinkage if normalization == "whiten" else "–"
    noise = "–" if method in BASELINES else noise
    return f"{method} | {similarity} | {normalization} | {shrinkage} | {noise} | {anchors or '–'}"


def line_of(rows: Sequence[Row]) -> str:
    """Return own recovery, and that of the crossed cells, as columns."""
    own, crossed = [r for r in rows if is_alone(r)], [r for r in rows if not is_alone(r)]
    numbers = np.array([row["recovery"] for row in crossed])
    mean, half = over_seed_pairs(crossed)
    spread = "" if np.isnan(half) else f" ± {half:.1f}"
    alone = f"{np.mean([row['recovery'] for row in own]):.1f}" if own else "–"
    reached = sum(row["high"] >= BAR for row in crossed)
    return (
        f"{len(crossed)} | {alone} | {mean:.1f}{spread} | {np.median(numbers):.1f} | {numbers.min():.1f} | "
        f"{reached} of {len(crossed)}"
    )


def write_sweep(rows: list[Row], out: Path) -> None:
    """Write the page of the sweep and its drawing."""
    rows = [row for row in rows if row["recovery"] is not None]
    lines = [SWEEP, SWEPT]
    for preset in dict.fromkeys(row["preset"] for row in rows):
        lines += ["", f"## {preset}", "", *head()]
        mine = [row for row in rows if row["preset"] == preset]
        lines += [f"| {end} |" + " – |" * 7 + f" {share} |" + " – |" * 3 for end, share in ENDS]
        for way in sorted({way_of(row) for row in mine}):
            lines.append(f"| {way_cells(way)} | {line_of([row for row in mine if way_of(row) == way])} |")
    out.with_suffix(".md").write_text("\n".join(lines) + "\n")
    draw(rows, out.with_suffix(".png"))


def head() -> list[str]:
    """Return the head of a table of ways."""
    titles = (*KEYS, "cells", "own", "crossed: mean", "median", "worst", f"upper ends ≥ {BAR:.0f} %")
    return ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]


def draw(rows: list[Row], path: Path) -> None:
    """Draw crossed recovery: over the number of anchors, over the shrinkage, and by projection; a row a preset."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    presets = list(dict.fromkeys(row["preset"] for row in rows))
    figure, axes = plt.subplots(len(presets), 3, figsize=(14, 6.5), layout="constrained", squeeze=False)
    for across, preset in zip(axes, presets, strict=True):
        mine = [row for row in rows if row["preset"] == preset and not is_alone(row)]
        whitened = [row for row in mine if row["normalization"] == "whiten" and row["similarity"] == "cosine"]
        usual = [row for row in whitened if row["shrinkage"] == 0.05 and row["noise"] == 0.2]
        kernels = [row for row in mine if row["similarity"] == "gaussian" and row["noise"] == 0.3]
        translated = [row for row in mine if row["method"] == "affine"]
        for label, chosen, marker, colour in (
            ("relative: cosine, whitened", usual, "o", "#0072b2"),
            ("relative: gaussian, whitened", kernels, "^", "#009e73"),
            ("affine, as many pairs", translated, "s", "#d55e00"),
        ):
            series(across[0], chosen, "anchors", label=label, marker=marker, color=colour)
        across[0].set_xscale("log", base=2)
        across[0].set_xlabel("anchors, or pairs")
        most = [row for row in whitened if row["asked"] == 512 and row["noise"] == 0.2]
        series(across[1], most, "shrinkage", label="cosine, whitened", marker="o", color="#0072b2")
        across[1].set_xscale("log")
        across[1].set_xlabel("shrinkage of the whitening")
        bars(across[2], [row for row in mine if row["method"] == "naive" or row["asked"] == 512])
        across[0].set_ylabel(f"{preset}: recovery %")
        for axis in across[:2]:
            axis.axhline(BAR, color="grey", linewidth=0.5, linestyle="--")
            axis.set_ylim(-10, 108)
    axes[0][0].legend(fontsize="small")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def series(axis: Any, rows: list[Row], key: str, **style: Any) -> None:
    """Draw mean recovery with its interval over a key."""
    levels = sorted({row[key] for row in rows})
    points = [over_seed_pairs([row for row in rows if row[key] == level]) for level in levels]
    if points:
        means, halves = zip(*points, strict=True)
        axis.errorbar(levels, means, yerr=halves, capsize=2, **style)


def bars(axis: Any, rows: list[Row]) -> None:
    """Draw mean recovery of each projection, cell by cell as dots."""
    labels: dict[str, list[Row]] = {}
    for row in rows:
        if row["method"] == "relative" and (row["noise"] != 0.2 or row["shrinkage"] not in (0.0, 0.05)):
            continue
        label = row["method"] if row["method"] in BASELINES else f"{row['similarity']}, {row['normalization']}"
        labels.setdefault(label, []).append(row)
    for place, found in enumerate(labels.values()):
        axis.barh(place, over_seed_pairs(found)[0], color="#56b4e9", height=0.6)
        axis.plot([row["recovery"] for row in found], [place] * len(found), ".", color="black", markersize=4)
    axis.set_yticks(range(len(labels)), list(labels), fontsize="x-small")
    axis.set_xlabel("recovery %")


def write_cross(rows: list[Row], out: Path) -> None:
    """Write the page of all crossings."""
    rows = [row for row in rows if row["recovery"] is not None]
    lines = [CROSS.format(**next(row for row in rows if is_best(row)))]
    for preset in dict.fromkeys(row["preset"] for row in rows):
        found = sorted({row["controller"].removeprefix(f"{preset}-") for row in rows if row["preset"] == preset})
        lines.append(f"- {preset}: {', '.join(found)}")
    for greedy in (False, True):
        mine = [row for row in rows if row["greedy"] == greedy]
        lines += ["", f"## {'Greedy' if greedy else 'Sampled'} actions", "", *cross_table(mine)]
    lines += ["", "## Against the bars", "", *verdicts(rows), "", TRIED]
    low = [row for row in rows if is_best(row) and not is_alone(row) and row["high"] < BAR]
    lines += ["", f"## Cells of `{LABELS[0]}` whose upper end is below {BAR:.0f} %", ""]
    for row in sorted(low, key=lambda row: row["recovery"]):
        kind = "greedy" if row["greedy"] else "sampled"
        ends = f"{row['recovery']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"
        lines.append(f"- {row['encoder']} with the controller of {row['controller']}, {kind}: {ends}")
    out.with_suffix(".md").write_text("\n".join(lines if low else [*lines, "None."]) + "\n")


def label_of(row: Row) -> str:
    """Return what a line of the cross is called."""
    name = row["similarity"] if row["method"] == "relative" else row["method"]
    return f"{name}, all views" if row["driven"] else str(name)


def is_best(row: Row) -> bool:
    """Return whether the row is of the way that the bars are about."""
    return label_of(row) == LABELS[0]


def verdicts(rows: list[Row]) -> list[str]:
    """Return for each preset whether relativized agents, sampled, reach the bars."""
    lines = []
    mine = [row for row in rows if is_best(row) and not row["greedy"] and not is_alone(row)]
    for preset in dict.fromkeys(row["preset"] for row in mine):
        cells = [row for row in mine if row["preset"] == preset]
        mean, reached = over_seed_pairs(cells)[0], sum(row["high"] >= BAR for row in cells)
        every = "" if reached == len(cells) else ", **missed**"
        verdict = "reached" if mean >= MEAN_BAR else "**missed**"
        lines.append(
            f"- {preset}: mean {mean:.1f}, {verdict} ({MEAN_BAR:.0f}); upper ends at {BAR:.0f} or more: {reached} of "
            f"{len(cells)}{every}."
        )
    if mine:
        lines.append(f"- all {len(mine)} cells: mean {np.mean([row['recovery'] for row in mine]):.1f}.")
    return lines


def cross_table(rows: list[Row]) -> list[str]:
    """Return a line a preset and method: random play and natives by their returns, the others by recovery too."""
    titles = (
        "preset",
        "method",
        "return",
        "anchors",
        "cells",
        "own",
        "crossed: mean",
        "median",
        "worst",
        "upper ends ≥ 90 %",
    )
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for preset in dict.fromkeys(row["preset"] for row in rows):
        mine = [row for row in rows if row["preset"] == preset]
        for end, share in ENDS:
            value = np.mean([row[end] for row in mine])
            lines.append(f"| {preset} | {end} | {value:.3f} | – | – | – | {share} | – | – | – |")
        for label in ("naive", *LABELS[::-1]):
            if chosen := [row for row in mine if label_of(row) == label]:
                value = np.mean([row["return"] for row in chosen if not is_alone(row)])
                anchors = chosen[0]["anchors"] or "–"
                lines.append(f"| {preset} | {label} | {value:.3f} | {anchors} | {line_of(chosen)} |")
    return lines
