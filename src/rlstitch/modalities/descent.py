"""What all trainings here share: a seed that leaves torch's global generator alone, batches, and the descent itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from rlstitch.errors import InvalidInputError


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generator seeded within, and as it was after."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def batched(
    module: nn.Module, rows: Callable[[slice], torch.Tensor], n: int, batch_size: int, device: str = "cpu"
) -> torch.Tensor:
    """`module` on rows 0 to n - 1, in batches, in evaluation mode: what comes out, on the CPU. `rows` gives a batch.

    Raises InvalidInputError for no rows.
    """
    if n == 0:
        raise InvalidInputError("there must be at least one row to compute, found none")
    module.to(device).eval()
    with torch.inference_mode():
        parts = [module(rows(slice(at, at + batch_size)).to(device)).cpu() for at in range(0, n, batch_size)]
    module.cpu()
    # A copy, as tensors of inference mode refuse what autograd does.
    return torch.cat(parts).clone()


def descend(
    model: nn.Module,
    loss_of: Callable[[torch.Tensor], torch.Tensor],
    inputs: torch.Tensor,
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float = 0.0,
) -> tuple[float, ...]:
    """Adam, the rate falling to 0 along a cosine, in place; the mean loss of each epoch. `loss_of` gives the mean loss
    of rows of `inputs`, of which only the number and the device are looked at.

    Raises InvalidInputError for no rows, or `epochs`, `batch_size` or `learning_rate` not above 0.
    """
    if len(inputs) == 0:
        raise InvalidInputError("there must be at least one sample to train on, found none")
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("learning_rate", learning_rate)):
        if not (value > 0 and math.isfinite(value)):
            raise InvalidInputError(f"{name} must be above 0, found {value}")
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    steps = epochs * math.ceil(len(inputs) / batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    losses = []
    for _ in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(inputs), generator=generator).to(inputs.device).split(batch_size):
            loss = loss_of(rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(rows)
        losses.append(total / len(inputs))
    model.eval()
    return tuple(losses)
