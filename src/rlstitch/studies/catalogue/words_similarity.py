"""Study `words-similarity`: how similar two spaces of words are without being joined.

Shows: how similar word2vec and fastText are by each measure of similarity, and by chance, when words are shuffled
Data: word vectors as npz; with --quick synthetic words, where there are none
Time: quick: seconds; in full: a minute

Measures that need no map: CKA (Kornblith et al. 2019, 1905.00414), SVCCA (Raghu et al. 2017, 1706.05806), mutual
nearest neighbours (Huh et al. 2024, 2405.07987) and representational similarity (Kriegeskorte et al. 2008).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rlstitch.latent import linear_cka, mutual_knn, rbf_cka, rsa, svcca
from rlstitch.studies.data import word_spaces
from rlstitch.studies.study import Findings, Study, StudyConfig
from rlstitch.studies.tables import Row, interval_table

MEASURES: dict[str, Callable[[NDArray[np.float32], NDArray[np.float32]], float]] = {
    "linear CKA": linear_cka,
    "RBF CKA": rbf_cka,
    "SVCCA": svcca,
    "mutual 10-NN": lambda x, y: mutual_knn(x, y, 10),
    "RSA": rsa,
}


class Config(StudyConfig):
    """Everything that decides the result: each seed chooses so many `words`."""

    words: int


class WordsSimilarity(Study[Config]):
    """Measures the similarity of two spaces of word vectors."""

    quick = Config(seeds=(0, 1), words=300)
    full = Config(seeds=tuple(range(10)), words=1000)

    def run(self) -> Findings:
        """Measure the words of every seed, and the same words in a random order on one side."""
        x, y = word_spaces(self.data, synthetic=self.small)
        shared = np.array(sorted(set(x.keys) & set(y.keys)))
        cells: list[Row] = []
        for seed in self.config.seeds:
            rng = np.random.default_rng(seed)
            words = rng.permutation(shared)[: self.config.words].tolist()
            a, b = x.select(words).vectors, y.select(words).vectors
            shuffled = b[rng.permutation(len(b))]
            for name, measure in MEASURES.items():
                cells.append(
                    {"measure": name, "seed": seed, "similarity": measure(a, b), "chance": measure(a, shuffled)}
                )
            self.report(f"seed {seed}: {len(words)} words measured")
        table = interval_table(
            cells, lambda row: {"measure": row["measure"]}, "similarity", unit=lambda row: row["seed"],
            means={"chance": lambda row: row["chance"]},
        )  # fmt: skip
        margins = {row["measure"]: row["similarity"] - row["chance"] for row in table}
        best = max(margins, key=margins.__getitem__)
        facts = [
            f"{self.config.words:,} of {len(shared):,} words a seed; farthest above chance is {best}, by "
            f"{margins[best]:.3f}. chance: words of one side shuffled.",
            "low and high: 95 % interval (Student's t) over choices of words.",
        ]
        return Findings(cells, table, facts)
