"""Training of classifiers that fall into an encoder and a head, and what each part gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy

from rlstitch.errors import InvalidInputError
from rlstitch.latent import LatentSpace
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
    with _seeded(seed):
        encoder = image_encoder(arch, data.images.shape[1:], latent_dim=latent_dim)
        head = classifier_head(latent_dim, data.classes)
    pixels, labels = to_pixels(data.images).to(device), torch.tensor(data.labels).to(device)
    model = nn.Sequential(encoder, head).to(device)
    losses = _descend(
        model, pixels, labels, seed=seed, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate
    )
    return Classifier(encoder.cpu(), head.cpu(), arch, seed, losses)


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
    with _seeded(seed):
        head = classifier_head(features.shape[1], classes).to(device)
    _descend(
        head, features.to(device), torch.tensor(labels).to(device),
        seed=seed, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
    )  # fmt: skip
    return head.cpu()


def encode(
    encoder: nn.Module, data: LabelledImages, *, name: str = "", batch_size: int = 1024, device: str = "cpu"
) -> LatentSpace[torch.Tensor]:
    """The latents (n, d) of all images, float32 on the CPU, under the keys of the images."""
    latents = _batched(encoder, lambda rows: to_pixels(data.images[rows]), len(data), batch_size, device)
    return LatentSpace(latents, data.keys, name)


def accuracy(head: nn.Module, features: torch.Tensor, labels: NDArray[np.int64]) -> float:
    """The share of rows of `features` (n, d) whose largest logit is that of their label; in [0, 1]."""
    logits = _batched(head, lambda rows: features[rows], len(features), 4096, "cpu")
    return float((logits.argmax(1).numpy() == labels).mean())


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _batched(
    module: nn.Module, rows: Callable[[slice], torch.Tensor], n: int, batch_size: int, device: str
) -> torch.Tensor:
    if n == 0:
        raise InvalidInputError("there must be at least one row to compute, found none")
    module.to(device).eval()
    with torch.inference_mode():
        parts = [module(rows(slice(at, at + batch_size)).to(device)).cpu() for at in range(0, n, batch_size)]
    module.cpu()
    # A copy, as tensors of inference mode refuse what autograd does.
    return torch.cat(parts).clone()


def _descend(
    model: nn.Module,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
) -> tuple[float, ...]:
    """Train in place; the mean loss of each epoch."""
    if len(inputs) == 0:
        raise InvalidInputError("there must be at least one sample to train on, found none")
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("learning_rate", learning_rate)):
        if not (value > 0 and math.isfinite(value)):
            raise InvalidInputError(f"{name} must be above 0, found {value}")
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    steps = epochs * math.ceil(len(inputs) / batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    losses = []
    for _ in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(inputs), generator=generator).to(inputs.device).split(batch_size):
            loss = cross_entropy(model(inputs[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(rows)
        losses.append(total / len(inputs))
    model.eval()
    return tuple(losses)
