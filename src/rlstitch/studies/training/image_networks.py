"""Three encoder architectures for grey images."""

from __future__ import annotations

import torch
from torch import nn

from rlstitch.errors import InvalidInputError, require_known

ARCHITECTURES = ("cnn", "mlp", "vit")


class PatchTransformer(nn.Module):
    """A small vision transformer (Dosovitskiy et al. 2020, 2010.11929) with learned positions and pre-norm layers.

    All tokens are read out: with their mean, or a class token, it learns several times more slowly at this size.
    """

    def __init__(self, shape: tuple[int, int], latent_dim: int, *, patch: int, width: int = 64) -> None:
        super().__init__()
        tokens = (shape[0] // patch) * (shape[1] // patch)
        self.embed = nn.Conv2d(1, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.randn(tokens, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Flatten(), nn.Linear(tokens * width, latent_dim))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 1, h, w) -> (n, latent_dim)."""
        tokens = self.embed(images).flatten(2).transpose(1, 2) + self.positions
        latent: torch.Tensor = self.out(self.layers(tokens))
        return latent


def image_encoder(arch: str, images: torch.Tensor, latent_dim: int = 64) -> nn.Module:
    """Make an encoder (n, 1, h, w) in [0, 1] -> (n, latent_dim), with weights from torch's global generator.

    `cnn`: three 3 x 3 convolutions (16, 32, 64), two of them with stride 2, and a linear layer. `mlp`: two hidden
    layers of 256. `vit`: patches of 4 (of 2 for images below 16), width 64, two layers of four heads.

    Args:
        arch: one of `ARCHITECTURES`.
        images: of the shape to be encoded, (n, 1, h, w); their values do not matter.
        latent_dim: width of the latent space.

    Raises:
        UnknownNameError: for another architecture.
        InvalidInputError: for a side below 4 or, with `vit`, one that patches do not divide, or a width below 1.
    """
    require_known("image architecture", arch, ARCHITECTURES)
    height, width = shape = (images.shape[-2], images.shape[-1])
    if min(shape) < 4 or latent_dim < 1:
        raise InvalidInputError(
            f"shape must be at least 4 x 4 and latent_dim at least 1, found {shape} and {latent_dim}"
        )
    if arch == "mlp":
        return nn.Sequential(
            nn.Flatten(), nn.Linear(height * width, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(),
            nn.Linear(256, latent_dim),
        )  # fmt: skip
    if arch == "vit":
        patch = 2 if min(shape) < 16 else 4
        if height % patch or width % patch:
            raise InvalidInputError(f"shape must be a multiple of the patches' side {patch}, found {shape}")
        return PatchTransformer(shape, latent_dim, patch=patch)
    flat = 64 * -(-height // 4) * -(-width // 4)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(flat, latent_dim),
    )  # fmt: skip
