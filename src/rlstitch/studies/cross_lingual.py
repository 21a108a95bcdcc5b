"""Study `text-cross-lingual`: encoders of sentences, each trained on one language alone, meet by parallel anchors.

After Moschella et al. 2022 (2209.15430, section 5), whose encoders were large, pretrained and drove classifiers: here
small ones are trained on captions, and a test sentence is to find its translation. Under each seed the training
sentences are parted: some are parallel, of which anchors are drawn, and each language's encoder is trained on others,
which are no translations of one another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import permutations
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
from rlstitch.modalities.parallel_text import MULTI30K_FILES, ParallelTexts, made_up_captions, read_multi30k
from rlstitch.modalities.sentence_encoders import SentenceEncoder, train_sentence_encoder
from rlstitch.studies.study import Findings, Row, StudyOptions, find_data, mean_interval

TRANSLATIONS = (
    "orthogonal", "scaled_orthogonal", "l_orthogonal", "linear", "ridge", "affine", "low_rank", "cca", "pls",
)  # fmt: skip
INVERSE = "inverse relative"
BASELINES = ("tf-idf relative", "tf-idf relative, centred")
FEWER = (*BASELINES, "relative", "relative whitened", "orthogonal", "affine")
"""What is tried with anchors of some topics too."""
METHODS = (
    *BASELINES, "absolute", "relative", "relative centred", "relative whitened", "relative product", "asif",
    *TRANSLATIONS, INVERSE,
)  # fmt: skip
MEASURES = ("recall@10", "recall@1", "mrr", "csls recall@10", "csls recall@1")
ANY, SAME, OTHER = "of any topic", "of the tests' topics", "of other topics"

_WHAT = "Multi30k, task 1 (gzip files of one sentence a line: https://github.com/multi30k/dataset)"

Array = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class CrossLingualConfig:
    """Everything that decides the outcome.

    `train`: sentences that each encoder is trained on; `parallel`: those that anchors may be drawn of; `anchors`: how
    many are, and `topic_anchors` where they are to be of some topics; `widths` by kind of encoder; `shrinkage`: that of
    whitening.
    """

    dataset: str
    languages: tuple[str, ...]
    seeds: tuple[int, ...]
    train: int
    parallel: int
    anchors: int
    topic_anchors: int
    topics: int
    widths: dict[str, int]
    least: int
    shrinkage: float
    data_seed: int = 0


def resolve(options: StudyOptions) -> Row:
    """The config as JSON: made-up captions where quick, else Multi30k."""
    seeds = tuple(range(options.seeds or (2 if options.quick else 5)))
    if options.quick:
        widths = {"words": 100}
        return asdict(CrossLingualConfig("made-up", ("a", "b", "c"), seeds, 500, 500, 200, 120, 8, widths, 2, 0.5))
    widths = {"characters": 500}
    return asdict(CrossLingualConfig("multi30k", ("en", "de", "fr"), seeds, 8000, 5000, 2000, 1000, 8, widths, 5, 0.5))


def run(config: Row, options: StudyOptions) -> Findings:
    """Train every encoder, join each language to each other, and let test sentences find their translations."""
    settings = CrossLingualConfig(**{name: value for name, value in config.items() if name != "study"})
    train, test = _texts(settings, options)
    cells: list[Row] = []
    for seed in settings.seeds:
        order = np.random.default_rng([settings.data_seed, seed]).permutation(len(train))
        pool, rest = order[: settings.parallel], order[settings.parallel :]
        for kind in settings.widths:
            spaces = {}
            for place, language in enumerate(settings.languages):
                own = rest[place * settings.train : (place + 1) * settings.train]
                spaces[language] = _space(kind, seed, place, settings, train, own, pool, test)
            cells += _cells(spaces, kind, seed, settings)
            options.on_progress(f"seed {seed}, {kind}: encoders trained, languages joined")
    table = table_of(cells)
    return Findings(cells, table, _facts(cells, table, settings, len(test)))


@dataclass(frozen=True, eq=False)
class _Space:
    """A language: what its encoder makes of the parallel sentences and the test sentences, and their TF-IDF weights."""

    language: str
    seed: int
    parallel: Array
    test: Array
    weights: tuple[Any, Any]


def _space(
    kind: str,
    seed: int,
    place: int,
    settings: CrossLingualConfig,
    train: ParallelTexts,
    own: Rows,
    pool: Rows,
    test: ParallelTexts,
) -> _Space:
    language = settings.languages[place]
    said = train.texts[language]
    # No two encoders share a seed.
    number = len(settings.languages) * seed + place
    encoder: SentenceEncoder = train_sentence_encoder(
        [said[row] for row in own],
        unit=kind,
        width=settings.widths[kind],
        least=settings.least,
        seed=number,
    )
    parallel, tested = [said[row] for row in pool], test.texts[language]
    weights = encoder.weights(parallel), encoder.weights(tested)
    return _Space(language, number, encoder(parallel), encoder(tested), weights)


def _cells(spaces: Mapping[str, _Space], kind: str, seed: int, settings: CrossLingualConfig) -> list[Row]:
    """Both ways between each two languages, by every method and choice of anchors."""
    cells: list[Row] = []
    for anchors, rows, tested in _choices(spaces[settings.languages[0]], seed, settings):
        methods = METHODS if anchors == ANY else FEWER
        features = {language: _features(space, rows, tested, methods, settings) for language, space in spaces.items()}
        for x, y in permutations(spaces.values(), 2):
            where: Row = {
                "seed": seed, "encoders": kind, "anchors": anchors, "number": len(rows), "from": x.language,
                "to": y.language, "from seed": x.seed, "to seed": y.seed, "tests": len(tested),
            }  # fmt: skip
            for method, queries in features[x.language].items():
                cells.append(where | {"method": method, **found(queries, features[y.language][method])})
            for method, queries in _mapped(x, y, rows, tested, methods).items():
                cells.append(where | {"method": method, **found(queries, y.test[tested])})
    return cells


def _choices(space: _Space, seed: int, settings: CrossLingualConfig) -> Iterator[tuple[str, Rows, Rows]]:
    """(name, rows of the parallel sentences that are anchors, rows of the test sentences that are asked for).

    Topics are clusters of the first language's sentences (k-means on unit latents). Some of them, drawn by the seed,
    give the anchors `of other topics`; test sentences of these are then left out, for the anchors of their own too.
    """
    from sklearn.cluster import KMeans

    everything = np.arange(len(space.test))
    yield ANY, np.arange(settings.anchors), everything
    clusters = KMeans(settings.topics, n_init=1, random_state=space.seed).fit(unit_norm(space.parallel))
    of_pool, of_tests = clusters.labels_, clusters.predict(unit_norm(space.test))
    order = np.random.default_rng([settings.data_seed, seed, 1]).permutation(settings.topics)
    sizes = np.cumsum([(of_pool == topic).sum() for topic in order])
    chosen = order[: 1 + int(np.searchsorted(sizes, settings.topic_anchors))]
    away, tested = np.isin(of_pool, chosen), np.flatnonzero(~np.isin(of_tests, chosen))
    for name, rows in ((SAME, np.flatnonzero(~away)), (OTHER, np.flatnonzero(away))):
        yield name, rows[: settings.topic_anchors], tested


def _features(
    space: _Space, anchors: Rows, tested: Rows, methods: Sequence[str], settings: CrossLingualConfig
) -> dict[str, Array]:
    """Method -> the test sentences as one side alone describes them: what needs no map to the other."""
    known, tests = space.parallel[anchors], space.test[tested]
    weights = space.weights[0][anchors], space.weights[1][tested]
    # A description of ASIF's knows its own side of the pairs only.
    ways: dict[str, Callable[[], Array]] = {
        BASELINES[0]: lambda: _cosines(weights[1], weights[0], center=False),
        BASELINES[1]: lambda: _cosines(weights[1], weights[0], center=True),
        "absolute": lambda: tests,
        **{method: partial(relate, tests, known, settings.shrinkage) for method, relate in _RELATIVE.items()},
        "asif": lambda: couple(known, known, k=min(100, len(known))).describe_x(tests).toarray(),
    }
    return {method: ways[method]() for method in ways if method in methods}


def _mapped(x: _Space, y: _Space, anchors: Rows, tested: Rows, methods: Sequence[str]) -> dict[str, Array]:
    """Method -> the test sentences of x in y's space."""
    a, b, tests = x.parallel[anchors], y.parallel[anchors], x.test[tested]
    mapped: dict[str, Array] = {method: fit(method, a, b)(tests) for method in methods if method in TRANSLATIONS}
    if INVERSE in methods:
        mapped[INVERSE] = fit_inverse_projection(a, b, pruning="spectrum", max_condition=10)(tests)
    return mapped


