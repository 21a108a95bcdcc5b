"""Study `images-classification`: encoders and heads of image classifiers that were trained apart are joined.

After Moschella et al. 2022 (2209.15430, section 5) and Maiorca et al. 2023 (2311.00664, section 4.1), with small
networks trained here, joined as `studies_joining` says.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from rlstitch.jobs.resources import resolve_device
from rlstitch.modalities.classifiers import accuracy, encode, train_classifier, train_head
from rlstitch.modalities.image import FASHION_FILES, LabelledImages, load_digits, read_fashion_mnist
from rlstitch.modalities.image_encoders import ARCHITECTURES
from rlstitch.studies.joining import (
    ALL_TRANSLATIONS,
    TRANSLATIONS,
    Part,
    accuracy_facts,
    join_all,
    make_part,
    table_of,
)
from rlstitch.studies.study import Findings, Row, StudyOptions, find_data

_WHAT = "Fashion-MNIST (four IDX files, https://github.com/zalandoresearch/fashion-mnist)"


@dataclass(frozen=True)
class ImageStudyConfig:
    """Everything that decides the outcome. `epochs`: one number a make. `anchors` are training images; relative methods
    and translations use the same ones, and heads for relative features are trained on all training images.
    """

    dataset: str
    seeds: tuple[int, ...]
    architectures: tuple[str, ...]
    train_images: int
    epochs: tuple[int, ...]
    batch_size: int
    anchors: int
    head_epochs: int
    latent_dim: int
    translations: tuple[str, ...] = TRANSLATIONS
    data_seed: int = 0


def resolve(options: StudyOptions) -> Row:
    """The config as JSON: small and on digits where quick, else on Fashion-MNIST."""
    seeds = tuple(range(options.seeds or (2 if options.quick else 5)))
    if options.quick:
        config = ImageStudyConfig("digits", seeds, ARCHITECTURES, 900, (5, 5, 5), 50, 200, 5, 32)
    else:
        config = ImageStudyConfig(
            "fashion-mnist", seeds, ARCHITECTURES, 60_000, (6, 12, 4), 128, 500, 3, 64, ALL_TRANSLATIONS
        )
    return asdict(config)


def run(config: Row, options: StudyOptions) -> Findings:
    """Train every network, join each encoder to each head of the next seed, and measure accuracy on test images."""
    settings = ImageStudyConfig(**{name: value for name, value in config.items() if name != "study"})
    device = resolve_device(options.device)
    train, test = load_images(settings.dataset, settings.train_images, settings.data_seed, options)
    anchors = np.random.default_rng(settings.data_seed).permutation(len(train))[: settings.anchors]
    parts: list[Part] = []
    for seed in settings.seeds:
        for arch in settings.architectures:
            parts.append(_part(arch, seed, settings, train, test, anchors, device))
            own = accuracy(parts[-1].head, parts[-1].test.vectors, test.labels)
            options.on_progress(f"{arch}-s{seed} trained: accuracy {own:.3f} with its own head")
    cells = join_all(parts, lambda head, features: accuracy(head, features, test.labels), settings.translations)
    table = table_of(cells)
    return Findings(cells, table, accuracy_facts(table, f"{len(test):,} test images of {settings.dataset}", cells))


def _part(
    arch: str,
    seed: int,
    settings: ImageStudyConfig,
    train: LabelledImages,
    test: LabelledImages,
    anchors: np.ndarray[Any, np.dtype[np.int64]],
    device: str,
) -> Part:
    model = train_classifier(
        train, arch=arch, seed=seed, epochs=dict(zip(settings.architectures, settings.epochs, strict=True))[arch],
        latent_dim=settings.latent_dim, batch_size=settings.batch_size, device=device,
    )  # fmt: skip
    known, unseen = (encode(model.encoder, images, name=model.name, device=device) for images in (train, test))

    def head(features: torch.Tensor) -> nn.Module:
        return train_head(
            features, train.labels, train.classes, seed=seed, epochs=settings.head_epochs,
            batch_size=settings.batch_size, device=device,
        )  # fmt: skip

    return make_part(arch, seed, model.head, known, unseen, anchors.tolist(), head)


def load_images(
    dataset: str, train_images: int, seed: int, options: StudyOptions
) -> tuple[LabelledImages, LabelledImages]:
    """Training and test images of `digits` or `fashion-mnist`; the training images are a choice by `seed`.

    Raises:
        InvalidInputError: where Fashion-MNIST is not found.
        ArtefactError: where it is damaged.
    """
    generator = np.random.default_rng(seed)
    if dataset == "digits":
        digits = load_digits()
        order = generator.permutation(len(digits))
        return digits.subset(order[:train_images]), digits.subset(order[train_images:])
    folder = find_data(options.data, "fashion-mnist", [name for pair in FASHION_FILES.values() for name in pair], _WHAT)
    train, test = (read_fashion_mnist(folder, split) for split in ("train", "test"))
    return train.subset(generator.permutation(len(train))[:train_images]), test
