"""Study `charts`: models that each saw a part of the classes become one space (Crisostomi et al. 2023, 2311.06547).

Shows: models that each learnt a part of the classes are merged into one space
Data: Fashion-MNIST; with --quick scikit-learn's digits, nothing to get
Time: quick: under 15 seconds; in full: some ten minutes, as 355 small networks are trained

Each model's images are projected on the same anchors and the projections averaged (`merge_charts`); a linear head on
that space is compared with one on a single model's space, on all of them side by side, and on that of a model that saw
everything. In the paper a sample is embedded by the models that know its class; here these methods (`known class`) are
separate from those that need no label, where every model embeds every image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlstitch.latent import Chart, fit_affine, linear_cka, merge_charts, relative_projection
from rlstitch.reporting.plots import Curves
from rlstitch.studies.study import Findings, ImagesConfig, Study
from rlstitch.studies.tables import Row, grouped, interval_table, mean_interval
from rlstitch.studies.training.networks import image_encoder
from rlstitch.studies.training.trainers import (
    Samples,
    encode,
    load_image_samples,
    nearest_class_mean,
    train_classifier,
)

KNOWN = "known class: "
"""Prefix of the methods where only models that have learnt an image's class embed it, test images too."""

JOINT_SEED = 9
"""Of the ten network seeds of a seed: the model that saw everything; the parts' models count from 0."""

Rows = NDArray[np.int64]


class Config(ImagesConfig):
    """Everything that decides the result.

    `models`: into how many the data is split, at most 9; `shared`: shares of the classes that all of them learn, each
    on its own part of the samples. `anchors` are training images of any class.
    """

    models: tuple[int, ...]
    shared: tuple[float, ...]
    arch: str = "mlp"
    epochs: int
    anchors: int


@dataclass(frozen=True, eq=False)
class _Model:
    """What one model makes of all training images, then all test images (n, d), and the classes that it learnt."""

    vectors: torch.Tensor
    classes: Rows


@dataclass(frozen=True, eq=False)
class _Judge:
    """Measures spaces of all images, training ones first; `joint` is that of the model that saw everything."""

    train: Samples
    test: Samples
    joint: torch.Tensor

    def __call__(self, features: torch.Tensor) -> Row:
        """Accuracy of a head, a ridge regression of features (n, d) on the classes, and similarity to `joint`."""
        known, unseen = features[: len(self.train)], features[len(self.train) :]
        head = fit_affine(known, torch.eye(self.train.classes)[self.train.labels])
        accuracy = float((head(unseen).argmax(1).numpy() == self.test.labels).mean())
        return {"accuracy": accuracy, "cka": linear_cka(unseen, self.joint[len(self.train) :])}


