"""Study `few-pairs`: how many pairs does it take to join an encoder to another's head, and what can replace them?

Shows: what can replace pairs of images: fewer of them, labels alone, pairs grown from 15, or none
Data: Fashion-MNIST; with --quick scikit-learn's digits, nothing to get; needs the extra ot
Time: quick: under 15 seconds; in full: some six minutes, as ten networks are trained and 1,000 images matched

Pairs are images seen by both encoders (supervised, 2209.15430 and 2311.00664), two images of one class (labels only),
pairs grown from 15 seeds (Cannistraci et al. 2023, 2303.00721) or matched without any (Gromov-Wasserstein, 2311.13547).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import MissingExtraError
from rlstitch.latent import bootstrap_anchors, fit, match_gromov_wasserstein
from rlstitch.reporting.plots import Curves
from rlstitch.studies.joining import ALL_TRANSLATIONS, INTERVALS
from rlstitch.studies.study import Findings, ImagesConfig, Study
from rlstitch.studies.tables import Row, interval_table
from rlstitch.studies.training.networks import image_encoder
from rlstitch.studies.training.trainers import ClassifierTrainer, Trained, accuracy, load_image_samples

METHODS = ("orthogonal", "affine")
"""With --quick, and in the plot."""
SEED_PAIRS = 15
"""Pairs that others are grown from."""

Rows = NDArray[np.int64]
Pairing = tuple[str, int, Rows, Rows]
"""(kind, number of pairs given, rows of x, rows of y)."""


class Config(ImagesConfig):
    """Everything that decides the result.

    `budgets`: numbers of pairs; `pool`: images that pairs are taken of, and that are matched without pairs;
    `unsupervised`: whether the latter is tried, as it takes longest.
    """

    architectures: tuple[str, ...] = ("cnn", "mlp")
    epochs: int
    budgets: tuple[int, ...]
    pool: int
    unsupervised: bool
    methods: tuple[str, ...] = METHODS


class FewPairs(Study[Config]):
    """Joins classifiers of images by every kind and number of pairs."""

    quick = Config(
        dataset="digits", seeds=(0, 1), train_images=900, epochs=5, batch_size=50, latent_dim=32,
        budgets=(5, 15, 50, 200), pool=250, unsupervised=False,
    )  # fmt: skip
    full = Config(
        dataset="fashion-mnist", seeds=(0, 1, 2, 3, 4), train_images=10_000, epochs=5, batch_size=128,
        latent_dim=64, budgets=(5, 10, 15, 30, 100, 300, 1000), pool=1000, unsupervised=True,
        methods=ALL_TRANSLATIONS,
    )  # fmt: skip

    def run(self) -> Findings:
        """Train every network, join each encoder to each head of the next seed by all pairs, and measure accuracy."""
        config = self.config
        train, test = load_image_samples(config, self.data)
        if importlib.util.find_spec("ot") is None:
            raise MissingExtraError("Growing and matching of pairs", "ot")
        sides: dict[tuple[str, int], Trained] = {}
        for seed in config.seeds:
            for arch in config.architectures:
                trainer = ClassifierTrainer(
                    train=train, test=test, network=image_encoder, arch=arch, epochs=config.epochs,
                    latent_dim=config.latent_dim, batch_size=config.batch_size, device=self.device,
                )  # fmt: skip
                side = sides[arch, seed] = trainer(seed)
                own = accuracy(side.head, side.test.vectors, test.labels)
                self.report(f"{arch}-s{seed} trained: accuracy {own:.3f} with its own head")
        cells: list[Row] = []
        for (encoder, x_seed), x in sides.items():
            for (head, y_seed), y in sides.items():
                if y_seed == config.next_seed[x_seed]:
                    pair: Row = {"encoder": encoder, "head": head, "encoder seed": x_seed, "head seed": y_seed}
                    rng = np.random.default_rng([config.data_seed, x_seed, y_seed])
                    cells += [pair | row for row in self._join(x, y, train.labels, test.labels, rng)]
                    self.report(f"{encoder}-s{x_seed} joined to {head}-s{y_seed}")
        table = interval_table(
            cells, lambda row: {name: row[name] for name in ("pairs", "number", "method")}, "accuracy",
            unit=lambda row: row["encoder seed"], means={"right pairs": lambda row: row["right"]},
            counts=("seed pairs", "cells"),
        )  # fmt: skip
        return Findings(cells, table, self._facts(table, len(test)), curves=_curves(table))

    def _join(self, x: Trained, y: Trained, labels: Rows, test_labels: Rows, rng: np.random.Generator) -> Iterator[Row]:
        """Every kind and number of pairs for one encoder and one head. `right`: the share of pairs of one image."""
        pool = rng.permutation(len(labels))[: self.config.pool]
        for name, encoder in (("no-stitch", y), ("absolute", x)):
            score = accuracy(y.head, encoder.test.vectors, test_labels)
            yield {"pairs": name, "number": 0, "method": "–", "accuracy": score, "right": None}
        for kind, number, first, second in self._pairings(x, y, pool, labels, rng):
            right = float((first == second).mean())
            for method in self.config.methods:
                translation = fit(method, x.known.vectors[first], y.known.vectors[second])
                score = accuracy(y.head, translation(x.test.vectors), test_labels)
                yield {"pairs": kind, "number": number, "method": method, "accuracy": score, "right": right}

    def _pairings(
        self, x: Trained, y: Trained, pool: Rows, labels: Rows, rng: np.random.Generator
    ) -> Iterator[Pairing]:
        """Every kind and number of pairs. Matching without pairs sees y's images in a random order of their own."""
        budgets = self.config.budgets
        for number in budgets:
            first = pool[:number]
            yield "supervised", number, first, first
            yield "labels only", number, first, _of_same_class(first, pool, labels, rng)
        order = rng.permutation(len(pool))
        shuffled = pool[order]
        a, b = x.known.vectors[pool].numpy(), y.known.vectors[shuffled].numpy()
        given = np.arange(SEED_PAIRS)
        seeds = np.stack([given, np.argsort(order)[given]], axis=1)
        grown = bootstrap_anchors(a, b, seeds, max(number for number in budgets if number <= len(pool)))
        yield "grown", SEED_PAIRS, pool[grown.x_indices], shuffled[grown.y_indices]
        if self.config.unsupervised:
            few = np.arange(min(300, len(pool)))
            inside = np.flatnonzero(np.isin(order, few))
            matched = match_gromov_wasserstein(a[few], b[inside], surrogates=0).mutual
            yield "none", 0, pool[matched[:, 0]], shuffled[inside][matched[:, 1]]

    def _facts(self, table: Sequence[Row], images: int) -> list[str]:
        def best(pairs: str, number: int) -> float:
            return max(float(row["accuracy"]) for row in table if (row["pairs"], row["number"]) == (pairs, number))

        most = max(self.config.budgets)
        return [
            f"Accuracy on {images:,} test images of {self.config.dataset}, the best of "
            f"{', '.join(self.config.methods)}: no-stitch {best('no-stitch', 0):.3f}, absolute "
            f"{best('absolute', 0):.3f}; {SEED_PAIRS} pairs {best('supervised', SEED_PAIRS):.3f}, grown from them "
            f"{best('grown', SEED_PAIRS):.3f}; {most} pairs {best('supervised', most):.3f}, {most} of labels only "
            f"{best('labels only', most):.3f}.",
            INTERVALS,
        ]


def _of_same_class(first: Rows, pool: Rows, labels: Rows, rng: np.random.Generator) -> Rows:
    """For each image of `first` another of `pool` with its label; itself where there is no other."""
    chosen = []
    for row in first:
        others = pool[(labels[pool] == labels[row]) & (pool != row)]
        chosen.append(int(rng.choice(others)) if len(others) else int(row))
    return np.array(chosen, dtype=np.int64)


def _curves(table: Sequence[Row]) -> Curves:
    """Accuracy over the number of pairs given, with no-stitch, absolute and matching without pairs as lines."""
    curves = {
        f"{pairs}, {method}": [
            (row["number"], row["accuracy"], row["low"], row["high"])
            for row in table
            if (row["pairs"], row["method"]) == (pairs, method) and row["number"]
        ]
        for pairs in ("supervised", "labels only", "grown")
        for method in METHODS
    }
    levels: dict[str, float] = {}
    for row in table:
        if not row["number"]:
            levels[row["pairs"]] = max(row["accuracy"], levels.get(row["pairs"], 0.0))
    return Curves(curves, "pairs", "accuracy", levels, log=True)
