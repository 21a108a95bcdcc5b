"""Find the object of an image that decides what a controller does, from pairs alone."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from rlstitch.agents.cropping import Locator
from rlstitch.stitching.graft.states import States

STEPS, BATCH, LEARNING_RATE = 200, 128, 1e-2
STATES = 2_048
"""States that the fit is on, at most."""
STARTS, JUDGED_ON = 100, 256
"""Random weights among which the fit begins with the best, and the states that decide which."""
_SHARPNESS = 100.0
"""Factor of the last layer's first weights: attention that is spread over the image moves too little to show what it
follows."""
_RIDGE = 1e-3
"""Share of the variance of the places; it bounds the weights."""


def fit_locator(locator: Locator, states: States, *, seed: int) -> None:
    """Fit where a locator looks, so that its mean places explain latents as well as an affine map of them can.

    The map is the least-squares one of each batch (variable projection): however little the places move at first, it
    scales this up, so that the gradient shows the way from the first step on. Adam begins with the best of many random
    weights: from the first ones alone it often finds nothing where the object is small.

    Args:
        locator: is changed.
        states: of images.
        seed: of the weights and the batches.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(states), generator=generator)[:STATES]
    targets = torch.cat([states.own, states.latents], dim=1)[rows]
    targets = (targets - targets.mean(dim=0)) / targets.std(dim=0).clamp_min(1e-3)
    with torch.no_grad():
        parts = states.shown[states.stacks[rows, -1]].split(BATCH)
        pooled = torch.cat([locator.pool(part.float() / 255.0) for part in parts])
    locator.load_state_dict(_best_start(locator, pooled[:JUDGED_ON], targets[:JUDGED_ON], seed))
    optimizer = torch.optim.Adam(locator.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        batch = torch.randint(len(rows), (BATCH,), generator=generator)
        loss = _unexplained(locator.mean_places(pooled[batch]), targets[batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def _best_start(locator: Locator, pooled: Tensor, targets: Tensor, seed: int) -> dict[str, Tensor]:
    """Return the random weights whose places explain targets `(n, d)` best."""
    tried = copy.deepcopy(locator)
    first: Any = tried.attention[1]
    last: Any = tried.attention[3]
    losses, weights = [], []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for _ in range(STARTS):
            for layer in (first, last):
                layer.reset_parameters()
            last.weight.mul_(_SHARPNESS)
            losses.append(float(_unexplained(tried.mean_places(pooled), targets)))
            weights.append({name: tensor.clone() for name, tensor in tried.state_dict().items()})
    return weights[losses.index(min(losses))]


def _unexplained(places: Tensor, targets: Tensor) -> Tensor:
    """Return the mean square of what an affine map of places `(n, 2)` leaves of targets `(n, d)`."""
    places, targets = places - places.mean(dim=0), targets - targets.mean(dim=0)
    places = places / places.std(dim=0).detach().clamp_min(1e-6)
    moments = places.T @ places / len(places) + _RIDGE * torch.eye(2)
    map_ = torch.linalg.solve(moments, places.T @ targets / len(places))
    return (targets - places @ map_).square().mean()