class Charts(Study[Config]):
    """Merges models that learnt parts of the classes."""

    quick = Config(
        dataset="digits", seeds=(0, 1), models=(2, 4), shared=(0.0, 1.0), train_images=900, epochs=10,
        batch_size=50, anchors=200, latent_dim=32,
    )  # fmt: skip
    full = Config(
        dataset="fashion-mnist", seeds=(0, 1, 2, 3, 4), models=(2, 3, 4, 5), shared=(0.0, 0.2, 0.5, 0.8, 1.0),
        train_images=6000, epochs=8, batch_size=128, anchors=300, latent_dim=64,
    )  # fmt: skip

    def run(self) -> Findings:
        """Train the models of every split, combine their spaces in every way, and fit and test a head on each."""
        config = self.config
        train, test = load_image_samples(config, self.data)
        cells: list[Row] = []
        for seed in config.seeds:
            rng = np.random.default_rng([config.data_seed, seed])
            anchors = rng.permutation(len(train))[: config.anchors]
            whole = self._model(np.arange(len(train)), 10 * seed + JOINT_SEED, train, test)
            judge = _Judge(train, test, whole.vectors)
            baselines = _baselines(judge, anchors)
            for number in config.models:
                for shared in config.shared:
                    parts = split_rows(train.labels, train.classes, number, shared, rng)
                    models = [self._model(rows, 10 * seed + place, train, test) for place, rows in enumerate(parts)]
                    scores = baselines | _scores(models, anchors, judge)
                    split: Row = {"models": number, "shared": shared, "seed": seed}
                    cells += [split | {"method": method} | measured for method, measured in scores.items()]
                    self.report(
                        f"seed {seed}, {number} models, {shared:.0%} of the classes shared: "
                        f"merged {scores['merged']['accuracy']:.3f}, concatenated "
                        f"{scores['concatenated']['accuracy']:.3f}"
                    )
        # Each seed has a split, anchors and networks of its own.
        table = interval_table(
            cells,
            lambda row: {"models": row["models"], "shared": f"{row['shared']:.0%}", "method": row["method"]},
            "accuracy", unit=lambda row: row["seed"], means={"cka": lambda row: row["cka"]},
        )  # fmt: skip
        return Findings(cells, table, self._facts(cells, len(test)), curves=self._curves(table))

    def _model(self, rows: Rows, seed: int, train: Samples, test: Samples) -> _Model:
        config = self.config
        model = train_classifier(
            train.subset(rows), image_encoder, config.arch, seed=seed, epochs=config.epochs,
            latent_dim=config.latent_dim, batch_size=config.batch_size, device=self.device,
        )  # fmt: skip
        vectors = [encode(model.encoder, data, device=self.device).vectors for data in (train, test)]
        return _Model(torch.cat(vectors), np.unique(train.labels[rows]))

    def _curves(self, table: Sequence[Row]) -> Curves:
        """Accuracy over the share of classes that all models learn, for the most models."""
        by = grouped([row for row in table if row["models"] == max(self.config.models)], itemgetter("method"))
        curves = {
            method: [
                (100 * shared, row["accuracy"], row["low"], row["high"])
                for shared, row in zip(self.config.shared, by[method], strict=True)
            ]
            for method in ("single", "averaged", "concatenated", "merged", f"{KNOWN}merged")
        }
        levels = {method: by[method][0]["accuracy"] for method in ("joint", "pixels")}
        return Curves(curves, "percent of the classes that all models learn", "accuracy", levels)

    def _facts(self, cells: Sequence[Row], images: int) -> list[str]:
        def differences(prefix: str) -> str:
            intervals = [(shared, *advantage(cells, shared, prefix)) for shared in self.config.shared]
            return "; ".join(
                f"{s:.0%} shared {mean:+.3f} ({low:+.3f} to {high:+.3f})" for s, mean, low, high in intervals
            )

        return [
            f"Accuracy of a linear head on {images:,} test images of {self.config.dataset}; merged less concatenated, "
            f"on average over {', '.join(map(str, self.config.models))} models: {differences('')}.",
            f"The same where only models that know an image's class embed it, which gives some of the class away: "
            f"{differences(KNOWN)}.",
            "low and high: 95 % interval (Student's t) over seeds; no two networks share one. cka: likeness to the "
            "space of the model that saw everything (joint).",
        ]


def split_rows(labels: Rows, classes: int, models: int, shared: float, rng: np.random.Generator) -> list[Rows]:
    """Split samples among models: no sample is in two parts, and each is in one.

    Args:
        labels: int64 (n,) in [0, classes).
        classes: number of classes.
        models: number of parts.
        shared: share of the classes, in [0, 1], of which each model gets its own part; each of the other classes goes
            to one model alone.
        rng: decides the rest.

    Returns:
        Sorted row numbers of each model.
    """
    common = round(shared * classes)
    parts: list[list[Rows]] = [[] for _ in range(models)]
    for place, label in enumerate(rng.permutation(classes)):
        rows = rng.permutation(np.flatnonzero(labels == label))
        if place < common:
            for part, own in zip(parts, np.array_split(rows, models), strict=True):
                part.append(own)
        else:
            parts[(place - common) % models].append(rows)
    return [np.sort(np.concatenate(part)) for part in parts]