def _cosines(samples: Any, anchors: Any, center: bool) -> Array:
    """Cosines (n, k) of sparse rows to anchors, each row's up to a factor, which no cosine of the result sees: a
    sentence described in TF-IDF space itself, with no encoder (explicit semantic analysis across languages, Potthast
    et al. 2008); with `center` about the anchors' mean.
    """
    products = np.asarray((samples @ anchors.T).todense())
    if not center:
        return products
    mean = np.asarray(anchors.mean(0)).ravel()
    square, along = float(mean @ mean), anchors @ mean
    lengths = np.sqrt(np.maximum(np.asarray(anchors.multiply(anchors).sum(1)).ravel() - 2 * along + square, 1e-12))
    moved: Array = (products - (samples @ mean)[:, None] - along + square) / lengths
    return moved


def _product(x: Array, anchors: Array, shrinkage: float) -> Array:
    """Crescenzi et al. 2023 (2310.01211): likenesses of white unit vectors, all growing with it, layer norms summed."""
    normalize = fit_normalization("whiten", anchors, shrinkage=shrinkage)
    blocks = project_product(
        unit_norm(normalize(x)),
        unit_norm(normalize(anchors)),
        ["cosine", lambda a, b: -torch.cdist(a, b), lambda a, b: -torch.cdist(a, b, p=1)],
    )
    found: Array = aggregate_sum(blocks)
    return found


