"""Study `charts`: models that each saw a part of the classes become one space (Crisostomi et al. 2023, 2311.06547).

Each model's images are projected on the same anchors and the projections averaged (`merge_charts`); a linear head on
that space is compared with one on a single model's space, on all of them side by side, and on that of a model that saw
everything. In the paper a sample is embedded by the models that know its class; that is told apart here (`known class`)
from the way that asks for no label, where every model embeds every image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlstitch.jobs.resources import resolve_device
from rlstitch.latent import Chart, fit_affine, linear_cka, merge_charts, relative_projection
from rlstitch.modalities.class_means import nearest_class_mean
from rlstitch.modalities.classifiers import encode, to_pixels, train_classifier
from rlstitch.modalities.image import LabelledImages
from rlstitch.reporting.plots import curves_plot
from rlstitch.studies.images import load_images
from rlstitch.studies.study import Findings, Row, StudyOptions, mean_interval

KNOWN = "known class: "
"""Begins the methods where only the models embed an image that have learnt its class, test images too."""

JOINT_SEED = 9
"""Of the ten network seeds of a seed: the model that saw everything; the parts' models count from 0."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class ChartsConfig:
    """Everything that decides the outcome. `models`: into how many the data is split, at most 9; `shared`: shares of
    the classes that all of them learn, each on its own part of the samples. `anchors` are training images of any class.
    """

    dataset: str
    seeds: tuple[int, ...]
    models: tuple[int, ...]
    shared: tuple[float, ...]
    arch: str
    train_images: int
    epochs: int
    batch_size: int
    anchors: int
    latent_dim: int
    data_seed: int = 0


def resolve(options: StudyOptions) -> Row:
    """The config as JSON: two splits on digits where quick, else twenty on Fashion-MNIST."""
    seeds = tuple(range(options.seeds or (2 if options.quick else 5)))
    if options.quick:
        return asdict(ChartsConfig("digits", seeds, (2, 4), (0.0, 1.0), "mlp", 900, 10, 50, 200, 32))
    shared = (0.0, 0.2, 0.5, 0.8, 1.0)
    return asdict(ChartsConfig("fashion-mnist", seeds, (2, 3, 4, 5), shared, "mlp", 6000, 8, 128, 300, 64))


def run(config: Row, options: StudyOptions) -> Findings:
    """Train the models of every split, combine their spaces in every way, and fit and test a head on each."""
    settings = ChartsConfig(**{name: value for name, value in config.items() if name != "study"})
    device = resolve_device(options.device)
    train, test = load_images(settings.dataset, settings.train_images, settings.data_seed, options)
    cells: list[Row] = []
    for seed in settings.seeds:
        rng = np.random.default_rng([settings.data_seed, seed])
        anchors = rng.permutation(len(train))[: settings.anchors]
        whole = _model(train, np.arange(len(train)), 10 * seed + JOINT_SEED, settings, train, test, device)
        baselines = _baselines(whole, anchors, train, test)
        for number in settings.models:
            for shared in settings.shared:
                parts = split_rows(train.labels, train.classes, number, shared, rng)
                models = [
                    _model(train, rows, 10 * seed + place, settings, train, test, device)
                    for place, rows in enumerate(parts)
                ]
                found = baselines | _scores(models, anchors, whole.vectors, train, test)
                where: Row = {"models": number, "shared": shared, "seed": seed}
                cells += [where | {"method": method} | measured for method, measured in found.items()]
                options.on_progress(
                    f"seed {seed}, {number} models, {shared:.0%} of the classes shared: "
                    f"merged {found['merged']['accuracy']:.3f}, concatenated {found['concatenated']['accuracy']:.3f}"
                )
    table = _table(cells)
    return Findings(cells, table, _facts(cells, settings, len(test)), {"table.png": _plot(table, settings)})