def combine(
    vectors: Sequence[torch.Tensor], knows: Sequence[NDArray[np.bool_]], anchors: Rows
) -> dict[str, torch.Tensor]:
    """Make one space (n, d') of the models' `vectors`, each (n, d), in every way.

    Args:
        vectors: of each model.
        knows: for each model, which of the n images are of a class that it learnt; at least one model knows each.
        anchors: row numbers.
    """
    everything = [np.ones(len(vectors[0]), dtype=np.bool_)] * len(vectors)
    masks = [torch.from_numpy(known)[:, None].float() for known in knows]
    masked = [mask * latents for mask, latents in zip(masks, vectors, strict=True)]
    return {
        "averaged": torch.stack(list(vectors)).mean(0),
        "concatenated": torch.cat(list(vectors), dim=1),
        "merged": _merged(vectors, everything, anchors, "identity"),
        "merged whitened": _merged(vectors, everything, anchors, "whiten"),
        f"{KNOWN}averaged": torch.stack(masked).sum(0) / torch.stack(masks).sum(0),
        f"{KNOWN}concatenated": torch.cat(masked, dim=1),
        f"{KNOWN}merged": _merged(vectors, knows, anchors, "identity"),
        f"{KNOWN}merged whitened": _merged(vectors, knows, anchors, "whiten"),
    }


def _merged(
    vectors: Sequence[torch.Tensor], embeds: Sequence[NDArray[np.bool_]], anchors: Rows, normalization: str
) -> torch.Tensor:
    """The charts' space (n, anchors); `embeds`: for each model, the images that it embeds."""
    charts = []
    for latents, chosen in zip(vectors, embeds, strict=True):
        rows = np.flatnonzero(chosen)
        charts.append(Chart(rows.tolist(), latents[rows], latents[anchors]))
    atlas: Any = merge_charts(charts, normalization=normalization)
    ordered = torch.empty_like(atlas.vectors)
    ordered[torch.tensor(atlas.keys)] = atlas.vectors
    return ordered


def _scores(models: Sequence[_Model], anchors: Rows, judge: _Judge) -> dict[str, Row]:
    """Measure a single model's space, as a mean over models, and every combination of them."""
    labels = np.concatenate([judge.train.labels, judge.test.labels])
    vectors = [model.vectors for model in models]
    alone = {
        "single": [judge(latents) for latents in vectors],
        "single, relative": [
            judge(relative_projection(latents, latents[anchors], normalization="identity")) for latents in vectors
        ],
    }
    means = {
        method: {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        for method, rows in alone.items()
    }
    combined = combine(vectors, [np.isin(labels, model.classes) for model in models], anchors)
    return means | {method: judge(features) for method, features in combined.items()}


def _baselines(judge: _Judge, anchors: Rows) -> dict[str, Row]:
    """Measure what does not depend on the split: chance, the pixels, and the model that saw everything."""
    train, test, joint = judge.train, judge.test, judge.joint
    pixels = torch.cat([data.inputs.flatten(1) for data in (train, test)])
    by_means = nearest_class_mean(pixels[: len(train)], train.labels, pixels[len(train) :])
    return {
        "chance": {"accuracy": 1 / train.classes, "cka": None},
        "pixels, class means": {"accuracy": float((by_means == test.labels).mean()), "cka": None},
        "pixels": judge(pixels),
        "joint": judge(joint),
        "joint, relative": judge(relative_projection(joint, joint[anchors], normalization="identity")),
    }


def advantage(cells: Sequence[Row], shared: float, prefix: str = "") -> tuple[float, float, float]:
    """Merged less concatenated accuracy where so many classes are shared: mean and 95 % interval over seeds.

    The value of a seed is the mean over numbers of models; `prefix` begins the names of both methods.
    """
    scores = {(row["seed"], row["models"], row["method"]): row["accuracy"] for row in cells if row["shared"] == shared}
    merged = [row for row in cells if row["shared"] == shared and row["method"] == f"{prefix}merged"]
    return mean_interval(
        [
            float(np.mean([row["accuracy"] - scores[seed, row["models"], f"{prefix}concatenated"] for row in rows]))
            for seed, rows in grouped(merged, itemgetter("seed")).items()
        ]
    )
