"""What all trainings share: seeding that leaves torch's global generator alone, batches, and Adam."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from rlstitch.errors import InvalidInputError


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
