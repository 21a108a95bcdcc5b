"""Study `few-pairs`: how many pairs does it take to join an encoder to another's head, and what stands in for them?

Pairs are images seen by both encoders (supervised, 2209.15430 and 2311.00664), two images of one class (labels only),
pairs grown from 15 seeds (Cannistraci et al. 2023, 2303.00721) or matched without any (Gromov-Wasserstein, 2311.13547).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rlstitch.errors import MissingExtraError
from rlstitch.jobs.resources import resolve_device
from rlstitch.latent import LatentSpace, bootstrap_anchors, fit, match_gromov_wasserstein
from rlstitch.modalities.classifiers import Classifier, accuracy, encode, train_classifier
from rlstitch.modalities.image import LabelledImages
from rlstitch.reporting.plots import curves_plot
from rlstitch.studies.images import load_images
from rlstitch.studies.joining import ALL_TRANSLATIONS
from rlstitch.studies.study import Findings, Row, StudyOptions, mean_interval

METHODS = ("orthogonal", "affine")
"""With --quick, and in the picture."""
SEEDS_OF_PAIRS = 15

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class FewPairsConfig:
    """Everything that decides the outcome. `budgets`: numbers of pairs; `pool`: images that pairs are taken of, and
    that are matched without pairs; `unsupervised`: whether that is tried, as it takes longest.
    """

    dataset: str
    seeds: tuple[int, ...]
    architectures: tuple[str, ...]
    train_images: int
    epochs: int
    batch_size: int
    latent_dim: int
    budgets: tuple[int, ...]
    pool: int
    unsupervised: bool
    methods: tuple[str, ...] = METHODS
    data_seed: int = 0


def resolve(options: StudyOptions) -> Row:
    """The config as JSON: small, on digits and without matching that has no pairs where quick, else Fashion-MNIST."""
    seeds = tuple(range(options.seeds or (2 if options.quick else 5)))
    makes = ("cnn", "mlp")
    if options.quick:
        return asdict(FewPairsConfig("digits", seeds, makes, 900, 5, 50, 32, (5, 15, 50, 200), 250, False))
    budgets = (5, 10, 15, 30, 100, 300, 1000)
    return asdict(
        FewPairsConfig("fashion-mnist", seeds, makes, 10_000, 5, 128, 64, budgets, 1000, True, ALL_TRANSLATIONS)
    )


def run(config: Row, options: StudyOptions) -> Findings:
    """Train every network, join each encoder to each head of the next seed by every kind and number of pairs."""
    settings = FewPairsConfig(**{name: value for name, value in config.items() if name != "study"})
    device = resolve_device(options.device)
    train, test = load_images(settings.dataset, settings.train_images, settings.data_seed, options)
    if importlib.util.find_spec("ot") is None:
        raise MissingExtraError("Growing and matching of pairs", "ot")
    sides = []
    for seed in settings.seeds:
        for arch in settings.architectures:
            model = train_classifier(
                train, arch=arch, seed=seed, epochs=settings.epochs, latent_dim=settings.latent_dim,
                batch_size=settings.batch_size, device=device,
            )  # fmt: skip
            sides.append(_Side.of(model, train, test, device))
            options.on_progress(f"{model.name} trained: accuracy {sides[-1].own(test):.3f} with its own head")
    following = dict(zip(settings.seeds, settings.seeds[1:] + settings.seeds[:1], strict=True))
    cells: list[Row] = []
    for x in sides:
        for y in sides:
            if y.model.seed == following[x.model.seed]:
                cells += _cells(x, y, settings, train, test)
                options.on_progress(f"{x.model.name} joined to {y.model.name}")
    table = _table(cells)
    return Findings(cells, table, _facts(table, settings, len(test)), {"table.png": _plot(table)})


@dataclass(frozen=True, eq=False)
class _Side:
    """A trained classifier, and what its encoder makes of training and test images."""

    model: Classifier
    train: LatentSpace[torch.Tensor]
    test: LatentSpace[torch.Tensor]

    @classmethod
    def of(cls, model: Classifier, train: LabelledImages, test: LabelledImages, device: str) -> _Side:
        seen, unseen = (encode(model.encoder, images, name=model.name, device=device) for images in (train, test))
        return cls(model, seen, unseen)

    def own(self, test: LabelledImages) -> float:
        return accuracy(self.model.head, self.test.vectors, test.labels)


def _cells(x: _Side, y: _Side, settings: FewPairsConfig, train: LabelledImages, test: LabelledImages) -> list[Row]:
    """Every kind and number of pairs for one encoder and one head. `right`: the share of pairs that show one image."""
    head = y.model.head
    where: Row = {
        "encoder": x.model.arch, "head": y.model.arch, "encoder seed": x.model.seed, "head seed": y.model.seed,
    }  # fmt: skip
    rng = np.random.default_rng([settings.data_seed, x.model.seed, y.model.seed])
    pool = rng.permutation(len(train))[: settings.pool]
    absolute = accuracy(head, x.test.vectors, test.labels)
    cells = [
        where | {"pairs": name, "number": 0, "method": "–", "accuracy": value, "right": None}
        for name, value in (("no-stitch", y.own(test)), ("absolute", absolute))
    ]
    for kind, number, first, second in _pairings(x, y, pool, train.labels, settings, rng):
        right = float((first == second).mean())
        for method in settings.methods:
            there = fit(method, x.train.vectors[first], y.train.vectors[second])
            found = accuracy(head, there(x.test.vectors), test.labels)
            row = {"pairs": kind, "number": number, "method": method, "accuracy": found, "right": right}
            cells.append(where | row)
    return cells


def _pairings(
    x: _Side, y: _Side, pool: Rows, labels: Rows, settings: FewPairsConfig, rng: np.random.Generator
) -> list[tuple[str, int, Rows, Rows]]:
    """(kind, number given, rows of x, rows of y). What matches without pairs sees y's images in an order of its own."""
    found: list[tuple[str, int, Rows, Rows]] = []
    for number in settings.budgets:
        first = pool[:number]
        found.append(("supervised", number, first, first))
        found.append(("labels only", number, first, _of_one_class(first, pool, labels, rng)))
    order = rng.permutation(len(pool))
    shuffled = pool[order]
    a, b = x.train.vectors[pool].numpy(), y.train.vectors[shuffled].numpy()
    given = np.arange(SEEDS_OF_PAIRS)
    seeds = np.stack([given, np.argsort(order)[given]], axis=1)
    grown = bootstrap_anchors(a, b, seeds, max(number for number in settings.budgets if number <= len(pool)))
    found.append(("grown", SEEDS_OF_PAIRS, pool[grown.x_indices], shuffled[grown.y_indices]))
    if settings.unsupervised:
        few = np.arange(min(300, len(pool)))
        inside = np.flatnonzero(np.isin(order, few))
        matched = match_gromov_wasserstein(a[few], b[inside], surrogates=0).mutual
        found.append(("none", 0, pool[matched[:, 0]], shuffled[inside][matched[:, 1]]))
    return found


