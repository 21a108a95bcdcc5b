"""Study `text-cross-lingual`: encoders of sentences, each trained on one language alone, meet by parallel anchors.

Shows: encoders of sentences, each trained on one language alone, meet by parallel anchors and find translations
Data: Multi30k in English, German and French; with --quick synthetic captions
Time: quick: under 15 seconds; in full: some four minutes, as 90 pairs of spaces are joined by every method

After Moschella et al. 2022 (2209.15430, section 5), whose encoders were large, pretrained and drove classifiers: here
small ones are trained on captions, and a test sentence has to find its translation. Each seed splits the training
sentences: some are parallel, of which anchors are chosen, and each language's encoder is trained on others, which are
no translations of one another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError
from rlstitch.latent import (
    aggregate_sum,
    couple,
    csls,
    fit,
    fit_inverse_projection,
    fit_normalization,
    match_ranks,
    project_product,
    relative_projection,
    unit_norm,
)
from rlstitch.modalities.parallel_text import MULTI30K_FILES, ParallelTexts, read_multi30k
from rlstitch.modalities.synthetic_text import synthetic_captions
from rlstitch.modalities.text import train_sentence_encoder
from rlstitch.studies.joining import INVERSE, TRANSLATIONS
from rlstitch.studies.study import DatasetConfig, Findings, Study
from rlstitch.studies.tables import Row, grouped, interval_table, mean_interval

BASELINES = ("tf-idf relative", "tf-idf relative, centred")
FEWER = (*BASELINES, "relative", "relative whitened", "orthogonal", "affine")
"""What is also tried with anchors of some topics."""
METHODS = (
    *BASELINES, "absolute", "relative", "relative centred", "relative whitened", "relative product", "asif",
    *TRANSLATIONS, INVERSE,
)  # fmt: skip
MEASURES = ("recall@10", "recall@1", "mrr", "csls recall@10", "csls recall@1")
ANY, SAME, OTHER = "of any topic", "of the tests' topics", "of other topics"

Array = NDArray[np.float32]
Rows = NDArray[np.int64]


class Config(DatasetConfig):
    """Everything that decides the result.

    `train`: sentences that each encoder is trained on; `parallel`: those that anchors are chosen of; `anchors`: how
    many, and `topic_anchors` where they are of some topics; `widths` by unit of the encoder's terms; `shrinkage`: that
    of whitening.
    """

    languages: tuple[str, ...]
    train: int
    parallel: int
    anchors: int
    topic_anchors: int
    topics: int = 8
    widths: dict[str, int]
    least: int
    shrinkage: float = 0.5


@dataclass(frozen=True, eq=False)
class _Space:
    """A language: latents of the parallel and of the test sentences by its encoder, and their TF-IDF weights."""

    language: str
    seed: int
    parallel: Array
    test: Array
    weights: tuple[Any, Any]


class TextCrossLingual(Study[Config]):
    """Joins encoders of sentences of different languages."""

    quick = Config(
        dataset="made-up", languages=("a", "b", "c"), seeds=(0, 1), train=500, parallel=500, anchors=200,
        topic_anchors=120, widths={"words": 100}, least=2,
    )  # fmt: skip
    full = Config(
        dataset="multi30k", languages=("en", "de", "fr"), seeds=(0, 1, 2, 3, 4), train=8000, parallel=5000,
        anchors=2000, topic_anchors=1000, widths={"characters": 500}, least=5,
    )  # fmt: skip

    def run(self) -> Findings:
        """Train every encoder, join each language to each other, and let test sentences find their translations."""
        config = self.config
        train, test = self._load()
        cells: list[Row] = []
        for seed in config.seeds:
            order = np.random.default_rng([config.data_seed, seed]).permutation(len(train))
            pool, rest = order[: config.parallel], order[config.parallel :]
            for kind in config.widths:
                spaces = {
                    language: self._space(
                        kind, language, len(config.languages) * seed + place,  # no two encoders share a seed
                        [train.texts[language][row] for row in rest[place * config.train : (place + 1) * config.train]],
                        [train.texts[language][row] for row in pool], test.texts[language],
                    )
                    for place, language in enumerate(config.languages)
                }  # fmt: skip
                cells += self._cells(spaces, kind, seed)
                self.report(f"seed {seed}, {kind}: encoders trained, languages joined")
        table = language_table(cells)
        return Findings(cells, table, self._facts(cells, len(test)))

    def _space(
        self, kind: str, language: str, seed: int, own: Sequence[str], parallel: Sequence[str], test: Sequence[str]
    ) -> _Space:
        encoder = train_sentence_encoder(
            own, unit=kind, width=self.config.widths[kind], least=self.config.least, seed=seed
        )
        weights = encoder.weights(parallel), encoder.weights(test)
        return _Space(language, seed, encoder(parallel), encoder(test), weights)

    def _cells(self, spaces: Mapping[str, _Space], kind: str, seed: int) -> Iterator[Row]:
        """Both ways between each two languages, by every method and choice of anchors."""
        for anchors, rows, tested in self._choices(spaces[self.config.languages[0]], seed):
            methods = METHODS if anchors == ANY else FEWER
            features = {
                language: _features(space, rows, tested, methods, self.config.shrinkage)
                for language, space in spaces.items()
            }
            for x, y in permutations(spaces.values(), 2):
                where: Row = {
                    "seed": seed, "encoders": kind, "anchors": anchors, "number": len(rows), "from": x.language,
                    "to": y.language, "from seed": x.seed, "to seed": y.seed, "tests": len(tested),
                }  # fmt: skip
                for method, queries in features[x.language].items():
                    yield where | {"method": method, **search_scores(queries, features[y.language][method])}
                for method, queries in _mapped(x, y, rows, tested, methods).items():
                    yield where | {"method": method, **search_scores(queries, y.test[tested])}

    def _choices(self, space: _Space, seed: int) -> Iterator[tuple[str, Rows, Rows]]:
        """(name, rows of the parallel sentences that are anchors, rows of the test sentences that are searched for).

        Topics are clusters of the first language's sentences (k-means on unit latents). Some of them, chosen by the
        seed, give the anchors `of other topics`; test sentences of these are then left out, and so they are for the
        anchors of the tests' own topics.
        """
        from sklearn.cluster import KMeans

        config = self.config
        yield ANY, np.arange(config.anchors), np.arange(len(space.test))
        clusters = KMeans(config.topics, n_init=1, random_state=space.seed).fit(unit_norm(space.parallel))
        of_pool, of_tests = clusters.labels_, clusters.predict(unit_norm(space.test))
        order = np.random.default_rng([config.data_seed, seed, 1]).permutation(config.topics)
        sizes = np.cumsum([(of_pool == topic).sum() for topic in order])
        chosen = order[: 1 + int(np.searchsorted(sizes, config.topic_anchors))]
        other, tested = np.isin(of_pool, chosen), np.flatnonzero(~np.isin(of_tests, chosen))
        for name, rows in ((SAME, np.flatnonzero(~other)), (OTHER, np.flatnonzero(other))):
            yield name, rows[: config.topic_anchors], tested

    def _facts(self, cells: Sequence[Row], tests: int) -> list[str]:
        config = self.config
        kind = next(iter(config.widths))
        chosen = [row for row in cells if (row["anchors"], row["encoders"]) == (ANY, kind)]
        facts = []
        for measure in ("recall@10", "csls recall@10", "recall@1", "csls recall@1"):
            means: dict[str, Any] = {
                method: np.array(
                    [
                        np.mean([row[measure] for row in of_seed])
                        for of_seed in grouped(rows, itemgetter("seed")).values()
                    ]
                )
                for method, rows in grouped(chosen, itemgetter("method")).items()
            }
            best = max(means.keys() - set(BASELINES), key=lambda method: means[method].mean())
            base = max(BASELINES, key=lambda method: means[method].mean())
            gain, low, high = mean_interval((means[best] - means[base]).tolist())
            facts.append(
                f"{measure}, {kind}: best {best} {means[best].mean():.3f}, best of TF-IDF space ({base}) "
                f"{means[base].mean():.3f}, difference {gain:+.3f} ({low:+.3f} to {high:+.3f}); as they are "
                f"{means['absolute'].mean():.3f}."
            )
        return [
            f"{tests:,} test sentences ({config.dataset}), {config.anchors:,} parallel anchors; an encoder is trained "
            f"on {config.train:,} sentences of its language that are neither anchors nor translations of another's.",
            *facts,
            "low and high: 95 % interval of recall@10 (Student's t) over seeds; the two sides share neither seed nor "
            "text.",
        ]

    def _load(self) -> tuple[ParallelTexts, ParallelTexts]:
        """Sentences to train on and to test on."""
        config = self.config
        needed = config.parallel + config.train * len(config.languages)
        if config.dataset == "made-up":
            both = synthetic_captions(needed + 300, languages=config.languages, seed=config.data_seed)
            return both.subset(range(needed)), both.subset(range(needed, needed + 300))
        folder = self.data.folder("multi30k")
        train, test = (read_multi30k(folder, split, config.languages) for split in MULTI30K_FILES)
        if len(train) < needed:
            raise ArtefactError(f"{folder}: expected at least {needed:,} sentences to train on, found {len(train):,}")
        return train, test


def _features(space: _Space, anchors: Rows, tested: Rows, methods: Sequence[str], shrinkage: float) -> dict[str, Array]:
    """Method -> the test sentences as one side alone describes them: what needs no map to the other."""
    known, tests = space.parallel[anchors], space.test[tested]
    weights = space.weights[0][anchors], space.weights[1][tested]
    # A description by ASIF knows its own side of the pairs only.
    features: dict[str, Callable[[], Array]] = {
        BASELINES[0]: lambda: _cosines(weights[1], weights[0], center=False),
        BASELINES[1]: lambda: _cosines(weights[1], weights[0], center=True),
        "absolute": lambda: tests,
        **{method: partial(relate, tests, known, shrinkage) for method, relate in _RELATIVE.items()},
        "asif": lambda: couple(known, known, k=min(100, len(known))).describe_x(tests).toarray(),
    }
    return {method: describe() for method, describe in features.items() if method in methods}


def _mapped(x: _Space, y: _Space, anchors: Rows, tested: Rows, methods: Sequence[str]) -> dict[str, Array]:
    """Method -> the test sentences of x in y's space."""
    a, b, tests = x.parallel[anchors], y.parallel[anchors], x.test[tested]
    mapped: dict[str, Array] = {method: fit(method, a, b)(tests) for method in methods if method in TRANSLATIONS}
    if INVERSE in methods:
        mapped[INVERSE] = fit_inverse_projection(a, b)(tests)
    return mapped


