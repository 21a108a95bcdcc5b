"""Study `images-reconstruction`: encoders and decoders of autoencoders that were trained apart are joined.

After Moschella et al. 2022 (2209.15430, section 5, reconstruction) and Maiorca et al. 2023 (2311.00664), with small
networks trained here. The score is the error as a ratio to that of the decoder's own pair, on test images.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from rlstitch.jobs.resources import resolve_device
from rlstitch.latent import fit
from rlstitch.modalities.autoencoders import (
    KINDS,
    decode,
    reconstruction_error,
    train_autoencoder,
    train_decoder,
)
from rlstitch.modalities.classifiers import encode, to_pixels
from rlstitch.modalities.image import LabelledImages
from rlstitch.studies.images import load_images
from rlstitch.studies.joining import (
    ALL_TRANSLATIONS,
    INVERSE,
    RELATIVE,
    TRANSLATIONS,
    Part,
    join_all,
    make_part,
    table_of,
    translators,
)
from rlstitch.studies.study import Findings, Row, StudyOptions

_SHOWN = 12
_SIDE = 56
"""Pixels of a side that small images are enlarged to."""


@dataclass(frozen=True)
class ReconstructionConfig:
    """Everything that decides the outcome."""

    dataset: str
    seeds: tuple[int, ...]
    kinds: tuple[str, ...]
    train_images: int
    epochs: int
    decoder_epochs: int
    batch_size: int
    anchors: int
    latent_dim: int
    hidden: int
    translations: tuple[str, ...] = TRANSLATIONS
    data_seed: int = 0


def resolve(options: StudyOptions) -> Row:
    """The config as JSON: small and on digits where quick, else on Fashion-MNIST."""
    seeds = tuple(range(options.seeds or (2 if options.quick else 5)))
    if options.quick:
        return asdict(ReconstructionConfig("digits", seeds, KINDS, 1200, 15, 15, 50, 200, 16, 128))
    return asdict(
        ReconstructionConfig("fashion-mnist", seeds, KINDS, 10_000, 15, 15, 128, 500, 32, 256, ALL_TRANSLATIONS)
    )


def run(config: Row, options: StudyOptions) -> Findings:
    """Train every autoencoder, join each encoder to each decoder of the next seed, and measure the error."""
    settings = ReconstructionConfig(**{name: value for name, value in config.items() if name != "study"})
    device = resolve_device(options.device)
    train, test = load_images(settings.dataset, settings.train_images, settings.data_seed, options)
    anchors = np.random.default_rng(settings.data_seed).permutation(len(train))[: settings.anchors]
    parts: list[Part] = []
    for seed in settings.seeds:
        for kind in settings.kinds:
            parts.append(_part(kind, seed, settings, train, test, anchors, device))
            own = reconstruction_error(parts[-1].head, parts[-1].test.vectors, test)
            options.on_progress(f"{kind}-s{seed} trained: squared error {own:.5f} with its own decoder")
    cells = join_all(
        parts, lambda head, features: reconstruction_error(head, features, test), settings.translations, "error"
    )
    _add_ratios(cells)
    table = table_of(cells, "ratio", within=(0.0, math.inf))
    by = {row["method"]: row for row in table}
    for row in table:
        row["error"] = float(np.mean([cell["error"] for cell in cells if cell["method"] == row["method"]]))
    best = min(translators(table), key=lambda method: by[method]["ratio"])
    relative = min(RELATIVE, key=lambda method: by[method]["ratio"])
    facts = [
        f"Squared error of a pixel on {len(test):,} test images of {settings.dataset}, as a ratio to that of the "
        f"decoder with its own encoder ({by['no-stitch']['error']:.5f}). Joined as is {by['absolute']['ratio']:.2f}, "
        f"best translation ({best}) {by[best]['ratio']:.2f}, best relative ({relative}) {by[relative]['ratio']:.2f}.",
        "low and high: 95 % interval (Student's t) over seed pairs; the two sides never share a seed.",
        f"pictures.png, row by row: originals, native, joined as is, {best}, {relative}, of the first pair.",
    ]
    return Findings(cells, table, facts, {"pictures.png": _pictures(parts, test, best, relative, settings)})


def _part(
    kind: str,
    seed: int,
    settings: ReconstructionConfig,
    train: LabelledImages,
    test: LabelledImages,
    anchors: np.ndarray[Any, np.dtype[np.int64]],
    device: str,
) -> Part:
    model = train_autoencoder(
        train, kind=kind, seed=seed, epochs=settings.epochs, latent_dim=settings.latent_dim, hidden=settings.hidden,
        batch_size=settings.batch_size, device=device,
    )  # fmt: skip
    known, unseen = (encode(model.encoder, images, name=model.name, device=device) for images in (train, test))

    def decoder(features: torch.Tensor) -> nn.Module:
        return train_decoder(
            features, train, seed=seed, epochs=settings.decoder_epochs, hidden=settings.hidden,
            batch_size=settings.batch_size, device=device,
        )  # fmt: skip

    return make_part(kind, seed, model.decoder, known, unseen, anchors.tolist(), decoder)


def _add_ratios(cells: Sequence[Row]) -> None:
    """Each cell's error by that of its decoder with its own encoder."""
    native = {(row["head"], row["head seed"]): row["error"] for row in cells if row["method"] == "no-stitch"}
    for row in cells:
        row["ratio"] = row["error"] / native[row["head"], row["head seed"]]


def _pictures(
    parts: Sequence[Part], test: LabelledImages, translation: str, relative: str, settings: ReconstructionConfig
) -> bytes:
    """A PNG of the first test images, one way of seeing them a row: encoder of the first part, decoder of the first of
    the next seed.
    """
    x, y = parts[0], parts[len(settings.kinds)]
    there: nn.Module
    if translation == INVERSE:
        from rlstitch.latent import fit_inverse_projection as fitted

        there = fitted(x.anchors.vectors, y.anchors.vectors)
    else:
        there = fit(translation, x.anchors.vectors, y.anchors.vectors)
    some = slice(0, _SHOWN)
    rows = [
        to_pixels(test.images[some]),
        decode(y.head, y.test.vectors[some]),
        decode(y.head, x.test.vectors[some]),
        decode(y.head, there(x.test.vectors[some])),
        decode(y.heads[relative], x.relative(relative)[some]),
    ]
    framed = [nn.functional.pad(images[:, 0], (1, 1, 1, 1), value=0.5) for images in rows]
    grid = torch.cat([torch.cat(list(images), dim=1) for images in framed])
    pixels = (grid.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    scale = max(2, _SIDE // test.images.shape[1])
    stream = io.BytesIO()
    Image.fromarray(pixels.repeat(scale, 0).repeat(scale, 1)).save(stream, "PNG")
    return stream.getvalue()
