"""Study `word-embeddings`: word2vec and fastText, trained on different text, are made one space.

Shows: word2vec meets fastText: how well each method makes two spaces of words one
Data: word vectors as npz; with --quick synthetic words, where there are none
Time: quick: seconds; in full: a minute

As in Moschella et al. 2022 (2209.15430, section 4.1), x the word2vec side. For each word that is no anchor: Jaccard
compares the 10 words of y nearest to x_i with the 10 nearest to y_i, MRR is the mean reciprocal rank of y_i among all y
for the query x_i, cosine is that of x_i and y_i, all in the common space.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rlstitch.latent as latent
from rlstitch.latent.space import LatentSpace
from rlstitch.studies.data import FASTTEXT, WORD2VEC, word_spaces
from rlstitch.studies.study import Findings, Study, StudyConfig
from rlstitch.studies.tables import Row, interval_table

Floats = NDArray[np.float64]
Space = LatentSpace[Floats]
Join = Callable[[Space, Space, tuple[str, ...]], tuple[Space, Space]]
"""(x, y, keys of the anchors) -> both in a common space."""


class Config(StudyConfig):
    """Everything that decides the result. A seed chooses the anchors; `words`: how many are used, None for all."""

    words: int | None = None
    anchors: int
    neighbours: int = 10
    files: tuple[str, ...] = (WORD2VEC, FASTTEXT)


class WordEmbeddings(Study[Config]):
    """Joins two spaces of word vectors."""

    quick = Config(seeds=(0, 1), words=500, anchors=200)
    full = Config(seeds=tuple(range(10)), anchors=300)

    def run(self) -> Findings:
        """Measure every method with the anchors of every seed."""
        config = self.config
        x, y = word_spaces(self.data, synthetic=self.small, files=config.files)
        shared = sorted(set(x.keys) & set(y.keys))
        if config.words is not None:
            shared = [shared[row] for row in sorted(np.random.default_rng(0).permutation(len(shared))[: config.words])]
        left, right = (space.select(shared).map(lambda vectors: vectors.astype(np.float64)) for space in (x, y))
        cells: list[Row] = []
        for seed in config.seeds:
            anchors = left.sample(config.anchors, seed).keys
            for method, join in METHODS.items():
                measured = measure(*join(left, right, anchors), anchors, config.neighbours)
                cells.append({"method": method, "seed": seed, **measured})
        table = interval_table(
            cells, lambda row: {"method": row["method"]}, "jaccard", unit=lambda row: row["seed"],
            means={"mrr": lambda row: row["mrr"], "cosine": lambda row: row["cosine"]},
        )  # fmt: skip
        best = max(table, key=lambda row: row["mrr"])
        by = {row["method"]: row for row in table}
        facts = [
            f"{len(shared):,} words, {config.anchors} anchors, measured on the other words. Jaccard as they are "
            f"{by['absolute']['jaccard']:.3f}, relative {by['relative']['jaccard']:.3f}; best MRR {best['mrr']:.3f} "
            f"({best['method']}).",
            "low and high: 95 % interval of Jaccard (Student's t) over choices of anchors.",
        ]
        return Findings(cells, table, facts)


def measure(x: Space, y: Space, anchors: tuple[str, ...], neighbours: int) -> dict[str, float]:
    """The three metrics for the words that are no anchors, searched among all words; x and y hold the same keys."""
    known = set(anchors)
    queries = np.array([row for row, key in enumerate(x.keys) if key not in known])
    near_x = latent.nearest(x.vectors[queries], y.vectors, neighbours).indices
    near_y = latent.nearest(y.vectors[queries], y.vectors, neighbours).indices
    return {
        "jaccard": latent.neighbour_jaccard(near_x, near_y),
        "mrr": float((1 / latent.match_ranks(x.vectors[queries], y.vectors, queries)).mean()),
        "cosine": latent.matched_cosine(x.vectors[queries], y.vectors[queries]),
    }


def _relative(normalization: str) -> Join:
    def project(space: Space, anchors: tuple[str, ...]) -> Space:
        chosen = space.select(anchors).vectors
        return space.map(lambda vectors: latent.relative_projection(vectors, chosen, normalization=normalization))

    return lambda x, y, anchors: (project(x, anchors), project(y, anchors))


def _mapped(fit: Callable[[Floats, Floats], Any]) -> Join:
    return lambda x, y, anchors: (x.map(fit(x.select(anchors).vectors, y.select(anchors).vectors)), y)


METHODS: dict[str, Join] = {
    "absolute": lambda x, y, _: (x, y),
    "relative": _relative("identity"),
    "relative centred": _relative("center"),
    "relative whitened": _relative("whiten"),
    "orthogonal": _mapped(latent.fit_orthogonal),
    "linear": _mapped(latent.fit_linear),
    "affine": _mapped(latent.fit_affine),
    "l_orthogonal": _mapped(latent.fit_l_orthogonal),
    "inverse relative": _mapped(latent.fit_inverse_projection),
}
