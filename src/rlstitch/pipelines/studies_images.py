"""Study `images-classification`: encoders and heads of image classifiers that were trained apart are joined.

After Moschella et al. 2022 (2209.15430, section 5) and Maiorca et al. 2023 (2311.00664, section 4.1), with small
networks trained here. A seed pair (s, s + 1) joins encoders of seed s to heads of seed s + 1, so that the two sides
share neither weights nor order of training; every network is an encoder once and a head once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from rlstitch.latent import LatentSpace, fit, relative_projection
from rlstitch.modalities.classifiers import Classifier, accuracy, encode, train_classifier, train_head
from rlstitch.modalities.image import FASHION_FILES, LabelledImages, load_digits, read_fashion_mnist
from rlstitch.modalities.image_encoders import ARCHITECTURES
from rlstitch.pipelines.runs import resolve_device
from rlstitch.pipelines.studies import Findings, Row, StudyOptions, find_data, mean_interval

TRANSLATIONS = ("orthogonal", "linear", "affine", "l_orthogonal")
RELATIVE = {"relative": "identity", "relative whitened": "whiten"}
"""Method -> normalisation of the relative projection."""

_WHAT = "Fashion-MNIST (four IDX files, https://github.com/zalandoresearch/fashion-mnist)"


@dataclass(frozen=True)
class ImageStudyConfig:
    """Everything that decides the outcome. `anchors` are training images; relative methods and translations use
    the same ones, and heads for relative features are trained on all training images.
    """

    dataset: str
    seeds: tuple[int, ...]
    architectures: tuple[str, ...]
    train_images: int
    epochs: int
    batch_size: int
    anchors: int
    head_epochs: int
    latent_dim: int
    data_seed: int = 0


def resolve(options: StudyOptions) -> Row:
    """The config as JSON: small and on digits where quick, else on Fashion-MNIST."""
    seeds = tuple(range(options.seeds or (2 if options.quick else 4)))
    if options.quick:
        config = ImageStudyConfig("digits", seeds, ARCHITECTURES, 900, 5, 50, 200, 5, 32)
    else:
        config = ImageStudyConfig("fashion-mnist", seeds, ARCHITECTURES, 20_000, 5, 128, 500, 5, 64)
    return asdict(config)


def run(config: Row, options: StudyOptions) -> Findings:
    """Train every network, join each encoder to each head of the next seed, and measure accuracy on test images."""
    settings = ImageStudyConfig(**{name: value for name, value in config.items() if name != "study"})
    device = resolve_device(options.device)
    train, test = _images(settings, options)
    anchors = np.random.default_rng(settings.data_seed).permutation(len(train))[: settings.anchors]
    parts = {}
    for seed in settings.seeds:
        for arch in settings.architectures:
            part = _Part.make(arch, seed, settings, train, test, anchors, device)
            own = accuracy(part.model.head, part.test.vectors, test.labels)
            options.on_progress(f"{part.model.name} trained: accuracy {own:.3f} with its own head")
            parts[arch, seed] = part
    cells: list[Row] = []
    for place, seed in enumerate(settings.seeds):
        other = settings.seeds[(place + 1) % len(settings.seeds)]
        for arch_x in settings.architectures:
            for arch_y in settings.architectures:
                x, y = parts[arch_x, seed], parts[arch_y, other]
                where: Row = {"encoder": arch_x, "head": arch_y, "encoder seed": seed, "head seed": other}
                cells += [where | {"method": name, "accuracy": value} for name, value in _join(x, y, test).items()]
    table = _table(cells)
    return Findings(cells, table, _facts(table, len(test)))


@dataclass(frozen=True, eq=False)
class _Part:
    """A trained classifier, what its encoder makes of anchors and test images, and its heads for relative features."""

    model: Classifier
    anchors: LatentSpace[torch.Tensor]
    test: LatentSpace[torch.Tensor]
    heads: dict[str, nn.Module]

    @classmethod
    def make(
        cls,
        arch: str,
        seed: int,
        settings: ImageStudyConfig,
        train: LabelledImages,
        test: LabelledImages,
        anchors: np.ndarray[Any, np.dtype[np.int64]],
        device: str,
    ) -> _Part:
        model = train_classifier(
            train, arch=arch, seed=seed, epochs=settings.epochs, latent_dim=settings.latent_dim,
            batch_size=settings.batch_size, device=device,
        )  # fmt: skip
        seen = encode(model.encoder, train, name=model.name, device=device)
        known = seen.subset(anchors.tolist())
        heads = {
            method: train_head(
                relative_projection(seen.vectors, known.vectors, normalization=normalization),
                train.labels, train.classes, seed=seed, epochs=settings.head_epochs,
                batch_size=settings.batch_size, device=device,
            )
            for method, normalization in RELATIVE.items()
        }  # fmt: skip
        return cls(model, known, encode(model.encoder, test, name=model.name, device=device), heads)

    def relative(self, method: str) -> torch.Tensor:
        """Test images (n, anchors), relative to this encoder's own anchors."""
        projected: torch.Tensor = relative_projection(
            self.test.vectors, self.anchors.vectors, normalization=RELATIVE[method]
        )
        return projected


