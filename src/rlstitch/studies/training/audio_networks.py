"""Three encoder architectures for spectra of sounds."""

from __future__ import annotations

import torch
from torch import nn

from rlstitch.errors import InvalidInputError, require_known

ARCHITECTURES = ("cnn", "gru", "mlp")


class Recurrent(nn.Module):
    """A bidirectional gated recurrent unit (Cho et al. 2014, 1406.1078), two frames a step, and the mean of states."""

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


class RandomShift(nn.Module):
    """In training, shifts each sound in time by up to `most` frames, cyclically; otherwise the identity."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, spectra: torch.Tensor) -> torch.Tensor:
        """(n, bands, frames) -> the same shape."""
        if not self.training:
            return spectra
        shift = torch.randint(-self.most, self.most + 1, (len(spectra), 1, 1), device=spectra.device)
        frames = (torch.arange(spectra.shape[2], device=spectra.device) - shift) % spectra.shape[2]
        return spectra.gather(2, frames.expand(spectra.shape))


def audio_encoder(arch: str, spectra: torch.Tensor, latent_dim: int = 64) -> nn.Module:
    """Make an encoder (n, bands, frames) -> (n, latent_dim), with weights from torch's global generator.

    `cnn`: three 3 x 3 convolutions (16, 32, 64) with stride 2, the mean over time, a linear layer. `gru`: `Recurrent`.
    `mlp`: `RandomShift` by up to 4 frames, every two frames averaged, hidden layers of 256 and 128 with batch
    normalisation.

    Args:
        arch: one of `ARCHITECTURES`.
        spectra: of the shape to be encoded; their values do not matter.
        latent_dim: width of the latent space.

    Raises:
        UnknownNameError: for another architecture.
        InvalidInputError: for spectra of another shape, a side below 8, or a width below 1.
    """
    require_known("audio architecture", arch, ARCHITECTURES)
    if spectra.ndim != 3 or min(spectra.shape[1:]) < 8 or latent_dim < 1:
        raise InvalidInputError(
            "spectra must be (n, bands, frames), at least 8 x 8, and latent_dim at least 1, found "
            f"{tuple(spectra.shape)} and {latent_dim}"
        )
    bands, frames = spectra.shape[1:]
    if arch == "gru":
        return Recurrent(bands, latent_dim)
    if arch == "mlp":
        return nn.Sequential(
            RandomShift(4), nn.AvgPool1d(2), nn.Flatten(), nn.Dropout(0.3),
            nn.Linear(bands * (frames // 2), 256), nn.BatchNorm1d(256), nn.ReLU(),
            nn.Linear(256, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, latent_dim),
        )  # fmt: skip
    return nn.Sequential(
        nn.Unflatten(1, (1, bands)),
        nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d((-(-bands // 8), 2)), nn.Flatten(), nn.Linear(128 * -(-bands // 8), latent_dim),
    )  # fmt: skip
