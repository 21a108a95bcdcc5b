"""Relations between directions (2209.15430, equation 1): cosine, angular and Gaussian similarity; all grow with
likeness and are invariant to scale.
"""

from __future__ import annotations

import torch

from rlstitch.latent._arrays import A, Array, require_positive
from rlstitch.latent._linalg import cosines
from rlstitch.latent.normalization import unit_rows
from rlstitch.latent.projection.relation import Relation, relate


def project_cosine(x: A, anchors: Array) -> A:
    """cos(x_i, a_j), in [-1, 1]; a zero vector has cosine 0 with everything. Invariant to rotation and scale.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project_cosine(x, anchors)
        tensor([[0.6000, 0.8000]])
        >>> project_cosine(9 * x.flip(1), anchors.flip(1))
        tensor([[0.6000, 0.8000]])
    """
    return relate(x, anchors, cosine)


def cosine(anchors: torch.Tensor) -> Relation:
    """x -> cos(x, a)."""
    units = unit_rows(anchors)
    return lambda x: cosines(x, units)


def project_angular(x: A, anchors: Array) -> A:
    """1 - angle(x_i, a_j) / pi, in [0, 1]; angles below the resolution of the dtype (float32: 0.001) count as 0.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> project_angular(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
        tensor([[1.0000, 0.5000, 0.0000]])
    """
    return relate(x, anchors, angular)


def angular(anchors: torch.Tensor) -> Relation:
    """x -> 1 - arccos(cos(x, a)) / pi."""
    cosines_with = cosine(anchors)

    def relation(x: torch.Tensor) -> torch.Tensor:
        c = cosines_with(x)
        # The slope of arccos is infinite at -1 and 1: there the value is set and the gradient is 0.
        edge = 1 - 4 * torch.finfo(c.dtype).eps
        inner = c.abs() < edge
        angle = torch.arccos(torch.where(inner, c, torch.zeros_like(c)))
        ends = torch.where(c > 0, torch.zeros_like(c), torch.full_like(c, torch.pi))
        return 1 - torch.where(inner, angle, ends) / torch.pi

    return relation


def project_gaussian(x: A, anchors: Array, *, width: float = 0.5) -> A:
    """exp(-|x/|x| - a/|a||^2 / (2 width^2)), in (0, 1]: a Gaussian kernel between directions, exp((cos - 1) / width^2).

    Sees what the cosine sees, but far anchors count for little and differ little between encoders, while what is near
    stands out. A zero vector has cosine 0 with everything. As `width` grows, it becomes a cosine, shifted and scaled.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.
        width: of the kernel, above 0.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[6.0, 8.0], [0.0, 2.0], [-3.0, -4.0]])
        >>> project_gaussian(x, anchors).round(decimals=3)
        tensor([[1.0000, 0.4490, 0.0000]])
    """
    return relate(x, anchors, gaussian, width=width)


def gaussian(anchors: torch.Tensor, *, width: float = 0.5) -> Relation:
    """x -> exp((cos(x, a) - 1) / width^2)."""
    require_positive(width, "width")
    cosines_with = cosine(anchors)
    return lambda x: torch.exp((cosines_with(x) - 1) / width**2)


METHODS = {"cosine": cosine, "angular": angular, "gaussian": gaussian}