def _cosines(samples: Any, anchors: Any, center: bool) -> Array:
    """Cosines (n, k) of sparse rows to anchors, with `center` about the anchors' mean; each row up to a factor.

    Cosines of the result do not depend on the factor. This describes a sentence in TF-IDF space itself, with no encoder
    (explicit semantic analysis across languages, Potthast et al. 2008).
    """
    products = np.asarray((samples @ anchors.T).todense())
    if not center:
        return products
    mean = np.asarray(anchors.mean(0)).ravel()
    square, along = float(mean @ mean), anchors @ mean
    lengths = np.sqrt(np.maximum(np.asarray(anchors.multiply(anchors).sum(1)).ravel() - 2 * along + square, 1e-12))
    return (products - (samples @ mean)[:, None] - along + square) / lengths


def _product(x: Array, anchors: Array, shrinkage: float) -> Array:
    """Similarities of whitened unit vectors, summed after a layer norm of each (Cannistraci 2023, 2310.01211)."""
    normalize = fit_normalization("whiten", anchors, shrinkage=shrinkage)
    blocks = project_product(
        unit_norm(normalize(x)),
        unit_norm(normalize(anchors)),
        ["cosine", lambda a, b: -torch.cdist(a, b), lambda a, b: -torch.cdist(a, b, p=1)],
    )
    return aggregate_sum(blocks)