def _of_one_class(first: Rows, pool: Rows, labels: Rows, rng: np.random.Generator) -> Rows:
    """For each image of `first` another of `pool` with its label; itself where there is no other."""
    chosen = []
    for row in first:
        others = pool[(labels[pool] == labels[row]) & (pool != row)]
        chosen.append(int(rng.choice(others)) if len(others) else int(row))
    return np.array(chosen, dtype=np.int64)


def _table(cells: Sequence[Row]) -> list[Row]:
    """A row for each kind, number and method; an interval over means of seed pairs."""
    rows: list[Row] = []
    for pairs, number, method in dict.fromkeys(map(_kind, cells)):
        chosen = [row for row in cells if _kind(row) == (pairs, number, method)]
        seeds = sorted({row["encoder seed"] for row in chosen})
        means = [float(np.mean([row["accuracy"] for row in chosen if row["encoder seed"] == seed])) for seed in seeds]
        mean, low, high = mean_interval(means, within=(0.0, 1.0))
        right = None if chosen[0]["right"] is None else float(np.mean([row["right"] for row in chosen]))
        rows.append(
            {"pairs": pairs, "number": number, "method": method, "accuracy": mean, "low": low, "high": high}
            | {"right pairs": right, "seed pairs": len(means), "cells": len(chosen)}
        )
    return rows


def _kind(row: Row) -> tuple[str, int, str]:
    return row["pairs"], row["number"], row["method"]


def _plot(table: Sequence[Row]) -> bytes:
    """Accuracy over the number of pairs given, with no-stitch, absolute and what has no pairs as lines."""
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
    return curves_plot(curves, "pairs", "accuracy", levels=levels, log=True).png()


def _facts(table: Sequence[Row], settings: FewPairsConfig, images: int) -> list[str]:
    def best(pairs: str, number: int) -> float:
        return max(float(row["accuracy"]) for row in table if (row["pairs"], row["number"]) == (pairs, number))

    most = max(settings.budgets)
    return [
        f"Accuracy on {images:,} test images of {settings.dataset}, the best of {', '.join(settings.methods)}: "
        f"no-stitch {best('no-stitch', 0):.3f}, absolute {best('absolute', 0):.3f}; {SEEDS_OF_PAIRS} pairs "
        f"{best('supervised', SEEDS_OF_PAIRS):.3f}, grown from them {best('grown', SEEDS_OF_PAIRS):.3f}; {most} pairs "
        f"{best('supervised', most):.3f}, {most} of labels only {best('labels only', most):.3f}.",
        "low and high: 95 % interval (Student's t) over seed pairs; the two sides never share a seed.",
    ]
