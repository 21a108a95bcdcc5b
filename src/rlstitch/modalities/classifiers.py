"""Training of classifiers that fall into an encoder and a head, and what each part gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy

from rlstitch.errors import InvalidInputError
from rlstitch.latent import LatentSpace
from rlstitch.modalities.descent import batched, descend, seeded
from rlstitch.modalities.image import LabelledImages
from rlstitch.modalities.image_encoders import classifier_head, image_encoder


@dataclass(frozen=True, eq=False)
class Classifier:
    """`head(encoder(images))`: logits. `losses` are the mean training losses of the epochs."""

    encoder: nn.Module
    head: nn.Module
    arch: str
    seed: int
    losses: tuple[float, ...]

    @property
    def name(self) -> str:
        """`<arch>-s<seed>`."""
        return f"{self.arch}-s{self.seed}"


def to_pixels(images: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 (n, h, w) -> float32 (n, 1, h, w) in [0, 1]."""
    return torch.tensor(images)[:, None].float() / 255


def train_classifier(
    data: LabelledImages,
    *,
    arch: str,
    seed: int,
    epochs: int,
    latent_dim: int = 64,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    device: str = "cpu",
) -> Classifier:
    """Train an encoder and a head together: Adam on the cross-entropy, the rate falling to 0 along a cosine.

    The same seed gives the same weights on the same device with the same number of threads; torch's global generator
    is left as it was.

    Raises:
        UnknownNameError: for another `arch` than `ARCHITECTURES`.
        InvalidInputError: for no images, or `epochs`, `batch_size` or `learning_rate` not above 0.
    """
    with seeded(seed):
        encoder = image_encoder(arch, data.images.shape[1:], latent_dim=latent_dim)
        head = classifier_head(latent_dim, data.classes)
    pixels, labels = to_pixels(data.images).to(device), torch.tensor(data.labels).to(device)
    model = nn.Sequential(encoder, head).to(device)
    losses = descend(
        model, lambda rows: cross_entropy(model(pixels[rows]), labels[rows]), pixels,
        seed=seed, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
    )  # fmt: skip
    return Classifier(encoder.cpu(), head.cpu(), arch, seed, losses)


def train_parts(
    inputs: torch.Tensor,
    labels: NDArray[np.int64],
    classes: int,
    make_encoder: Callable[[], nn.Module],
    arch: str,
    *,
    seed: int,
    epochs: int,
    latent_dim: int,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    device: str = "cpu",
) -> Classifier:
    """Train an encoder of any inputs (n, ...) and a head together, as `train_classifier` does on images.

    `make_encoder` makes the encoder, `latent_dim` wide, with weights from torch's global generator; `arch` names it.

    Raises:
        InvalidInputError: where there is not one label an input, for no inputs, or `epochs`, `batch_size` or
            `learning_rate` not above 0.
    """
    if labels.shape != (len(inputs),):
        raise InvalidInputError(f"labels must be (n,), one an input ({len(inputs)}), found {labels.shape}")
    # The generator stays seeded in training, for what encoders leave out at random.
    with seeded(seed):
        encoder = make_encoder()
        head = classifier_head(latent_dim, classes)
        model = nn.Sequential(encoder, head).to(device)
        seen, targets = inputs.to(device), torch.tensor(labels).to(device)
        losses = descend(
            model, lambda rows: cross_entropy(model(seen[rows]), targets[rows]), seen,
            seed=seed, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
        )  # fmt: skip
    return Classifier(encoder.cpu(), head.cpu(), arch, seed, losses)


def encode_inputs(
    encoder: nn.Module, inputs: torch.Tensor, keys: Sequence[str], *, name: str = "", device: str = "cpu"
) -> LatentSpace[torch.Tensor]:
    """The latents (n, d) of inputs (n, ...), float32 on the CPU, under their keys."""
    return LatentSpace(batched(encoder, lambda rows: inputs[rows], len(inputs), 1024, device), tuple(keys), name)


def train_head(
    features: torch.Tensor,
    labels: NDArray[np.int64],
    classes: int,
    *,
    seed: int,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    device: str = "cpu",
) -> nn.Module:
    """Train a head alone on features (n, d), such as relative ones, and labels (n,). Seeds and errors as for
    `train_classifier`.
    """
    if features.ndim != 2 or labels.shape != (len(features),):
        raise InvalidInputError(
            f"features must be (n, d) and labels (n,), found {tuple(features.shape)} and {labels.shape}"
        )
    with seeded(seed):
        head = classifier_head(features.shape[1], classes).to(device)
    inputs, targets = features.to(device), torch.tensor(labels).to(device)
    descend(
        head, lambda rows: cross_entropy(head(inputs[rows]), targets[rows]), inputs,
        seed=seed, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
    )  # fmt: skip
    return head.cpu()


def encode(
    encoder: nn.Module, data: LabelledImages, *, name: str = "", batch_size: int = 1024, device: str = "cpu"
) -> LatentSpace[torch.Tensor]:
    """The latents (n, d) of all images, float32 on the CPU, under the keys of the images."""
    latents = batched(encoder, lambda rows: to_pixels(data.images[rows]), len(data), batch_size, device)
    return LatentSpace(latents, data.keys, name)


def accuracy(head: nn.Module, features: torch.Tensor, labels: NDArray[np.int64]) -> float:
    """The share of rows of `features` (n, d) whose largest logit is that of their label; in [0, 1]."""
    logits = batched(head, lambda rows: features[rows], len(features), 4096, "cpu")
    return float((logits.argmax(1).numpy() == labels).mean())
