"""The page, the plot and the table that `word_vectors.py` makes of its rows."""

from __future__ import annotations

import csv
import platform
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import ot
import scipy
import torch

Row = dict[str, Any]
NEIGHBOURS = 10
ANCHORS = 300
SEED_PAIRS = 15
SWEEP = (10, 20, 50, 100, 200, 300, 450, 600)
SWEEP_SEEDS = 3
MATCHED_WORDS = 500
# Numbers of anchors, and bounds on their condition number, of the inverse relative projection.
INVERTED = (100, 300, 600)
BOUNDS = (3, 10, 30, 100, 1000)


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV file, empty cells left out; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{k: number(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def number(text: str) -> Any:
    """An int or float where the text is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def write_rows(path: Path, rows: list[Row]) -> None:
    """All rows as CSV; a file that is cut short is never seen."""
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    part.replace(path)


def plot(rows: list[Row], path: Path) -> None:
    """One panel a measure, one line a choice of anchors; dashed with centring."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    names = list(dict.fromkeys(row["method"] for row in rows))
    for axis, measure in zip(axes, ("jaccard", "mrr", "cosine"), strict=True):
        for number, name in enumerate(names):
            for normalization, line in (("identity", "-"), ("center", "--")):
                chosen = [r for r in rows if r["method"] == name and r["normalization"] == normalization]
                means = [np.mean([r[measure] for r in chosen if r["anchors"] == k]) for k in SWEEP]
                axis.plot(SWEEP, means, line, color=f"C{number}", marker=".", label=name if line == "-" else None)
        axis.set(xlabel="anchors", title={"mrr": "MRR"}.get(measure, measure.capitalize()), xscale="log", ylim=(0, 1))
        axis.set_xticks(SWEEP, [str(k) if k != 450 else "" for k in SWEEP])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].legend(title="dashed: centred", loc="upper left")
    figure.savefig(path, dpi=110)


def mean_std(rows: list[Row], key: str) -> str:
    """`mean ± std` over rows, or a dash."""
    values = [row[key] for row in rows if key in row]
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}" if values else "–"


def share(rows: list[Row], of: list[Row], key: str) -> str:
    """The mean of one over the mean of the other."""
    return f"{np.mean([row[key] for row in rows]) / np.mean([row[key] for row in of]):.3f}"


