"""word2vec against fastText: how well each method makes the two spaces one.

    RLSTITCH_DATA=<folder> python benchmarks/word_vectors.py [--seeds 10] [--out docs/results]

The folder holds `word-vectors/word2vec-googlenews-300d.npz` and `word-vectors/fasttext-english-300d.npz`, each with
`words` (unicode) and `vectors` (float32). Writes word-vectors.md, word-vectors.csv and word-vectors.png. The CSV file
is written row by row and read first: what it holds is not computed again (delete it, or lines of it, to start over).

As in Moschella et al. 2022 (2209.15430, section 4.1): with x the word2vec side, for every word Jaccard compares the 10
words of y nearest to x_i with the 10 nearest to y_i, MRR is the mean reciprocal rank of y_i among all y for the query
x_i, and cosine is that of x_i and y_i, all in the common space.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

import rlstitch.latent as latent
from word_vectors_page import (
    ANCHORS,
    BOUNDS,
    INVERTED,
    MATCHED_WORDS,
    NEIGHBOURS,
    SEED_PAIRS,
    SWEEP,
    SWEEP_SEEDS,
    Row,
    method_table,
    plot,
    read_rows,
    report,
    write_rows,
)

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


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


def inverse(pruning: Literal["anchors", "spectrum"], max_condition: float) -> Method:
    """Encode relative to x's anchors, decode with y's."""

    def method(words: Words, anchors: Indices) -> tuple[Floats, Floats, dict[str, float]]:
        x, y = words.x[anchors], words.y[anchors]
        fitted = latent.fit_inverse_projection(x, y, pruning=pruning, max_condition=max_condition)
        extra = {"anchors kept": float(np.mean(fitted.report.kept)), "spanned": fitted.report.spanned}
        return fitted(words.x), words.y, extra

    return method


def translated(fit: Callable[[Floats, Floats], Any]) -> Method:
    """A map fitted on the anchors."""
    return lambda words, anchors: (fit(words.x[anchors], words.y[anchors])(words.x), words.y, {})


def bootstrapped(words: Words, anchors: Indices) -> tuple[Floats, Floats, dict[str, float]]:
    """As many anchors, discovered from 15 of them, with y in an order of its own."""
    order = np.random.default_rng(len(words.x)).permutation(len(words.x))
    where = order.argsort()
    seeds = np.stack([anchors[:SEED_PAIRS], where[anchors[:SEED_PAIRS]]], axis=1)
    result = latent.bootstrap_anchors(words.x, words.y[order], seeds, len(anchors))
    right = where[result.x_indices] == result.y_indices
    extra = {
        "anchors right": float(right[SEED_PAIRS:].mean()),
        "words paired right": float((where == result.matches).mean()),
        "mean confidence": float(result.match_confidence.mean()),
        "rounds": result.rounds,
    }
    return *relative(words, result.x_indices, order[result.y_indices]), extra


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


METHODS: dict[str, Method] = {
    "absolute": lambda words, _: (words.x, words.y, {}),
    "relative": lambda words, anchors: (*relative(words, anchors, anchors), {}),
    "relative, centred": lambda words, anchors: (*relative(words, anchors, anchors, "center"), {}),
    "orthogonal": translated(latent.fit_orthogonal),
    "affine": translated(latent.fit_affine),
    "inverse relative": inverse("anchors", 30),
    "inverse relative, all anchors": inverse("spectrum", 10),
    f"bootstrapped from {SEED_PAIRS} pairs, relative": bootstrapped,
    f"functional map, {SEED_PAIRS} pairs, 50 functions": functional(SEED_PAIRS, 50),
    "functional map, all anchors, 150 functions": functional(ANCHORS, 150),
}


Key = tuple[Any, ...]
Done = set[Key]


def key(row: Row) -> Key:
    """What makes a row the one that it is."""
    return tuple(row.get(name) for name in ("part", "method", "anchors", "seed", "normalization", "max condition"))


def compare(words: Words, seeds: int, done: Done) -> Iterator[Row]:
    """Every method under every seed: all words, and those that are no anchors."""
    everything = np.arange(len(words.x))
    for seed in range(seeds):
        anchors = np.random.default_rng(seed).choice(len(words.x), ANCHORS, replace=False)
        held_out = np.setdiff1d(everything, anchors)
        for name, method in METHODS.items():
            row: Row = {"part": "methods", "method": name, "anchors": ANCHORS, "seed": seed}
            if key(row) in done:
                continue
            start = time.perf_counter()
            x, y, extra = method(words, anchors)
            row["seconds"] = time.perf_counter() - start
            row |= scores(x, y, everything)
            yield row | {f"held-out {name}": value for name, value in scores(x, y, held_out).items()} | extra


def bounded(words: Words, done: Done) -> Iterator[Row]:
    """The inverse relative projection under bounds on the condition number, pruned in both ways: held-out words."""
    for k, pruning, bound, seed in product(INVERTED, ("anchors", "spectrum"), BOUNDS, range(SWEEP_SEEDS)):
        row: Row = {"part": "inverse", "method": pruning, "anchors": k, "seed": seed, "max condition": bound}
        if key(row) in done:
            continue
        anchors = np.random.default_rng(seed).choice(len(words.x), k, replace=False)
        start = time.perf_counter()
        x, y, extra = inverse(pruning, bound)(words, anchors)
        row["seconds"] = time.perf_counter() - start
        held_out = np.setdiff1d(np.arange(len(words.x)), anchors)
        yield row | {f"held-out {name}": value for name, value in scores(x, y, held_out).items()} | extra


def match(words: Words, done: Done) -> Iterator[Row]:
    """Gromov-Wasserstein on the most frequent words, which knows no pair; and what the truth would look like."""
    row: Row = {"part": "Gromov-Wasserstein", "method": f"{MATCHED_WORDS} most frequent words"}
    if key(row) in done:
        return
    chosen = words.rank.argsort()[:MATCHED_WORDS]
    x, y = words.x[chosen], words.y[chosen]
    order = np.random.default_rng(0).permutation(len(x))
    start = time.perf_counter()
    result = latent.match_gromov_wasserstein(x, y[order])
    seconds = time.perf_counter() - start
    where = order.argsort()
    cosines = [latent.project_cosine(s - s.mean(0), s - s.mean(0)) for s in (x, y)]
    truth = np.stack([np.arange(len(x))] * 2, axis=1)
    yield row | {
        "seconds": seconds,
        "words paired right": float((result.matches == where).mean()),
        "mutual pairs": len(result.mutual),
        "mean confidence": float(result.confidence.mean()),
        "structure": result.structure,
        "structure by chance": result.chance,
        "structure of the truth": latent.structure_agreement(*cosines, truth),
    }


def sweep(words: Words, done: Done) -> Iterator[Row]:
    """Relative representations under four choices of 10 to 600 anchors."""
    everything = np.arange(len(words.x))
    for name in ("random", "farthest (cosine)", "k-medoids", "top-k"):
        for seed in range(1 if name == "top-k" else SWEEP_SEEDS):
            for k in SWEEP:
                row: Row = {"part": "anchors", "method": name, "anchors": k, "seed": seed}
                parts = [row | {"normalization": normalization} for normalization in ("identity", "center")]
                if all(key(part) in done for part in parts):
                    continue
                anchors = chosen(words, name, k, seed)
                for part in parts:
                    x, y = relative(words, anchors, anchors, part["normalization"])
                    yield part | scores(x, y, everything)


def chosen(words: Words, name: str, k: int, seed: int) -> Indices:
    """k anchors, by frequency, by chance or by the word2vec vectors."""
    if name == "top-k":
        return words.rank.argsort()[:k]
    if name == "random":
        return np.random.default_rng(seed).choice(len(words.x), k, replace=False)
    kind = {"farthest (cosine)": "farthest_cosine", "k-medoids": "kmedoids"}[name]
    return latent.choose_anchors(kind, words.x, k, seed)


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
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "word-vectors.csv"
    rows = read_rows(file)
    done = {key(row) for row in rows}
    parts = compare(words, arguments.seeds, done), match(words, done), sweep(words, done), bounded(words, done)
    for row in chain(*parts):
        rows = [old for old in rows if key(old) != key(row)] + [row]
        write_rows(file, rows)
    methods, matching, anchors, inverses = (
        [row for row in rows if row["part"] == part] for part in ("methods", "Gromov-Wasserstein", "anchors", "inverse")
    )
    plot(anchors, arguments.out / "word-vectors.png")
    (arguments.out / "word-vectors.md").write_text(report(len(words.x), methods, matching[0], anchors, inverses))
    print(method_table(methods))
    print(matching)


if __name__ == "__main__":
    main()
