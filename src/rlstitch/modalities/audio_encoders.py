"""Three small encoders of spectra (n, bands, frames) -> (n, latent_dim), and their training with a head."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.modalities.classifiers import Classifier, train_parts

KINDS = ("cnn", "gru", "mlp")


class Recurrent(nn.Module):
    """A gated recurrent unit (Cho et al. 2014, 1406.1078) along time, two frames a step; the mean of its states is read
    out.
    """

    def __init__(self, bands: int, latent_dim: int, width: int = 64) -> None:
        super().__init__()
        self.unit = nn.GRU(2 * bands, width, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * width, latent_dim)

    def forward(self, spectra: torch.Tensor) -> torch.Tensor:
        """(n, bands, frames) -> (n, latent_dim)."""
        frames = spectra.shape[2] // 2 * 2
        states, _ = self.unit(spectra[..., :frames].transpose(1, 2).reshape(len(spectra), frames // 2, -1))
        latents: torch.Tensor = self.out(states.mean(1))
        return latents


class Moved(nn.Module):
    """In training, each sound of a batch is moved in time by up to `most` frames, what leaves at one end coming back at
    the other; the same sound otherwise.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, spectra: torch.Tensor) -> torch.Tensor:
        """(n, bands, frames) -> the same shape."""
        if not self.training:
            return spectra
        by = torch.randint(-self.most, self.most + 1, (len(spectra), 1, 1), device=spectra.device)
        places = (torch.arange(spectra.shape[2], device=spectra.device) - by) % spectra.shape[2]
        return spectra.gather(2, places.expand(spectra.shape))


def audio_encoder(kind: str, shape: tuple[int, int], *, latent_dim: int = 64) -> nn.Module:
    """A new encoder for spectra of `shape` (bands, frames), with weights from torch's global generator.

    `cnn`: three 3 x 3 convolutions (16, 32, 64) with stride 2, the mean over time, a linear layer. `gru`: `Recurrent`.
    `mlp`: sounds `Moved` by up to 4 frames, every two frames averaged, hidden layers of 256 and 128 with batch
    normalisation.

    Raises:
        UnknownNameError: for another `kind`.
        InvalidInputError: for a side below 8, or a width below 1.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of audio encoder", kind, KINDS)
    if min(shape) < 8 or latent_dim < 1:
        raise InvalidInputError(
            f"shape must be at least 8 x 8 and latent_dim at least 1, found {shape} and {latent_dim}"
        )
    if kind == "gru":
        return Recurrent(shape[0], latent_dim)
    if kind == "mlp":
        return nn.Sequential(
            Moved(4), nn.AvgPool1d(2), nn.Flatten(), nn.Dropout(0.3),
            nn.Linear(shape[0] * (shape[1] // 2), 256), nn.BatchNorm1d(256), nn.ReLU(),
            nn.Linear(256, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, latent_dim),
        )  # fmt: skip
    return nn.Sequential(
        nn.Unflatten(1, (1, shape[0])),
        nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d((-(-shape[0] // 8), 2)), nn.Flatten(), nn.Linear(128 * -(-shape[0] // 8), latent_dim),
    )  # fmt: skip


def train_audio_classifier(
    spectra: torch.Tensor,
    labels: NDArray[np.int64],
    classes: int,
    *,
    kind: str,
    seed: int,
    epochs: int,
    latent_dim: int = 64,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    device: str = "cpu",
) -> Classifier:
    """Train an encoder and a head together on spectra float32 (n, bands, frames); as `train_classifier` on images.

    Raises:
        UnknownNameError: for another `kind` than `KINDS`.
        InvalidInputError: where there is not one label a sound, for no sounds, `epochs`, `batch_size` or
            `learning_rate` not above 0, or for `mlp` a last batch of a single sound.
    """
    if spectra.ndim != 3:
        raise InvalidInputError(f"spectra must be (n, bands, frames), found {tuple(spectra.shape)}")
    if kind == "mlp" and batch_size > 0 and len(spectra) % batch_size == 1 % batch_size:
        raise InvalidInputError(
            f"batch_size: mlp normalises over batches, and needs two sounds in the last one, found one of "
            f"{len(spectra)} in batches of {batch_size}"
        )
    shape = (spectra.shape[1], spectra.shape[2])

    def make() -> nn.Module:
        return audio_encoder(kind, shape, latent_dim=latent_dim)

    return train_parts(
        spectra, labels, classes, make, kind, seed=seed, epochs=epochs, latent_dim=latent_dim,
        batch_size=batch_size, learning_rate=learning_rate, device=device,
    )  # fmt: skip
