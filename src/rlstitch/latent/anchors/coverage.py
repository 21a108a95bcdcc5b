"""How well a set of anchors covers a space."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlstitch.latent._arrays import Array, require_count, same_width, to_tensor
from rlstitch.latent.projection.registry import projector


@dataclass(frozen=True)
class Coverage:
    """Distances from each point to its nearest anchor, and how independent the anchors are.

    `nearest_mean`, `nearest_median`, `nearest_max`: Euclidean. `relative`: nearest_mean over the root mean square
    distance of the points from their mean (0: every point is an anchor; 1 and more: no better than their mean alone;
    0 where the points are all equal). `rank` and `condition_number` (largest over smallest non-zero singular value)
    are those of the centred anchors (k, d); `distinct` counts the different anchors.

    Examples:
        >>> c = coverage(torch.eye(3), torch.eye(3)[:2])
        >>> c.n_anchors, c.rank, round(c.nearest_max, 3)
        (2, 1, 1.414)
    """

    n_points: int
    n_anchors: int
    nearest_mean: float
    nearest_median: float
    nearest_max: float
    relative: float
    rank: int
    condition_number: float
    distinct: int


def coverage(points: Array, anchors: Array, *, batch_size: int = 4096) -> Coverage:
    """The coverage of points (n, d) by anchors (k, d), which may come from another domain. Memory: batch_size * k.

    Args:
        points: the space `(n, d)`.
        anchors: `(k, d)`.
        batch_size: points at a time.

    Returns:
        Distances to the nearest anchor, and rank and condition of the anchors.

    Raises:
        InvalidInputError: for no points or anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> coverage(x, x).relative
        0.0
        >>> coverage(x, x[:2]).relative > coverage(x, x[:10]).relative
        True
    """
    space = to_tensor(points, "points", min_rows=1).detach()
    chosen = to_tensor(anchors, "anchors", min_rows=1).detach().to(space)
    same_width(space, chosen, "points", "anchors")
    require_count(batch_size, 1 << 40, "batch_size", "a number of rows")
    distance = projector(chosen, "euclidean", exact=True)
    nearest = torch.cat([distance(batch).amin(1) for batch in space.split(batch_size)]).double()
    spread = float((space - space.mean(0)).double().square().sum(1).mean().sqrt())
    values = torch.linalg.svdvals((chosen - chosen.mean(0)).double())
    # Measured against the anchors themselves: centring equal anchors leaves rounding.
    size = float(torch.linalg.vector_norm(chosen.double()))
    kept = values[values > max(float(values[0]), size) * max(chosen.shape) * torch.finfo(chosen.dtype).eps]
    return Coverage(
        n_points=len(space),
        n_anchors=len(chosen),
        nearest_mean=float(nearest.mean()),
        nearest_median=float(nearest.median()),
        nearest_max=float(nearest.max()),
        relative=float(nearest.mean()) / spread if spread > 0 else 0.0,
        rank=len(kept),
        condition_number=float(kept[0] / kept[-1]) if len(kept) else 1.0,
        distinct=len(torch.unique(chosen, dim=0)),
    )
