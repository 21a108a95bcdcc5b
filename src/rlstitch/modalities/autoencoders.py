"""Training of autoencoders, plain and variational, that fall into an encoder and a decoder of images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.modalities.classifiers import to_pixels
from rlstitch.modalities.descent import batched, descend, seeded
from rlstitch.modalities.image import LabelledImages

KINDS = ("ae", "vae")


class ImageEncoder(nn.Module):
    """(n, 1, h, w) -> (n, latent_dim): a hidden layer between two linear ones. `spread` gives the logarithm of the
    variance, which only the training of a variational autoencoder looks at.
    """

    def __init__(self, shape: tuple[int, int], latent_dim: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1], hidden), nn.ReLU())
        self.mean, self.spread = nn.Linear(hidden, latent_dim), nn.Linear(hidden, latent_dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 1, h, w) -> (n, latent_dim)."""
        latents: torch.Tensor = self.mean(self.body(images))
        return latents


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """`decoder(encoder(images))`: the images again, (n, 1, h, w). `losses` are the mean losses of the epochs."""

    encoder: ImageEncoder
    decoder: nn.Module
    kind: str
    seed: int
    losses: tuple[float, ...]

    @property
    def name(self) -> str:
        """`<kind>-s<seed>`."""
        return f"{self.kind}-s{self.seed}"


def image_decoder(width: int, shape: tuple[int, int], *, hidden: int = 256) -> nn.Sequential:
    """A new decoder (n, width) -> (n, 1, h, w) in [0, 1]."""
    height, breadth = shape
    return nn.Sequential(
        nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, height * breadth), nn.Sigmoid(),
        nn.Unflatten(1, (1, height, breadth)),
    )  # fmt: skip


def train_autoencoder(
    data: LabelledImages,
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
) -> Autoencoder:
    """Train an encoder and a decoder together on the squared error, summed over pixels.

    `ae`: Hinton and Salakhutdinov 2006. `vae`: Kingma and Welling 2013 (1312.6114), with `beta` times the divergence
    from the standard normal distribution; its encoder's latents are the means.

    Raises:
        UnknownNameError: for another `kind` than `KINDS`.
        InvalidInputError: for no images, or `epochs`, `batch_size`, `learning_rate`, a width or `beta` not above 0.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of autoencoder", kind, KINDS)
    if min(latent_dim, hidden) < 1 or beta <= 0:
        raise InvalidInputError(f"latent_dim, hidden and beta must be above 0, found {latent_dim}, {hidden} and {beta}")
    height, width = data.images.shape[1:]
    with seeded(seed):
        encoder = ImageEncoder((height, width), latent_dim, hidden)
        decoder = image_decoder(latent_dim, (height, width), hidden=hidden)
        model = nn.ModuleList([encoder, decoder]).to(device)
        pixels = to_pixels(data.images).to(device)

        def loss_of(rows: torch.Tensor) -> torch.Tensor:
            images = pixels[rows]
            features = encoder.body(images)
            latents = encoder.mean(features)
            if kind == "ae":
                return _squared(decoder(latents), images)
            spread = encoder.spread(features)
            drawn = latents + torch.randn_like(latents) * (spread / 2).exp()
            divergence = (latents.square() + spread.exp() - 1 - spread).sum(1).mean() / 2
            loss: torch.Tensor = _squared(decoder(drawn), images) + beta * divergence
            return loss

        losses = descend(
            model, loss_of, pixels, seed=seed, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate
        )
    return Autoencoder(encoder.cpu(), decoder.cpu(), kind, seed, losses)


def train_decoder(
    features: torch.Tensor,
    data: LabelledImages,
    *,
    seed: int,
    epochs: int,
    hidden: int = 256,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    device: str = "cpu",
) -> nn.Module:
    """Train a decoder alone on features (n, d), such as relative ones, of the n images.

    Raises:
        InvalidInputError: where there is not one row an image, or as for `train_autoencoder`.
    """
    if features.ndim != 2 or len(features) != len(data):
        raise InvalidInputError(f"features must be ({len(data)}, d), one an image, found {tuple(features.shape)}")
    height, width = data.images.shape[1:]
    with seeded(seed):
        decoder = image_decoder(features.shape[1], (height, width), hidden=hidden).to(device)
    pixels, inputs = to_pixels(data.images).to(device), features.to(device)
    descend(
        decoder, lambda rows: _squared(decoder(inputs[rows]), pixels[rows]), pixels,
        seed=seed, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
    )  # fmt: skip
    return decoder.cpu()


def decode(decoder: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Images (n, 1, h, w) in [0, 1] of features (n, d)."""
    return batched(decoder, lambda rows: features[rows], len(features), 4096)


def reconstruction_error(decoder: nn.Module, features: torch.Tensor, data: LabelledImages) -> float:
    """The squared error of a pixel, 0 to 1, on average over pixels and images."""
    return float((decode(decoder, features) - to_pixels(data.images)).square().mean())


def _squared(found: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    error: torch.Tensor = (found - images).square().flatten(1).sum(1).mean()
    return error
