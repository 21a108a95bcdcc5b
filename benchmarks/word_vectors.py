"""word2vec against fastText: how well each method makes the two spaces one.

    RLSTITCH_DATA=<folder> python benchmarks/word_vectors.py [--seeds 10] [--out docs/results]

The folder holds `word-vectors/word2vec-googlenews-300d.npz` and `word-vectors/fasttext-english-300d.npz`, each with
`words` (unicode) and `vectors` (float32). Writes word-vectors.md, word-vectors.csv and word-vectors.png.

As in Moschella et al. 2022 (2209.15430, section 4.1): with x the word2vec side, for every word Jaccard compares the 10
words of y nearest to x_i with the 10 nearest to y_i, MRR is the mean reciprocal rank of y_i among all y for the query
x_i, and cosine is that of x_i and y_i, all in the common space.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ot
import scipy
import torch
from numpy.typing import NDArray

import rlstitch.latent as latent

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
NEIGHBOURS = 10
ANCHORS = 300
SEED_PAIRS = 15
SWEEP = (10, 20, 50, 100, 200, 300, 450, 600)
SWEEP_SEEDS = 3
MATCHED_WORDS = 500


@dataclass(frozen=True)
class Words:
    """The shared words, sorted, their vectors x (word2vec) and y (fastText), and their frequency rank in word2vec."""

    x: Floats
    y: Floats
    rank: Indices


def load(folder: Path) -> Words:
    """Read both files and keep the words they share."""
    files = [
        np.load(folder / "word-vectors" / f"{name}.npz", allow_pickle=False)
        for name in ("word2vec-googlenews-300d", "fasttext-english-300d")
    ]
    rows = [{str(word): row for row, word in enumerate(file["words"])} for file in files]
    shared = sorted(rows[0].keys() & rows[1].keys())
    x, y = (
        file["vectors"][[row[word] for word in shared]].astype(np.float64)
        for file, row in zip(files, rows, strict=True)
    )
    return Words(x, y, np.array([rows[0][word] for word in shared]))


def scores(x: Floats, y: Floats, queries: Indices) -> dict[str, float]:
    """Jaccard, MRR and cosine of the queries, among all words."""
    near_x = latent.nearest(x[queries], y, NEIGHBOURS).indices
    near_y = latent.nearest(y[queries], y, NEIGHBOURS).indices
    return {
        "jaccard": latent.neighbour_jaccard(near_x, near_y),
        "mrr": float((1 / latent.match_ranks(x[queries], y, queries)).mean()),
        "cosine": latent.matched_cosine(x[queries], y[queries]),
    }


def relative(words: Words, a: Indices, b: Indices, normalization: str = "identity") -> tuple[Floats, Floats]:
    """Both spaces relative to anchors a (rows of x) and b (rows of y)."""
    return (
        latent.relative_projection(words.x, words.x[a], normalization=normalization),
        latent.relative_projection(words.y, words.y[b], normalization=normalization),
    )


Method = Callable[[Words, Indices], tuple[Floats, Floats, dict[str, float]]]


def translated(fit: Callable[[Floats, Floats], Any]) -> Method:
    """A map fitted on the anchors."""
    return lambda words, anchors: (fit(words.x[anchors], words.y[anchors])(words.x), words.y, {})


def bootstrapped(words: Words, anchors: Indices) -> tuple[Floats, Floats, dict[str, float]]:
    """As many anchors, discovered from 15 of them, with y in an order of its own."""
    order = np.random.default_rng(len(words.x)).permutation(len(words.x))
    where = order.argsort()
    seeds = np.stack([anchors[:SEED_PAIRS], where[anchors[:SEED_PAIRS]]], axis=1)
    found = latent.bootstrap_anchors(words.x, words.y[order], seeds, len(anchors))
    right = where[found.x_indices] == found.y_indices
    extra = {
        "anchors right": float(right[SEED_PAIRS:].mean()),
        "words paired right": float((where == found.matches).mean()),
        "mean confidence": float(found.match_confidence.mean()),
        "rounds": found.rounds,
    }
    return *relative(words, found.x_indices, order[found.y_indices]), extra


def functional(pairs: int, k: int) -> Method:
    """Words as functions: x's spectral coordinates, mapped, against y's."""

    def method(words: Words, anchors: Indices) -> tuple[Floats, Floats, dict[str, float]]:
        x_basis, y_basis = (
            latent.laplacian_eigenbasis(space - space.mean(0), k, neighbours=50) for space in (words.x, words.y)
        )
        indicators = np.eye(len(words.x))[:, anchors[:pairs]]
        fitted = latent.fit_functional_map(x_basis, y_basis, indicators, indicators)
        refined = latent.refine_functional_map(fitted)
        right = refined.matches() == np.arange(len(words.x))
        extra = {"similarity of C": fitted.similarity(), "words paired right": float(right.mean())}
        return x_basis.functions @ refined.matrix.T, y_basis.functions, extra

    return method


def inverse(words: Words, anchors: Indices) -> tuple[Floats, Floats, dict[str, float]]:
    """Encode relative to x's anchors, decode with y's."""
    return latent.fit_inverse_projection(words.x[anchors], words.y[anchors])(words.x), words.y, {}


METHODS: dict[str, Method] = {
    "absolute": lambda words, _: (words.x, words.y, {}),
    "relative": lambda words, anchors: (*relative(words, anchors, anchors), {}),
    "relative, centred": lambda words, anchors: (*relative(words, anchors, anchors, "center"), {}),
    "orthogonal": translated(latent.fit_orthogonal),
    "affine": translated(latent.fit_affine),
    "inverse relative": inverse,
    f"bootstrapped from {SEED_PAIRS} pairs, relative": bootstrapped,
    f"functional map, {SEED_PAIRS} pairs, 50 functions": functional(SEED_PAIRS, 50),
    "functional map, all anchors, 150 functions": functional(ANCHORS, 150),
}


def compare(words: Words, seeds: int) -> list[dict[str, Any]]:
    """Every method under every seed: all words, and those that are no anchors."""
    rows = []
    everything = np.arange(len(words.x))
    for seed in range(seeds):
        anchors = np.random.default_rng(seed).choice(len(words.x), ANCHORS, replace=False)
        held_out = np.setdiff1d(everything, anchors)
        for name, method in METHODS.items():
            start = time.perf_counter()
            x, y, extra = method(words, anchors)
            row: dict[str, Any] = {"part": "methods", "method": name, "anchors": ANCHORS, "seed": seed}
            row["seconds"] = time.perf_counter() - start
            row |= scores(x, y, everything)
            row |= {f"held-out {key}": value for key, value in scores(x, y, held_out).items()} | extra
            rows.append(row)
    return rows


def match(words: Words) -> dict[str, Any]:
    """Gromov-Wasserstein on the most frequent words, which knows no pair; and what the truth would look like."""
    chosen = words.rank.argsort()[:MATCHED_WORDS]
    x, y = words.x[chosen], words.y[chosen]
    order = np.random.default_rng(0).permutation(len(x))
    start = time.perf_counter()
    found = latent.match_gromov_wasserstein(x, y[order])
    seconds = time.perf_counter() - start
    where = order.argsort()
    cosines = [latent.project_cosine(s - s.mean(0), s - s.mean(0)) for s in (x, y)]
    truth = np.stack([np.arange(len(x))] * 2, axis=1)
    return {
        "part": "Gromov-Wasserstein",
        "method": f"{MATCHED_WORDS} most frequent words",
        "seconds": seconds,
        "words paired right": float((found.matches == where).mean()),
        "mutual pairs": len(found.mutual),
        "mean confidence": float(found.confidence.mean()),
        "structure": found.structure,
        "structure of the truth": latent.structure_agreement(*cosines, truth),
    }


def sweep(words: Words) -> list[dict[str, Any]]:
    """Relative representations under four choices of 10 to 600 anchors."""
    rows = []
    everything = np.arange(len(words.x))
    for name in ("random", "farthest (cosine)", "k-medoids", "top-k"):
        for seed in range(1 if name == "top-k" else SWEEP_SEEDS):
            for k in SWEEP:
                if name == "top-k":
                    anchors = words.rank.argsort()[:k]
                elif name == "random":
                    anchors = np.random.default_rng(seed).choice(len(words.x), k, replace=False)
                else:
                    kind = {"farthest (cosine)": "farthest_cosine", "k-medoids": "kmedoids"}[name]
                    anchors = latent.choose_anchors(kind, words.x, k, seed)
                for normalization in ("identity", "center"):
                    x, y = relative(words, anchors, anchors, normalization)
                    row = {"part": "anchors", "method": name, "anchors": k, "seed": seed}
                    rows.append(row | {"normalization": normalization} | scores(x, y, everything))
    return rows


def plot(rows: list[dict[str, Any]], path: Path) -> None:
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


def mean_std(rows: list[dict[str, Any]], key: str) -> str:
    """`mean ± std` over rows, or a dash."""
    values = [row[key] for row in rows if key in row]
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}" if values else "–"


def method_table(rows: list[dict[str, Any]]) -> str:
    """The methods over the seeds."""
    lines = [
        "| method | Jaccard | MRR | cosine | held-out Jaccard | held-out MRR | held-out cosine | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    keys = ("jaccard", "mrr", "cosine", "held-out jaccard", "held-out mrr", "held-out cosine")
    for name in METHODS:
        chosen = [row for row in rows if row["method"] == name]
        cells = " | ".join(mean_std(chosen, key) for key in keys)
        lines.append(f"| {name} | {cells} | {np.mean([row['seconds'] for row in chosen]):.2f} |")
    return "\n".join(lines)


def sweep_table(rows: list[dict[str, Any]]) -> str:
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


def report(words: Words, rows: list[dict[str, Any]], matching: dict[str, Any], anchors: list[dict[str, Any]]) -> str:
    """The page of results."""
    seeds = len({row["seed"] for row in rows})
    first = next(row for row in rows if row["method"] == "relative" and row["seed"] == 0)
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
    command = " ".join(["benchmarks/word_vectors.py", *sys.argv[1:]])
    page = f"""# Word vectors: word2vec against fastText

