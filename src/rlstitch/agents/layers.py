"""Layers that encoders and controllers are made of."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


class OwnModule(nn.Module):
    """A module of a user's own within an encoder or a controller; it is used as it is, and not stored."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    @property
    def name(self) -> str:
        """Its class."""
        return f"{type(self.module).__module__}.{type(self.module).__qualname__}"

    def forward(self, inputs: Tensor) -> Tensor:
        """Run the module."""
        return self.module(inputs)


def linear_layers(widths: Sequence[int], activation: str) -> nn.Sequential:
    """Return linear maps from each width to the next with an activation between them, and none after the last."""
    layers: list[nn.Module] = []
    for width, following in itertools.pairwise(widths):
        layers += [nn.Linear(width, following), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


class RunningNormalization(nn.Module):
    """Vectors in units of their running standard deviations, as Stable-Baselines3's VecNormalize has them.

    `(x - mean) / sqrt(var + epsilon)`, cut to `[-clip, clip]`, in float64; the result is float32. The statistics change
    by `update` alone.
    """

    mean: Tensor
    var: Tensor
    count: Tensor

    def __init__(self, width: int, *, clip: float, epsilon: float) -> None:
        super().__init__()
        self._clip, self._epsilon = clip, epsilon
        self.register_buffer("mean", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("var", torch.ones(width, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, vectors: Tensor) -> Tensor:
        """Normalize vectors `(N, D)`."""
        scaled = (vectors.double() - self.mean) / torch.sqrt(self.var + self._epsilon)
        return scaled.clamp(-self._clip, self._clip).float()

    @torch.no_grad()
    def update(self, vectors: Tensor) -> None:
        """Take vectors `(N, D)` into the statistics (Chan et al. 1983, for two sets)."""
        new = vectors.double()
        total = self.count + len(new)
        difference, share = new.mean(0) - self.mean, len(new) / total
        self.var.copy_(
            self.var * (1 - share) + new.var(0, correction=0) * share + difference.square() * share * (1 - share)
        )
        self.mean.add_(difference * share)
        self.count.copy_(total)