def method_table(rows: list[Row]) -> str:
    """The methods over the seeds."""
    lines = [
        "| method | Jaccard | MRR | cosine | held-out Jaccard | held-out MRR | held-out cosine | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    keys = ("jaccard", "mrr", "cosine", "held-out jaccard", "held-out mrr", "held-out cosine")
    for name in dict.fromkeys(row["method"] for row in rows):
        chosen = [row for row in rows if row["method"] == name]
        cells = " | ".join(mean_std(chosen, key) for key in keys)
        lines.append(f"| {name} | {cells} | {np.mean([row['seconds'] for row in chosen]):.2f} |")
    return "\n".join(lines)


def sweep_table(rows: list[Row]) -> str:
    """Jaccard and MRR by choice and number of anchors."""
    lines = [f"| anchors | {' | '.join(map(str, SWEEP))} |", "|---" * (len(SWEEP) + 1) + "|"]
    plain = [row for row in rows if row["normalization"] == "identity"]
    for name in dict.fromkeys(row["method"] for row in plain):
        cells = []
        for k in SWEEP:
            chosen = [row for row in plain if row["method"] == name and row["anchors"] == k]
            cells.append(f"{np.mean([r['jaccard'] for r in chosen]):.2f} / {np.mean([r['mrr'] for r in chosen]):.2f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def inverse_table(rows: list[Row]) -> str:
    """Held-out scores by number of anchors, way of pruning and bound."""
    lines = [
        f"| anchors, pruned by | {' | '.join(f'{bound:,}' for bound in BOUNDS)} |",
        "|---" * (len(BOUNDS) + 1) + "|",
    ]
    for k in INVERTED:
        for way in ("anchors", "spectrum"):
            cells = []
            for bound in BOUNDS:
                chosen = [r for r in rows if (r["anchors"], r["method"], r["max condition"]) == (k, way, bound)]
                result = (np.mean([r[f"held-out {name}"] for r in chosen]) for name in ("jaccard", "mrr", "cosine"))
                cells.append(" / ".join(f"{value:.2f}" for value in result))
            lines.append(f"| {k}, {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def report(words: int, rows: list[Row], matching: Row, anchors: list[Row], inverses: list[Row]) -> str:
    """The page of results."""
    seeds = len({row["seed"] for row in rows})
    first = next(row for row in rows if row["method"] == "relative" and row["seed"] == 0)
    default = [r for r in inverses if (r["anchors"], r["method"], r["max condition"]) == (300, "anchors", 30)]
    kept, spanned = (float(np.mean([row[name] for row in default])) for name in ("anchors kept", "spanned"))
    centred = [row for row in rows if row["method"] == "relative, centred"]
    given = [row for row in rows if row["method"] == "relative"]
    boot = [row for row in rows if row["method"].startswith("bootstrapped")]
    few, many = ([row for row in rows if row["method"].startswith(f"functional map, {p}")] for p in (SEED_PAIRS, "all"))
    versions = ", ".join(
        f"{name} {version}"
        for name, version in {
            "Python": platform.python_version(),
            "NumPy": np.__version__,
            "SciPy": scipy.__version__,
            "torch": torch.__version__,
            "POT": ot.__version__,
        }.items()
    )
    page = f"""# Word vectors: word2vec against fastText

`RLSTITCH_DATA=<folder> python benchmarks/word_vectors.py`; {versions}; {torch.get_num_threads()} thread.

Samples of the public vectors (GoogleNews and English fastText, 300 dimensions): {words:,} words in common,
{NEIGHBOURS} neighbours, {ANCHORS} uniform anchors or pairs. Every number is the mean ± standard deviation over anchor
seeds 0 to {seeds - 1}. All rows: `word-vectors.csv`.

Jaccard, MRR and cosine are those of 2209.15430, where uniform anchors on 20,000 words gave .38 / .93 / .86; fewer words
are an easier search. Relative, seed 0: {first["jaccard"]:.3f} / {first["mrr"]:.3f} / {first["cosine"]:.3f}. For the
other rows no published figure was at hand. Their cosines below .86 cannot be compared with it: relative coordinates of
all words share a mean, which raises that cosine (without it, centred: {mean_std(centred, "cosine")}), and the cosines
of translated vectors are measured in y's own space. `held-out` counts only queries that are not uniform anchors; the
candidates are always all words.

{method_table(rows)}

**From {SEED_PAIRS} pairs.** Bootstrapping gets {SEED_PAIRS} pairs and y in an order unknown to it, and is asked for
{ANCHORS} anchors. Of those it discovers {mean_std(boot, "anchors right")} are right, and
{mean_std(boot, "words paired right")} of all words are paired rightly, in {mean_std(boot, "rounds")} rounds. So
{share(boot, given, "jaccard")} of the Jaccard and {share(boot, given, "mrr")} of
the MRR of as many given anchors are kept (all words; the paper,
2303.00721, keeps most). The method needs the same words on both sides; some of its held-out words are anchors that it
found itself.

**Functional maps.** Words paired rightly after refinement: {mean_std(few, "words paired right")} from
{SEED_PAIRS} pairs and 50 functions, {mean_std(many, "words paired right")} from {ANCHORS} pairs and 150.
Similarity of C before refinement:
{mean_std(few, "similarity of C")} and {mean_std(many, "similarity of C")}. Their scores are those of spectral
coordinates, of which there are fewer than dimensions.

**Inverse relative projection.** Held-out Jaccard / MRR / cosine by the bound on the condition number (columns), means
over {SWEEP_SEEDS} seeds. `anchors` prunes Y's anchors (the paper's way; `inverse relative` above has a bound of 30, the
default when it was measured), `spectrum` keeps all anchors and cuts singular values (`inverse relative, all anchors`, a
bound of 10, the default now). A bound of 30 keeps {kept:.0f} of 300 anchors for 300 dimensions, and they reach
{spanned:.3f} of the squared norm. The best MRR is near 30 at any number of anchors; the directions that a higher bound
adds are dominated by noise.

{inverse_table(inverses)}

**No pairs: Gromov-Wasserstein** on the {MATCHED_WORDS} most frequent words, {matching["seconds"]:.0f} s:
{matching["words paired right"]:.3f} paired rightly. By its own measures the match has failed: its structure is
{matching["structure"]:.2f}, no more than the {matching["structure by chance"]:.2f} that the same solver reaches on
random spaces of the same covariance, so that the mean confidence is {matching["mean confidence"]:.2f}. The true pairing
has {matching["structure of the truth"]:.2f}, little more: about these words, distances alone say little, and the solver
stops at a wrong optimum. {SEED_PAIRS} pairs do far better (above). A step is cubic in the number of words, so the other
words are left out.

**Which anchors, how many.** Jaccard / MRR of relative representations, not centred (the plot has both). Random,
farthest and k-medoids are means over {SWEEP_SEEDS} seeds, chosen by word2vec alone; top-k are the most frequent words.

{sweep_table(anchors)}

![Jaccard, MRR and cosine by number of anchors](word-vectors.png)
"""
    return "\n\n".join(wrapped(paragraph) for paragraph in page.strip().split("\n\n")) + "\n"


def wrapped(paragraph: str) -> str:
    """A paragraph in lines of at most 120; tables stay."""
    return paragraph if paragraph.startswith("|") else textwrap.fill(paragraph, 120, break_on_hyphens=False)