_RELATIVE: dict[str, Callable[[Array, Array, float], Array]] = {
    "relative": lambda x, anchors, _: relative_projection(x, anchors, normalization="identity"),
    "relative centred": lambda x, anchors, _: relative_projection(x, anchors, normalization="center"),
    "relative whitened": lambda x, anchors, shrinkage: relative_projection(
        x, anchors, normalization="whiten", shrinkage=shrinkage
    ),
    "relative product": _product,
}


def search_scores(queries: Array, keys: Array) -> Row:
    """How well query i finds key i by cosine, and by cosine corrected for hubs (CSLS, 1710.04087)."""
    ranks = match_ranks(queries, keys)
    hits = csls(queries, keys, 10).indices == np.arange(len(keys))[:, None]
    scores: Row = {f"recall@{k}": float((ranks <= k).mean()) for k in (10, 1)}
    scores |= {"mrr": float((1 / ranks).mean())}
    return scores | {f"csls recall@{k}": float(hits[:, :k].any(1).mean()) for k in (10, 1)}


def language_table(cells: Sequence[Row]) -> list[Row]:
    """A line for each choice of anchors, encoder and method; the unit is a seed, over all pairs of languages."""

    def pair(row: Row) -> str:
        return "-".join(sorted((row["from"], row["to"])))

    def of_pair(name: str) -> Callable[[Row], float | None]:
        return lambda row: row[MEASURES[0]] if pair(row) == name else None

    def of_measure(name: str) -> Callable[[Row], float]:
        return lambda row: row[name]

    means: dict[str, Callable[[Row], float | None]] = {name: of_measure(name) for name in MEASURES[1:]}
    return interval_table(
        cells,
        lambda row: {
            "anchors": f"{row['number']:,} {row['anchors']}", "encoders": row["encoders"], "method": row["method"],
        },
        MEASURES[0], unit=lambda row: row["seed"], means=means | {name: of_pair(name) for name in map(pair, cells)},
    )  # fmt: skip