`RLSTITCH_DATA=<folder> python {command}`; {versions}; {torch.get_num_threads()} thread.

Samples of the public vectors (GoogleNews and English fastText, 300 dimensions): {len(words.x):,} words in common,
{NEIGHBOURS} neighbours, {ANCHORS} uniform anchors or pairs. Every number is the mean ± standard deviation over anchor
seeds 0 to {seeds - 1}. All rows: `word-vectors.csv`.

Jaccard, MRR and cosine are those of 2209.15430, where uniform anchors on 20,000 words gave .38 / .93 / .86; fewer words
are an easier search. Relative, seed 0: {first["jaccard"]:.3f} / {first["mrr"]:.3f} / {first["cosine"]:.3f}.
`held-out` counts only queries that are no uniform anchors; the candidates are always all words.

{method_table(rows)}

**From {SEED_PAIRS} pairs.** Bootstrapping gets {SEED_PAIRS} pairs and y in an order unknown to it, and is asked for
{ANCHORS} anchors. Of those it discovers {mean_std(boot, "anchors right")} are right, and
{mean_std(boot, "words paired right")} of all words are paired rightly, in
{mean_std(boot, "rounds")} rounds. It leans on both
sides holding the same words; among its held-out words are some that it found itself.

**Functional maps.** Words paired rightly after refinement: {mean_std(few, "words paired right")} from
{SEED_PAIRS} pairs and 50 functions, {mean_std(many, "words paired right")} from {ANCHORS} pairs and 150.
Similarity of C before refinement:
{mean_std(few, "similarity of C")} and {mean_std(many, "similarity of C")}. Their scores are those of spectral
coordinates, of which there are fewer than dimensions.

