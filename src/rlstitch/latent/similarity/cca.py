"""Similarities from canonical correlation, invariant to any invertible linear map of a space."""

from __future__ import annotations

import torch

from rlstitch.errors import InvalidInputError
from rlstitch.latent._arrays import Array, centred, to_pairs


def svcca(x: Array, y: Array, *, variance: float = 0.99) -> float:
    """Mean canonical correlation of the principal directions that hold `variance` of each space, in [0, 1].

    Raghu et al. 2017 (1706.05806). At `variance` 1 every direction that is not rounding is kept, and the value does not
    change under invertible linear maps of either space; below 1 it changes, as principal directions do.

    Args:
        x: samples `(n, d_x)`.
        y: the same samples in another space, `(n, d_y)`.
        variance: share of the variance that is kept, in (0, 1].

    Returns:
        In [0, 1].

    Raises:
        InvalidInputError: where the kept directions reach n - 1, and as `linear_cka`.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> sheared = x @ torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 9.0]])
        >>> round(svcca(x, sheared, variance=1.0), 6)
        1.0
    """
    if not 0 < variance <= 1:
        raise InvalidInputError(f"variance must lie in (0, 1], found {variance!r}")
    p, q = _bases(x, y, variance, "SVCCA")
    return float(torch.linalg.svdvals(p.T @ q).clamp(max=1.0).mean())


def pwcca(x: Array, y: Array) -> float:
    """Mean canonical correlation, weighted by how much of x each canonical direction accounts for, in [0, 1].

    Morcos et al. 2018 (1806.05759), eq. 3. Not symmetric: the weights are sums of |direction . column of x|, so a
    rotation of x changes them; any invertible linear map of y does not.

    Args:
        x: samples `(n, d_x)`.
        y: the same samples in another space, `(n, d_y)`.

    Returns:
        In [0, 1].

    Raises:
        InvalidInputError: where the kept directions reach n - 1, and as `linear_cka`.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> sheared = x @ torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 9.0]])
        >>> round(pwcca(x, sheared), 6)
        1.0
    """
    p, q = _bases(x, y, 1.0, "PWCCA")
    left, correlations, _ = torch.linalg.svd(p.T @ q, full_matrices=False)
    source = to_pairs(x, y)[0].detach().double()
    weights = ((p @ left).T @ (source - source.mean(0))).abs().sum(1)
    return float(weights @ correlations.clamp(max=1.0) / weights.sum())


def _bases(x: Array, y: Array, variance: float, method: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Orthonormal bases (n, r) of the kept directions of each centred space."""
    source, target = to_pairs(x, y, minimum=3, method=method)
    bases = []
    for space, name in ((source.detach().double(), "x"), (target.detach().double(), "y")):
        left, values, _ = torch.linalg.svd(centred(space, name), full_matrices=False)
        rank = int((values > values[0] * 1e-10).sum())
        share = values.square().cumsum(0) / values.square().sum()
        kept = min(rank, int((share < variance - 1e-12).sum()) + 1)
        if kept >= len(space) - 1:
            raise InvalidInputError(
                f"{method} needs more samples than directions, found {len(space)} samples and {kept} directions of"
                f" {name}: take more samples, or fewer directions"
            )
        bases.append(left[:, :kept])
    return bases[0], bases[1]
