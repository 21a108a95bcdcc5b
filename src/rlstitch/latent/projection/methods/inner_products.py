"""Relations that are linear in x: inner products with the anchors, and coordinates in them (2310.01211)."""

from __future__ import annotations

import torch

from rlstitch.latent._arrays import A, Array
from rlstitch.latent._linalg import product
from rlstitch.latent.projection.relation import Relation, relate


def project_dot(x: A, anchors: Array) -> A:
    """The inner product. Invariant to rotation only.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project_dot(x, anchors)
        tensor([[3., 8.]])
    """
    return relate(x, anchors, dot)


def dot(anchors: torch.Tensor) -> Relation:
    """x -> x @ a."""
    return lambda x: product(x, anchors.T)


def project_basis(x: A, anchors: Array, *, rtol: float | None = None) -> A:
    """Change of basis: the least-squares coordinates of x_i in the anchors, c with c @ anchors nearest to x (of least
    norm, where many).

    Invariant to every invertible linear map where the anchors span the space. `rtol`: singular values below rtol times
    the largest count as 0 (default: as in the pseudo-inverse, eps * max(k, d)), so that duplicated anchors share
    their weight.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.
        rtol: relative size below which a singular value counts as 0; None: eps * max(k, d).

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> c = project_basis(x, anchors).round(decimals=3)
        >>> c, c @ anchors
        (tensor([[3., 2.]]), tensor([[3., 4.]]))
    """
    return relate(x, anchors, basis, rtol=rtol)


def basis(anchors: torch.Tensor, *, rtol: float | None = None) -> Relation:
    """x -> x @ pinv(anchors)."""
    # The inverse of tiny anchors would overflow.
    size = anchors.detach().abs().max()
    size = torch.where(size > 0, size, torch.ones_like(size))
    inverse: torch.Tensor = torch.linalg.pinv(anchors / size, rtol=rtol)
    return lambda x: product(x / size, inverse)


METHODS = {"dot": dot, "basis": basis}