**No pairs: Gromov-Wasserstein** on the {MATCHED_WORDS} most frequent words, {matching["seconds"]:.0f} s:
{matching["words paired right"]:.3f} paired rightly at a mean confidence of the plan of
{matching["mean confidence"]:.2f}. Its structure is {matching["structure"]:.2f}; that of the true pairing is
{matching["structure of the truth"]:.2f}. The plan's confidence tells nothing here, and the structure does.

**Which anchors, how many.** Jaccard / MRR of relative representations, not centred (the plot has both). Random,
farthest and k-medoids are means over {SWEEP_SEEDS} seeds, chosen by word2vec alone; top-k are the most frequent words.

{sweep_table(anchors)}

![Jaccard, MRR and cosine by number of anchors](word-vectors.png)
"""
    return "\n\n".join(wrapped(paragraph) for paragraph in page.strip().split("\n\n")) + "\n"


def wrapped(paragraph: str) -> str:
    """A paragraph in lines of at most 120; tables stay."""
    return paragraph if paragraph.startswith("|") else textwrap.fill(paragraph, 120, break_on_hyphens=False)


def main() -> None:
    """Run everything, write three files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    arguments = parser.parse_args()
    if "RLSTITCH_DATA" not in os.environ:
        parser.error("RLSTITCH_DATA must name the folder that holds word-vectors/")
    torch.set_num_threads(1)
    words = load(Path(os.environ["RLSTITCH_DATA"]))
    rows, matching, anchors = compare(words, arguments.seeds), match(words), sweep(words)
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = [*rows, matching, *anchors]
    with (arguments.out / "word-vectors.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in table for key in row)))
        writer.writeheader()
        writer.writerows({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()} for row in table)
    plot(anchors, arguments.out / "word-vectors.png")
    (arguments.out / "word-vectors.md").write_text(report(words, rows, matching, anchors))
    print(method_table(rows))
    print(matching)


if __name__ == "__main__":
    main()