def _join(x: _Part, y: _Part, test: LabelledImages) -> dict[str, float]:
    """Accuracy of x's encoder with y's head by each method; no-stitch rows are y's own encoder with y's heads."""
    source, target = x.anchors.pair(y.anchors)

    def score(head: nn.Module, features: torch.Tensor) -> float:
        return accuracy(head, features, test.labels)

    results = {"no-stitch": score(y.model.head, y.test.vectors)}
    results |= {f"no-stitch, {method}": score(y.heads[method], y.relative(method)) for method in RELATIVE}
    results["absolute"] = score(y.model.head, x.test.vectors)
    results |= {method: score(y.heads[method], x.relative(method)) for method in RELATIVE}
    for method in TRANSLATIONS:
        translation = fit(method, source.vectors, target.vectors)
        results[method] = score(y.model.head, translation(x.test.vectors))
    return results


def _images(settings: ImageStudyConfig, options: StudyOptions) -> tuple[LabelledImages, LabelledImages]:
    """Training and test images; the training images are a seeded choice."""
    generator = np.random.default_rng(settings.data_seed)
    if settings.dataset == "digits":
        digits = load_digits()
        order = generator.permutation(len(digits))
        return digits.subset(order[: settings.train_images]), digits.subset(order[settings.train_images :])
    folder = find_data(options.data, "fashion-mnist", [name for pair in FASHION_FILES.values() for name in pair], _WHAT)
    train, test = (read_fashion_mnist(folder, split) for split in ("train", "test"))
    return train.subset(generator.permutation(len(train))[: settings.train_images]), test


def _table(cells: list[Row]) -> list[Row]:
    """A row for each method: over all pairs of makes, of the same make, of different makes.

    The value that counts once is the mean of a seed pair, as its cells share networks.
    """
    kinds: dict[str, Callable[[Row], bool]] = {
        "accuracy": lambda row: True,
        "same make": lambda row: row["encoder"] == row["head"],
        "other make": lambda row: row["encoder"] != row["head"],
    }
    rows: list[Row] = []
    for method in dict.fromkeys(row["method"] for row in cells):
        line: Row = {"method": method}
        for kind, belongs in kinds.items():
            chosen = [row for row in cells if row["method"] == method and belongs(row)]
            pairs = sorted({row["encoder seed"] for row in chosen})
            means = [float(np.mean([row["accuracy"] for row in chosen if row["encoder seed"] == s])) for s in pairs]
            mean, low, high = mean_interval(means, within=(0.0, 1.0))
            line |= {kind: mean}
            if kind == "accuracy":
                line |= {"low": low, "high": high, "seed pairs": len(means), "cells": len(chosen)}
        rows.append(line)
    return rows


def _facts(table: list[Row], images: int) -> list[str]:
    by = {row["method"]: row["accuracy"] for row in table}
    best = max(TRANSLATIONS, key=by.__getitem__)
    return [
        f"Accuracy on {images:,} test images. No-stitch {by['no-stitch']:.3f}, joined as is {by['absolute']:.3f}, "
        f"best translation ({best}) {by[best]:.3f}, relative {by['relative']:.3f}, relative whitened "
        f"{by['relative whitened']:.3f}.",
        "low and high: 95 % interval (Student's t) over seed pairs; the two sides never share a seed.",
    ]