def split_rows(labels: Rows, classes: int, models: int, shared: float, rng: np.random.Generator) -> list[Rows]:
    """The samples of each model: of `shared` of the classes, a share in [0, 1], each model gets its own part, and
    each of the other classes goes to one model alone. No sample is in two parts, and each is in one.
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


@dataclass(frozen=True, eq=False)
class _Model:
    """What one model makes of all training images, then all test images (n, d), and the classes that it learnt."""

    vectors: torch.Tensor
    classes: Rows


def _model(
    data: LabelledImages,
    rows: Rows,
    seed: int,
    settings: ChartsConfig,
    train: LabelledImages,
    test: LabelledImages,
    device: str,
) -> _Model:
    own = data.subset(rows)
    model = train_classifier(
        own, arch=settings.arch, seed=seed, epochs=settings.epochs, latent_dim=settings.latent_dim,
        batch_size=settings.batch_size, device=device,
    )  # fmt: skip
    seen = [encode(model.encoder, images, device=device).vectors for images in (train, test)]
    return _Model(torch.cat(seen), np.unique(own.labels))


def combine(
    vectors: Sequence[torch.Tensor], knows: Sequence[NDArray[np.bool_]], anchors: Rows
) -> dict[str, torch.Tensor]:
    """Every way to make one space (n, d') of the models' `vectors`, each (n, d); `anchors` are rows of them.

    `knows`: for each model, which of the n images are of a class that it learnt; at least one model knows each image.
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


def _scores(
    models: Sequence[_Model], anchors: Rows, joint: torch.Tensor, train: LabelledImages, test: LabelledImages
) -> dict[str, Row]:
    """Method -> accuracy of a head on test images, and likeness to the space of the model that saw everything."""
    labels = np.concatenate([train.labels, test.labels])
    vectors = [model.vectors for model in models]
    alone = {
        "single": [_measure(latents, joint, train, test) for latents in vectors],
        "single, relative": [
            _measure(relative_projection(latents, latents[anchors]), joint, train, test) for latents in vectors
        ],
    }
    means = {
        method: {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        for method, rows in alone.items()
    }
    joined = combine(vectors, [np.isin(labels, model.classes) for model in models], anchors)
    return means | {method: _measure(features, joint, train, test) for method, features in joined.items()}


def _baselines(whole: _Model, anchors: Rows, train: LabelledImages, test: LabelledImages) -> dict[str, Row]:
    """What does not depend on the split: chance, the pixels themselves, and the model that saw everything."""
    joint = whole.vectors
    pixels = torch.cat([to_pixels(images.images).flatten(1) for images in (train, test)])
    by_means = nearest_class_mean(pixels[: len(train)], train.labels, pixels[len(train) :])
    return {
        "chance": {"accuracy": 1 / train.classes, "cka": None},
        "pixels, class means": {"accuracy": float((by_means == test.labels).mean()), "cka": None},
        "pixels": _measure(pixels, joint, train, test),
        "joint": _measure(joint, joint, train, test),
        "joint, relative": _measure(relative_projection(joint, joint[anchors]), joint, train, test),
    }


def _measure(features: torch.Tensor, joint: torch.Tensor, train: LabelledImages, test: LabelledImages) -> Row:
    """A ridge regression of features (n, d) on to the classes, fitted on the training images, as head."""
    known, unseen = features[: len(train)], features[len(train) :]
    head = fit_affine(known, torch.eye(train.classes)[train.labels])
    found = head(unseen).argmax(1).numpy()
    return {"accuracy": float((found == test.labels).mean()), "cka": linear_cka(unseen, joint[len(train) :])}


def _table(cells: Sequence[Row]) -> list[Row]:
    """A row for each split and method; an interval over seeds, each with a split, anchors and networks of its own."""
    rows: list[Row] = []
    for kind in dict.fromkeys(map(_kind, cells)):
        chosen = [row for row in cells if _kind(row) == kind]
        mean, low, high = mean_interval([row["accuracy"] for row in chosen], within=(0.0, 1.0))
        likeness = None if chosen[0]["cka"] is None else float(np.mean([row["cka"] for row in chosen]))
        models, shared, method = kind
        line: Row = {
            "models": models,
            "shared": f"{shared:.0%}",
            "method": method,
            "accuracy": mean,
            "low": low,
            "high": high,
        }
        rows.append(line | {"cka": likeness, "seeds": len(chosen)})
    return rows


def _kind(row: Row) -> tuple[int, float, str]:
    return row["models"], row["shared"], row["method"]


def _plot(table: Sequence[Row], settings: ChartsConfig) -> bytes:
    """Accuracy over the share of classes that all models learn, for the most models."""
    by: dict[str, list[Row]] = {}
    for row in table:
        if row["models"] == max(settings.models):
            by.setdefault(row["method"], []).append(row)
    shown = ("single", "averaged", "concatenated", "merged", f"{KNOWN}merged")
    curves = {
        method: [
            (shared, row["accuracy"], row["low"], row["high"])
            for shared, row in zip(settings.shared, by[method], strict=True)
        ]
        for method in shown
    }
    levels = {method: by[method][0]["accuracy"] for method in ("joint", "pixels")}
    return curves_plot(curves, "share of the classes that all models learn", "accuracy", levels=levels).png()


def advantage(cells: Sequence[Row], shared: float, before: str = "") -> tuple[float, float, float]:
    """Merged less concatenated accuracy where so many classes are shared: mean and 95 % interval over seeds, each the
    mean over numbers of models. `before` begins the two methods' names.
    """
    by_seed: dict[int, list[float]] = {}
    found: Mapping[tuple[int, int, str], float] = {
        (row["seed"], row["models"], row["method"]): row["accuracy"] for row in cells if row["shared"] == shared
    }
    for (seed, models, method), value in found.items():
        if method == f"{before}merged":
            by_seed.setdefault(seed, []).append(value - found[seed, models, f"{before}concatenated"])
    return mean_interval([float(np.mean(values)) for values in by_seed.values()])


def _facts(cells: Sequence[Row], settings: ChartsConfig, images: int) -> list[str]:
    def differences(before: str) -> str:
        found = [(shared, *advantage(cells, shared, before)) for shared in settings.shared]
        return "; ".join(f"{s:.0%} shared {mean:+.3f} ({low:+.3f} to {high:+.3f})" for s, mean, low, high in found)

    return [
        f"Accuracy of a linear head on {images:,} test images of {settings.dataset}; merged less concatenated, on "
        f"average over {', '.join(map(str, settings.models))} models: {differences('')}.",
        f"The same where only models that know an image's class embed it, which gives some of the class away: "
        f"{differences(KNOWN)}.",
        "low and high: 95 % interval (Student's t) over seeds; no two networks share one. cka: likeness to the space "
        "of the model that saw everything (joint).",
    ]