_RELATIVE: dict[str, Callable[[Array, Array, float], Array]] = {
    "relative": lambda x, anchors, _: relative_projection(x, anchors),
    "relative centred": lambda x, anchors, _: relative_projection(x, anchors, normalization="center"),
    "relative whitened": lambda x, anchors, shrinkage: relative_projection(
        x, anchors, normalization="whiten", shrinkage=shrinkage
    ),
    "relative product": _product,
}


def found(queries: Array, keys: Array) -> Row:
    """How well query i finds key i by cosine, and by cosine corrected for hubs (CSLS, 1710.04087)."""
    ranks = match_ranks(queries, keys)
    near = csls(queries, keys, 10).indices == np.arange(len(keys))[:, None]
    row: Row = {f"recall@{k}": float((ranks <= k).mean()) for k in (10, 1)}
    row |= {"mrr": float((1 / ranks).mean())}
    return row | {f"csls recall@{k}": float(near[:, :k].any(1).mean()) for k in (10, 1)}


def table_of(cells: Sequence[Row]) -> list[Row]:
    """A row for each choice of anchors, kind of encoder and method; the value that counts once is a seed's mean over
    all pairs of languages, both ways.
    """
    rows: list[Row] = []
    for kind in dict.fromkeys(map(_kind, cells)):
        chosen = [row for row in cells if _kind(row) == kind]
        means = _by_seed(chosen, MEASURES[0])
        mean, low, high = mean_interval(means, within=(0.0, 1.0))
        line: Row = dict(zip(("anchors", "encoders", "method"), kind, strict=True))
        line |= {MEASURES[0]: mean, "low": low, "high": high}
        line |= {name: float(np.mean([row[name] for row in chosen])) for name in MEASURES[1:]}
        for pair in dict.fromkeys(_pair(row) for row in chosen):
            line[pair] = float(np.mean([row[MEASURES[0]] for row in chosen if _pair(row) == pair]))
        rows.append(line | {"seeds": len(means)})
    return rows


def _kind(row: Row) -> tuple[str, str, str]:
    return f"{row['number']:,} {row['anchors']}", row["encoders"], row["method"]


def _pair(row: Row) -> str:
    return "-".join(sorted((row["from"], row["to"])))


def _by_seed(cells: Sequence[Row], measure: str) -> list[float]:
    seeds = sorted({row["seed"] for row in cells})
    return [float(np.mean([row[measure] for row in cells if row["seed"] == seed])) for seed in seeds]


def _facts(cells: Sequence[Row], table: Sequence[Row], settings: CrossLingualConfig, tests: int) -> list[str]:
    kind = next(iter(settings.widths))
    facts = []
    for measure in ("recall@10", "csls recall@10", "recall@1", "csls recall@1"):
        means = {
            method: _by_seed([row for row in cells if _is(row, ANY, kind, method)], measure)
            for method in dict.fromkeys(row["method"] for row in cells)
        }
        best = max(means.keys() - set(BASELINES), key=lambda method: np.mean(means[method]))
        base = max(BASELINES, key=lambda method: np.mean(means[method]))
        gain, low, high = mean_interval((np.array(means[best]) - means[base]).tolist())
        facts.append(
            f"{measure}, {kind}: best {best} {np.mean(means[best]):.3f}, best of TF-IDF space ({base}) "
            f"{np.mean(means[base]):.3f}, difference {gain:+.3f} ({low:+.3f} to {high:+.3f}); as they are "
            f"{np.mean(means['absolute']):.3f}."
        )
    head = (
        f"{tests:,} test sentences ({settings.dataset}), {settings.anchors:,} parallel anchors; an encoder is trained "
        f"on {settings.train:,} sentences of its language that are neither anchors nor translations of another's."
    )
    tail = (
        "low and high: 95 % interval of recall@10 (Student's t) over seeds; the two sides share neither seed nor text."
    )
    return [head, *facts, tail]


def _is(row: Row, anchors: str, kind: str, method: str) -> bool:
    return (row["anchors"], row["encoders"], row["method"]) == (anchors, kind, method)


def _texts(settings: CrossLingualConfig, options: StudyOptions) -> tuple[ParallelTexts, ParallelTexts]:
    """Sentences to train on and to test on."""
    needed = settings.parallel + settings.train * len(settings.languages)
    if settings.dataset == "made-up":
        both = made_up_captions(needed + 300, languages=settings.languages, seed=settings.data_seed)
        return both.subset(range(needed)), both.subset(range(needed, needed + 300))
    files = [name.format(language) for name in MULTI30K_FILES.values() for language in settings.languages]
    folder = find_data(options.data, "multi30k", files, _WHAT)
    train, test = (read_multi30k(folder, split, settings.languages) for split in MULTI30K_FILES)
    if len(train) < needed:
        raise ArtefactError(f"{folder}: expected at least {needed:,} sentences to train on, found {len(train):,}")
    return train, test
