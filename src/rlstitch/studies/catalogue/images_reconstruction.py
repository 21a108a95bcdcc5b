"""Study `images-reconstruction`: encoders and decoders of autoencoders that were trained independently are joined.

Shows: encoders of autoencoders, plain and variational, drive decoders of one another; with images
Data: Fashion-MNIST; with --quick scikit-learn's digits, nothing to get
Time: quick: under 15 seconds; in full: some six minutes, as ten networks and thirty decoders are trained

After Moschella et al. 2022 (2209.15430, section 5, reconstruction) and Maiorca et al. 2023 (2311.00664), with small
networks trained here. The metric is the error as a ratio to that of the decoder with its own encoder, on test images.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import nn

from rlstitch.studies.joining import (
    ALL_TRANSLATIONS,
    INTERVALS,
    RELATIVE,
    JoiningConfig,
    Part,
    fit_map,
    join_all,
    joining_table,
    train_parts,
    translators,
)
from rlstitch.studies.study import Findings, ImagesConfig, Study
from rlstitch.studies.training.trainers import (
    KINDS,
    Samples,
    Trained,
    batched,
    encode,
    load_image_samples,
    reconstruction_error,
    train_autoencoder,
    train_decoder,
)

_SHOWN = 12
_SIDE = 56
"""Pixels of a side that small images are enlarged to."""


class Config(ImagesConfig, JoiningConfig):
    """Everything that decides the result. `anchors` are training images."""

    kinds: tuple[str, ...] = KINDS
    epochs: int
    decoder_epochs: int
    hidden: int


class ImagesReconstruction(Study[Config]):
    """Joins autoencoders of images."""

    quick = Config(
        dataset="digits", seeds=(0, 1), train_images=1200, epochs=15, decoder_epochs=15, batch_size=50,
        anchors=200, latent_dim=16, hidden=128,
    )  # fmt: skip
    full = Config(
        dataset="fashion-mnist", seeds=(0, 1, 2, 3, 4), train_images=10_000, epochs=15, decoder_epochs=15,
        batch_size=128, anchors=500, latent_dim=32, hidden=256, translations=ALL_TRANSLATIONS,
    )  # fmt: skip

    def run(self) -> Findings:
        """Train every autoencoder, join each encoder to each decoder of the next seed, and measure the error."""
        config = self.config
        train, test = load_image_samples(config, self.data)

        def error(decoder: nn.Module, features: torch.Tensor) -> float:
            return reconstruction_error(decoder, features, test.inputs)

        encoders = {kind: partial(self._train, kind, train, test) for kind in config.kinds}
        parts = train_parts(
            self, encoders, config.anchors,
            lambda part: f"squared error {error(part.head, part.test.vectors):.5f} with its own decoder",
        )  # fmt: skip
        cells = join_all(parts, error, config.translations, "error")
        native = {(row["head"], row["head seed"]): row["error"] for row in cells if row["method"] == "no-stitch"}
        for row in cells:
            row["ratio"] = row["error"] / native[row["head"], row["head seed"]]
        table = joining_table(cells, "ratio", within=(0.0, math.inf))
        for row in table:
            row["error"] = float(np.mean([cell["error"] for cell in cells if cell["method"] == row["method"]]))
        by = {row["method"]: row["ratio"] for row in table}
        best, relative = min(translators(table), key=by.__getitem__), min(RELATIVE, key=by.__getitem__)
        facts = [
            f"Squared error of a pixel on {len(test):,} test images of {config.dataset}, as a ratio to that of the "
            f"decoder with its own encoder ({table[0]['error']:.5f}). Joined as is {by['absolute']:.2f}, "
            f"best translation ({best}) {by[best]:.2f}, best relative ({relative}) {by[relative]:.2f}.",
            INTERVALS,
            f"pictures.png, row by row: originals, native, joined as is, {best}, {relative}, of the first pair.",
        ]
        x, y = parts[0], parts[len(config.kinds)]
        return Findings(cells, table, facts, {"pictures.png": _images(x, y, test, best, relative)})

    def _train(self, kind: str, train: Samples, test: Samples, seed: int) -> Trained:
        config = self.config
        model = train_autoencoder(
            train.inputs, kind=kind, seed=seed, epochs=config.epochs, latent_dim=config.latent_dim,
            hidden=config.hidden, batch_size=config.batch_size, device=self.device,
        )  # fmt: skip
        known, tested = (encode(model.encoder, data, name=model.name, device=self.device) for data in (train, test))

        def decoder(features: torch.Tensor) -> nn.Module:
            return train_decoder(
                features, train.inputs, seed=seed, epochs=config.decoder_epochs, hidden=config.hidden,
                batch_size=config.batch_size, device=self.device,
            )  # fmt: skip

        return Trained(model.head, known, tested, decoder)


def _images(x: Part, y: Part, test: Samples, translation: str, relative: str) -> bytes:
    """A PNG of the first test images, a row for each way that they come out of y's decoders."""
    mapped = fit_map(translation, x.anchors.vectors, y.anchors.vectors)(x.test.vectors[:_SHOWN])
    inputs: Sequence[tuple[nn.Module, torch.Tensor]] = (
        (y.head, y.test.vectors),
        (y.head, x.test.vectors),
        (y.head, mapped),
        (y.heads[relative], x.relative[relative]),
    )
    rows = [test.inputs[:_SHOWN], *(batched(decoder, features[:_SHOWN]) for decoder, features in inputs)]
    framed = [nn.functional.pad(images[:, 0], (1, 1, 1, 1), value=0.5) for images in rows]
    grid = torch.cat([torch.cat(list(images), dim=1) for images in framed])
    pixels = (grid.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    scale = max(2, _SIDE // test.inputs.shape[2])
    stream = io.BytesIO()
    Image.fromarray(pixels.repeat(scale, 0).repeat(scale, 1)).save(stream, "PNG")
    return stream.getvalue()
