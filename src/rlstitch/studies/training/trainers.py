"""Networks in two parts, an encoder and what reads its latents, and the training of each part by Adam.

Classifiers of images, texts and sounds have a head; autoencoders of images, plain and variational, a decoder. The same
seed gives the same weights on the same device with the same number of threads; torch's global generator is left as it
was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy

from rlstitch.errors import InvalidInputError, require_known
from rlstitch.latent import LatentSpace, nearest
from rlstitch.modalities.audio import LabelledSounds, log_mel
from rlstitch.modalities.image import LabelledImages
from rlstitch.modalities.labelled import Labelled
from rlstitch.studies.data import DataLocator, load_images
from rlstitch.studies.study import ImagesConfig

NetworkFactory: TypeAlias = Callable[[str, torch.Tensor, int], nn.Module]
"""(architecture, inputs (n, ...), latent width) -> a new encoder of such inputs, by torch's global generator."""
KINDS = ("ae", "vae")


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network in two parts, an encoder and what reads its latents: a head or a decoder."""

    encoder: nn.Module
    head: nn.Module
    name: str
    """`<architecture>-s<seed>`."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators within the block, and restore them after it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def batched(module: nn.Module, inputs: torch.Tensor, *, batch_size: int = 4096, device: str = "cpu") -> torch.Tensor:
    """Apply a module to inputs (n, ...) in batches, in evaluation mode.

    Returns:
        The outputs (n, ...), on the CPU.

    Raises:
        InvalidInputError: for no inputs.
    """
    if len(inputs) == 0:
        raise InvalidInputError("there must be at least one row to compute, found none")
    module.to(device).eval()
    with torch.inference_mode():
        parts = [module(rows.to(device)).cpu() for rows in inputs.split(batch_size)]
    module.cpu()
    # A copy, as autograd refuses tensors made in inference mode.
    return torch.cat(parts).clone()


def require_positive(**values: float) -> None:
    """Raise InvalidInputError for the first value that is not above 0 and finite, with its name."""
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise InvalidInputError(f"{name} must be above 0, found {value}")


def minimize(
    model: nn.Module,
    loss_of: Callable[[torch.Tensor], torch.Tensor],
    inputs: torch.Tensor,
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
) -> None:
    """Train a model in place by Adam, with the learning rate annealed to 0 along a cosine.

    Args:
        model: to be trained; afterwards in evaluation mode.
        loss_of: mean loss of the inputs with these row numbers.
        inputs: only their number and device matter here.
        seed: of the order of batches.
        epochs: passes over the inputs.
        batch_size: rows a step.
        learning_rate: at the start.

    Raises:
        InvalidInputError: for no inputs, or `epochs`, `batch_size` or `learning_rate` not above 0.
    """
    if len(inputs) == 0:
        raise InvalidInputError("there must be at least one sample to train on, found none")
    require_positive(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * math.ceil(len(inputs) / batch_size))
    generator = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs), generator=generator).to(inputs.device).split(batch_size):
            loss = loss_of(rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()


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


def load_image_samples(config: ImagesConfig, data: DataLocator) -> tuple[Samples, Samples]:
    """Training and test images of a study; errors as for `load_images`."""
    train, test = load_images(config.dataset, config.train_images, config.data_seed, data)
    return image_samples(train), image_samples(test)


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
    return present[nearest(queries - center, means - center, 1).indices[:, 0].numpy()]


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


class ImageEncoder(nn.Module):
    """(n, 1, h, w) -> (n, latent_dim): one hidden layer. Only the training of a variational one uses `log_variance`."""

    def __init__(self, shape: tuple[int, int], latent_dim: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1], hidden), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(hidden, latent_dim), nn.Linear(hidden, latent_dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 1, h, w) -> (n, latent_dim)."""
        return self.mean(self.body(images))


def image_decoder(width: int, shape: tuple[int, int], *, hidden: int = 256) -> nn.Sequential:
    """Make a decoder (n, width) -> (n, 1, h, w) in [0, 1]."""
    return nn.Sequential(
        nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, shape[0] * shape[1]), nn.Sigmoid(),
        nn.Unflatten(1, (1, *shape)),
    )  # fmt: skip


def train_autoencoder(
    images: torch.Tensor,
    *,
    kind: str,
    seed: int,
    epochs: int,
    latent_dim: int = 32,
    hidden: int = 256,
    beta: float = 0.1,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    device: str = "cpu",
) -> Network:
    """Train an encoder and a decoder together on the squared error, summed over pixels, as `minimize` says.

    Args:
        images: float (n, 1, h, w) in [0, 1].
        kind: `ae`, Hinton and Salakhutdinov 2006; or `vae`, Kingma and Welling 2013 (1312.6114), whose encoder gives
            the means.
        seed: of weights, batches and samples of latents.
        epochs: passes over the images.
        latent_dim: width of the latent space.
        hidden: width of the hidden layers.
        beta: with `vae`, the weight of the divergence from the standard normal distribution.
        batch_size: images a step.
        learning_rate: at the start.
        device: `cpu`, `cuda`, ....

    Raises:
        UnknownNameError: for another kind.
        InvalidInputError: for no images, or `epochs`, `batch_size`, `learning_rate`, a width or `beta` not above 0.
    """
    require_known("kind of autoencoder", kind, KINDS)
    require_positive(latent_dim=latent_dim, hidden=hidden, beta=beta)
    shape = (images.shape[2], images.shape[3])
    with seeded(seed):
        encoder, decoder = ImageEncoder(shape, latent_dim, hidden), image_decoder(latent_dim, shape, hidden=hidden)
        model = nn.ModuleList([encoder, decoder]).to(device)
        pixels = images.to(device)

        def loss_of(rows: torch.Tensor) -> torch.Tensor:
            batch = pixels[rows]
            features = encoder.body(batch)
            mean = encoder.mean(features)
            if kind == "ae":
                return _squared_error(decoder(mean), batch)
            log_variance = encoder.log_variance(features)
            sample = mean + torch.randn_like(mean) * (log_variance / 2).exp()
            divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
            return _squared_error(decoder(sample), batch) + beta * divergence

        minimize(model, loss_of, pixels, seed=seed, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    return Network(encoder.cpu(), decoder.cpu(), f"{kind}-s{seed}")


def train_decoder(
    features: torch.Tensor,
    images: torch.Tensor,
    *,
    seed: int,
    epochs: int,
    hidden: int = 256,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    device: str = "cpu",
) -> nn.Module:
    """Train a decoder alone on features (n, d), such as relative ones, of n images; otherwise as `train_autoencoder`.

    Raises:
        InvalidInputError: where there is not one row an image, or as for `minimize`.
    """
    if features.ndim != 2 or len(features) != len(images):
        raise InvalidInputError(f"features must be ({len(images)}, d), one an image, found {tuple(features.shape)}")
    with seeded(seed):
        decoder = image_decoder(features.shape[1], (images.shape[2], images.shape[3]), hidden=hidden).to(device)
    pixels, inputs = images.to(device), features.to(device)
    minimize(
        decoder, lambda rows: _squared_error(decoder(inputs[rows]), pixels[rows]), pixels,
        seed=seed, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
    )  # fmt: skip
    return decoder.cpu()


def reconstruction_error(decoder: nn.Module, features: torch.Tensor, images: torch.Tensor) -> float:
    """Squared error of a pixel, 0 to 1, on average over pixels and images."""
    return float((batched(decoder, features) - images).square().mean())


def _squared_error(output: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    return (output - images).square().flatten(1).sum(1).mean()
