"""Find the object of an image that decides what a controller does, from pairs alone."""

from __future__ import annotations

import torch
from torch import Tensor

from rlstitch.agents.cropping import Locator
from rlstitch.stitching.graft.states import States

STEPS, BATCH, LEARNING_RATE = 200, 128, 1e-2
_RIDGE = 1e-3
"""Share of the variance of the places; it bounds the weights."""


def fit_locator(locator: Locator, states: States, *, seed: int) -> None:
    """Fit where a locator looks by Adam, so that its mean places explain latents as well as an affine map of them can.

    The map is the least-squares one of each batch (variable projection): however little the places move at first, it
    scales this up, so that the gradient shows the way from the first step on.

    Args:
        locator: is changed.
        states: of images.
        seed: of the batches.
    """
    generator = torch.Generator().manual_seed(seed)
    newest, targets = states.stacks[:, -1], torch.cat([states.own, states.latents], dim=1)
    targets = (targets - targets.mean(dim=0)) / targets.std(dim=0).clamp_min(1e-3)
    optimizer = torch.optim.Adam(locator.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(states), (BATCH,), generator=generator)
        loss = _unexplained(locator.mean_places(states.shown[newest[rows]].float() / 255.0), targets[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()


def _unexplained(places: Tensor, targets: Tensor) -> Tensor:
    """Return the mean square of what an affine map of places `(n, 2)` leaves of targets `(n, d)`."""
    places, targets = places - places.mean(dim=0), targets - targets.mean(dim=0)
    places = places / places.std(dim=0).detach().clamp_min(1e-6)
    moments = places.T @ places / len(places) + _RIDGE * torch.eye(2)
    map_ = torch.linalg.solve(moments, places.T @ targets / len(places))
    return (targets - places @ map_).square().mean()
