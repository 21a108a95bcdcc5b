"""Autoencoders of images, plain and variational, in two parts, and the training of each part."""

from __future__ import annotations

import torch
from torch import nn

from rlstitch.errors import InvalidInputError, require_known
from rlstitch.studies.training.optim import Network, batched, minimize, require_positive, seeded

KINDS = ("ae", "vae")


class ImageEncoder(nn.Module):
    """(n, 1, h, w) -> (n, latent_dim): one hidden layer. Only the training of a variational one uses `log_variance`."""

    def __init__(self, shape: tuple[int, int], latent_dim: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1], hidden), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(hidden, latent_dim), nn.Linear(hidden, latent_dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 1, h, w) -> (n, latent_dim)."""
        latents: torch.Tensor = self.mean(self.body(images))
        return latents


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
            loss: torch.Tensor = _squared_error(decoder(sample), batch) + beta * divergence
            return loss

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
    error: torch.Tensor = (output - images).square().flatten(1).sum(1).mean()
    return error
