"""Joining encoders and heads that were trained independently, by every method, and the studies made of that.

The encoder of x drives the head of y. Encoders of one seed are joined to heads of the next one, so the two sides share
neither weights nor order of training, and every network is an encoder once and a head once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from operator import itemgetter
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rlstitch.latent import (
    LatentSpace,
    Translation,
    aggregate_sum,
    fit,
    fit_inverse_projection,
    fit_normalization,
    project_product,
    relative_projection,
)
from rlstitch.studies.study import DatasetConfig, Findings, Study, StudyConfig
from rlstitch.studies.tables import SHARE, Row, grouped, interval_table
from rlstitch.studies.training.trainers import Trained, accuracy

TRANSLATIONS = (
    "orthogonal", "scaled_orthogonal", "l_orthogonal", "linear", "ridge", "affine", "low_rank", "cca", "pls",
)  # fmt: skip
"""Translations with a closed form."""
ALL_TRANSLATIONS = (*TRANSLATIONS, "robust", "affine_gradient")
"""With the iterative ones, which take up to a hundred times as long."""
INVERSE = "inverse relative"
INTERVALS = "low and high: 95 % interval (Student's t) over seed pairs; the two sides never share a seed."

Relation = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Metric = Callable[[nn.Module, torch.Tensor], float]
"""(head, features of the test items) -> how well the head does on them."""


def _product(x: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Cannistraci et al. 2023 (2310.01211): several similarities, summed after a layer norm of each."""
    normalize = fit_normalization("center", anchors)
    return aggregate_sum(project_product(normalize(x), normalize(anchors), ["cosine", "euclidean", "l1", "linf"]))


RELATIVE: dict[str, Relation] = {
    "relative": partial(relative_projection, normalization="identity"),
    "relative whitened": lambda x, anchors: relative_projection(x, anchors, normalization="whiten"),
    "relative product": _product,
}
"""Method -> features (n, anchors) of x (n, d) relative to anchors (anchors, d)."""


def fit_map(method: str, x: torch.Tensor, y: torch.Tensor) -> Translation | nn.Module:
    """Fit the translation of this name, or the `INVERSE` of a relative projection, on pairs (n, d_x), (n, d_y)."""
    return fit_inverse_projection(x, y) if method == INVERSE else fit(method, x, y)


@dataclass(frozen=True, eq=False)
class Part:
    """A trained network as one side of a joining.

    Attributes:
        arch: name of the encoder.
        seed: of the training.
        head: trained together with the encoder.
        heads: relative method -> a head for its features.
        anchors: latents of the anchors; parts that are joined have the same keys.
        test: latents of the test items, the same ones for all parts.
    """

    arch: str
    seed: int
    head: nn.Module
    heads: Mapping[str, nn.Module]
    anchors: LatentSpace[torch.Tensor]
    test: LatentSpace[torch.Tensor]

    @classmethod
    def of(cls, arch: str, seed: int, trained: Trained, anchors: Sequence[int]) -> Part:
        """Train a head for each relative method; `anchors` are rows of the training items."""
        chosen = trained.known.subset(list(anchors))
        known = trained.known.vectors
        heads = {method: trained.train_head(relate(known, chosen.vectors)) for method, relate in RELATIVE.items()}
        return cls(arch, seed, trained.head, heads, chosen, trained.test)

    @cached_property
    def relative(self) -> dict[str, torch.Tensor]:
        """Relative method -> test items (n, anchors) relative to this encoder's own anchors."""
        return {method: relate(self.test.vectors, self.anchors.vectors) for method, relate in RELATIVE.items()}


def unmapped_scores(x: Part, y: Part, metric: Metric, name: str) -> dict[str, float]:
    """Score x's encoder with y's heads, as it is (under `name`) and by each relative method."""
    relative = {method: metric(y.heads[method], features) for method, features in x.relative.items()}
    return {name: metric(y.head, x.test.vectors)} | relative


def native_scores(y: Part, metric: Metric) -> dict[str, float]:
    """Score y's encoder with y's own heads: the no-stitch rows."""
    own = unmapped_scores(y, y, metric, "")
    return {f"no-stitch, {method}" if method else "no-stitch": score for method, score in own.items()}


def join(x: Part, y: Part, metric: Metric, translations: Sequence[str] = TRANSLATIONS) -> dict[str, float]:
    """Score x's encoder with y's head by each method."""
    source, target = x.anchors.pair(y.anchors)
    mapped = {
        method: metric(y.head, fit_map(method, source.vectors, target.vectors)(x.test.vectors))
        for method in (*translations, INVERSE)
    }
    return unmapped_scores(x, y, metric, "absolute") | mapped


def join_all(
    parts: Sequence[Part], metric: Metric, translations: Sequence[str] = TRANSLATIONS, name: str = "accuracy"
) -> list[Row]:
    """Measure each encoder with each head of the next seed by each method; `name` is the column of the metric."""
    following = StudyConfig(seeds=tuple(dict.fromkeys(part.seed for part in parts))).next_seed
    natives = {part: native_scores(part, metric) for part in parts}
    cells: list[Row] = []
    for x in parts:
        for y in parts:
            if y.seed == following[x.seed]:
                pair: Row = {"encoder": x.arch, "head": y.arch, "encoder seed": x.seed, "head seed": y.seed}
                scores = natives[y] | join(x, y, metric, translations)
                cells += [pair | {"method": method, name: score} for method, score in scores.items()]
    return cells


