"""Classifiers of images, texts and sounds in two parts, an encoder and a head, and the training of each part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy

from rlstitch.errors import InvalidInputError
from rlstitch.latent import LatentSpace, nearest
from rlstitch.modalities.audio import LabelledSounds, log_mel
from rlstitch.modalities.image import LabelledImages
from rlstitch.modalities.labelled import Labelled
from rlstitch.studies.training.optim import Network, batched, minimize, seeded

NetworkFactory: TypeAlias = Callable[[str, torch.Tensor, int], nn.Module]
"""(architecture, inputs (n, ...), latent width) -> a new encoder of such inputs, by torch's global generator."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Samples(Labelled):
    """Inputs (n, ...) of a network, with labels."""

    inputs: torch.Tensor


def as_samples(data: Labelled, inputs: torch.Tensor) -> Samples:
    """Take other inputs for the items of a data set."""
    return Samples(inputs=inputs, labels=data.labels, keys=data.keys, classes=data.classes, name=data.name)


def image_samples(data: LabelledImages) -> Samples:
    """Images as inputs float32 (n, 1, h, w) in [0, 1]."""
    return as_samples(data, torch.tensor(data.images)[:, None].float() / 255)


def sound_samples(data: LabelledSounds) -> Samples:
    """Sounds as logarithmic mel spectra (n, bands, frames)."""
    return as_samples(data, log_mel(data.waves))


def classifier_head(width: int, classes: int, *, hidden: int = 128) -> nn.Sequential:
    """Make a head (n, width) -> logits (n, classes): layer norm, a hidden layer, a linear one."""
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def train_classifier(
    data: Samples,
    network: NetworkFactory,
    arch: str,
    *,
    seed: int,
    epochs: int,
    latent_dim: int = 64,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    device: str = "cpu",
) -> Network:
    """Train an encoder and a head together on the cross-entropy, as `minimize` says.

    The same seed gives the same weights on the same device with the same number of threads; torch's global generator
    is left as it was.

    Args:
        data: what is classified.
        network: makes the encoder, such as `image_encoder`.
        arch: the architecture, one that `network` knows.
        seed: of weights, batches and dropout.
        epochs: passes over the data.
        latent_dim: width of the latent space.
        batch_size: samples a step.
        learning_rate: at the start.
        device: `cpu`, `cuda`, ....

    Raises:
        UnknownNameError: for an architecture that `network` does not know.
        InvalidInputError: for no samples, `epochs`, `batch_size` or `learning_rate` not above 0, or a last batch of one
            sample where the encoder normalises over batches.
    """
    # The generator stays seeded during training, for dropout.
    with seeded(seed):
        encoder = network(arch, data.inputs, latent_dim)
        if batch_size > 0 and len(data) % batch_size == 1 % batch_size and _normalizes_over_batches(encoder):
            raise InvalidInputError(
                f"batch_size: {arch} normalises over batches, and needs two samples in the last one, found one of "
                f"{len(data)} in batches of {batch_size}"
            )
        head = classifier_head(latent_dim, data.classes)
        model = nn.Sequential(encoder, head).to(device)
        inputs, labels = data.inputs.to(device), torch.tensor(data.labels).to(device)
        minimize(
            model, lambda rows: cross_entropy(model(inputs[rows]), labels[rows]), inputs,
            seed=seed, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
        )  # fmt: skip
    return Network(encoder.cpu(), head.cpu(), f"{arch}-s{seed}")


def _normalizes_over_batches(encoder: nn.Module) -> bool:
    return any(isinstance(module, nn.BatchNorm1d) for module in encoder.modules())


def train_head(
    features: torch.Tensor,
    labels: NDArray[np.int64],
    classes: int,
    *,
    seed: int,
    epochs: int,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    device: str = "cpu",
) -> nn.Module:
    """Train a head alone on features (n, d), such as relative ones, and labels (n,); otherwise as `train_classifier`.

    Raises:
        InvalidInputError: where there is not one label a row, or as for `minimize`.
    """
    if features.ndim != 2 or labels.shape != (len(features),):
        raise InvalidInputError(
            f"features must be (n, d) and labels (n,), found {tuple(features.shape)} and {labels.shape}"
        )
    with seeded(seed):
        head = classifier_head(features.shape[1], classes).to(device)
    inputs, targets = features.to(device), torch.tensor(labels).to(device)
    minimize(
        head, lambda rows: cross_entropy(head(inputs[rows]), targets[rows]), inputs,
        seed=seed, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
    )  # fmt: skip
    return head.cpu()


def encode(encoder: nn.Module, data: Samples, *, name: str = "", device: str = "cpu") -> LatentSpace[torch.Tensor]:
    """Return the latents (n, d) of all samples, float32 on the CPU, under their keys."""
    return LatentSpace(batched(encoder, data.inputs, batch_size=1024, device=device), data.keys, name)


def accuracy(head: nn.Module, features: torch.Tensor, labels: NDArray[np.int64]) -> float:
    """Share of rows of `features` (n, d) whose largest logit is that of their label; in [0, 1]."""
    return float((batched(head, features).argmax(1).numpy() == labels).mean())


def nearest_class_mean(known: torch.Tensor, labels: NDArray[np.int64], queries: torch.Tensor) -> NDArray[np.int64]:
    """Classify by the class mean with the largest cosine, the simplest classifier with labels.

    Args:
        known: vectors (n, d) with labels.
        labels: int64 (n,); other classes than these are never returned.
        queries: vectors (m, d), which like the means are centred on the mean of `known`.

    Returns:
        Labels (m,).

    Raises:
        InvalidInputError: where there is not one label a known row, or no row at all.
    """
    if labels.shape != (len(known),) or not len(known):
        raise InvalidInputError(f"labels must be (n,), one a known row ({len(known)}), found {labels.shape}")
    center = known.mean(0)
    present = np.unique(labels)
    means = torch.stack([known[torch.from_numpy(labels == label)].mean(0) for label in present])
    predicted: NDArray[np.int64] = present[nearest(queries - center, means - center, 1).indices[:, 0].numpy()]
    return predicted


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network in two parts, as far as joining it to another needs.

    Attributes:
        head: trained together with the encoder.
        known: latents of training items.
        test: latents of test items.
        train_head: trains another head on features (n, d) of the training items.
    """

    head: nn.Module
    known: LatentSpace[torch.Tensor]
    test: LatentSpace[torch.Tensor]
    train_head: Callable[[torch.Tensor], nn.Module]


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassifierTrainer:
    """Trains a classifier by a seed, and encodes training and test samples; parameters as for `train_classifier`.

    `head_epochs` is that of heads which are trained alone.
    """

    train: Samples
    test: Samples
    network: NetworkFactory
    arch: str
    epochs: int
    head_epochs: int = 0
    latent_dim: int = 64
    batch_size: int = 64
    learning_rate: float = 1e-3
    device: str = "cpu"

    def __call__(self, seed: int) -> Trained:
        """Train with this seed."""
        model = train_classifier(
            self.train, self.network, self.arch, seed=seed, epochs=self.epochs, latent_dim=self.latent_dim,
            batch_size=self.batch_size, learning_rate=self.learning_rate, device=self.device,
        )  # fmt: skip
        known, test = (
            encode(model.encoder, data, name=model.name, device=self.device) for data in (self.train, self.test)
        )

        def head(features: torch.Tensor) -> nn.Module:
            return train_head(
                features, self.train.labels, self.train.classes, seed=seed, epochs=self.head_epochs,
                batch_size=self.batch_size, device=self.device,
            )  # fmt: skip

        return Trained(model.head, known, test, head)