def joining_table(cells: Sequence[Row], name: str = "accuracy", within: tuple[float, float] = SHARE) -> list[Row]:
    """A line for each method: over all pairs of architectures, over pairs of the same one, and over different ones.

    The unit is a seed pair, as its cells share networks. `within`: possible values.
    """

    def table(rows: Sequence[Row]) -> list[Row]:
        return interval_table(
            rows, lambda row: {"method": row["method"]}, name, unit=lambda row: row["encoder seed"], within=within,
            counts=("seed pairs", "cells"),
        )  # fmt: skip

    lines = table(cells)
    for column, same in (("same make", True), ("other make", False)):
        means = {
            row["method"]: row[name] for row in table([row for row in cells if (row["encoder"] == row["head"]) is same])
        }
        for line in lines:
            line[column] = means.get(line["method"])
    return lines


def translators(table: Sequence[Row]) -> list[str]:
    """The methods of a table that map one space to the other."""
    return [row["method"] for row in table if row["method"] in (*ALL_TRANSLATIONS, INVERSE)]


def accuracy_fact(table: Sequence[Row], tested: str, cells: Sequence[Row]) -> str:
    """What a table says in words, with the no-stitch accuracy of each architecture. `tested`: what was classified."""
    by = {row["method"]: row["accuracy"] for row in table}
    best = max(translators(table), key=by.__getitem__)
    relative = max(RELATIVE, key=by.__getitem__)
    own = grouped([row for row in cells if row["method"] == "no-stitch"], itemgetter("head"))
    natives = ", ".join(f"{arch} {np.mean([row['accuracy'] for row in rows]):.3f}" for arch, rows in own.items())
    return (
        f"Accuracy on {tested}. No-stitch {by['no-stitch']:.3f} ({natives}), joined as is {by['absolute']:.3f}, "
        f"best translation ({best}) {by[best]:.3f} = {100 * by[best] / by['no-stitch']:.1f} % of no-stitch, "
        f"best relative ({relative}) {by[relative]:.3f} = {100 * by[relative] / by['no-stitch']:.1f} %."
    )


class JoiningConfig(DatasetConfig):
    """Config of a study that joins encoders and what reads their latents.

    Attributes:
        translations: by which they are joined.
        anchors: number of training items that are anchors.
        latent_dim: width of the latent spaces.
    """

    translations: tuple[str, ...] = TRANSLATIONS
    anchors: int
    latent_dim: int


class ClassificationConfig(JoiningConfig):
    """Config of a study that joins classifiers; `head_epochs` is that of heads which are trained alone."""

    head_epochs: int


C = TypeVar("C", bound=JoiningConfig)


@dataclass(frozen=True, eq=False)
class JoiningTask:
    """Encoders to be joined on one split of the data.

    Attributes:
        encoders: name -> what trains it by a seed. Their training items, and their test items, have equal keys.
        anchors: number of training items that are anchors.
        labels: of the test items.
        tested: what the test items are, in words.
        columns: first columns of the task's rows, such as its split.
    """

    encoders: Mapping[str, Callable[[int], Trained]]
    anchors: int
    labels: NDArray[np.int64]
    tested: str
    columns: Row = field(default_factory=dict)


def train_parts(
    study: Study[C],
    encoders: Mapping[str, Callable[[int], Trained]],
    anchors: int,
    describe: Callable[[Part], str],
    prefix: str = "",
) -> list[Part]:
    """Train each encoder by each seed; report a line each, with `prefix` and how well the part does alone."""
    parts = []
    for seed in study.config.seeds:
        for name, train in encoders.items():
            trained = train(seed)
            rows = np.random.default_rng(study.config.data_seed).permutation(len(trained.known))[:anchors]
            parts.append(Part.of(name, seed, trained, rows.tolist()))
            study.report(f"{prefix}{name}-s{seed} trained: {describe(parts[-1])}")
    return parts


class ClassificationStudy(Study[C]):
    """A study that joins encoders and heads of classifiers: its tasks are all that a subclass defines."""

    @abstractmethod
    def tasks(self) -> Iterator[JoiningTask]:
        """Load the data, and yield one task for each split."""

    def run(self) -> Findings:
        """Train every network, join each encoder to each head of the next seed, and measure accuracy."""
        cells: list[Row] = []
        table: list[Row] = []
        facts: list[str] = []
        for task in self.tasks():
            prefix = "".join(f"{value}: " for value in task.columns.values())

            def metric(head: nn.Module, features: torch.Tensor, labels: NDArray[np.int64] = task.labels) -> float:
                return accuracy(head, features, labels)

            def describe(part: Part, metric: Metric = metric) -> str:
                return f"accuracy {metric(part.head, part.test.vectors):.3f} with its own head"

            parts = train_parts(self, task.encoders, task.anchors, describe, prefix)
            measured = join_all(parts, metric, self.config.translations)
            lines = joining_table(measured)
            cells += [task.columns | row for row in measured]
            table += [task.columns | row for row in lines]
            facts.append(prefix + accuracy_fact(lines, task.tested, measured))
        return Findings(cells, table, [*facts, INTERVALS])
