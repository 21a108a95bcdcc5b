"""Distances to anchors (2310.01211): Euclidean, L_p, Mahalanobis; they fall with likeness and are not negated."""

from __future__ import annotations

import torch

from rlstitch.latent._arrays import A, Array, require_positive, same_width, to_tensor
from rlstitch.latent._linalg import distances
from rlstitch.latent.normalization import fit_whitening
from rlstitch.latent.projection.relation import Relation, relate


def project_euclidean(x: A, anchors: Array, *, exact: bool = False) -> A:
    """The Euclidean distance, at least 0.

    By default from inner products about the anchors' mean: fast, with an error near sqrt(eps) times the norms where x
    meets an anchor. `exact` takes differences one by one.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.
        exact: take differences one by one.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project_euclidean(x + 7, anchors + 7, exact=True)
        tensor([[4.4721, 3.6056]])
    """
    return relate(x, anchors, euclidean, exact=exact)


def euclidean(anchors: torch.Tensor, *, exact: bool = False) -> Relation:
    """x -> |x - a|."""
    if exact:
        return lambda x: torch.cdist(x, anchors, compute_mode="donot_use_mm_for_euclid_dist")
    # Inner products lose digits far from the origin; distances do not mind a shift.
    center = anchors.mean(0)
    moved = anchors - center
    return lambda x: distances(x, moved, center)


def project_l1(x: A, anchors: Array) -> A:
    """The sum of absolute differences.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project_l1(x, anchors)
        tensor([[6., 5.]])
    """
    return relate(x, anchors, l1)


def l1(anchors: torch.Tensor) -> Relation:
    """x -> sum |x - a|."""
    return lambda x: torch.cdist(x, anchors, p=1.0)


def project_linf(x: A, anchors: Array) -> A:
    """The largest absolute difference.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project_linf(x, anchors)
        tensor([[4., 3.]])
    """
    return relate(x, anchors, linf)


def linf(anchors: torch.Tensor) -> Relation:
    """x -> max |x - a|."""
    return lambda x: torch.cdist(x, anchors, p=float("inf"))


def project_lp(x: A, anchors: Array, *, p: float = 3.0) -> A:
    """The L_p distance, for p > 0 (p < 1 is no metric, but defined); infinite where the p-th powers overflow.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.
        p: order of the norm, above 0.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project_lp(x, anchors, p=1.0)
        tensor([[6., 5.]])
    """
    return relate(x, anchors, lp, p=p)


def lp(anchors: torch.Tensor, *, p: float = 3.0) -> Relation:
    """x -> (sum |x - a|^p)^(1/p)."""
    require_positive(p, "p")
    return lambda x: torch.cdist(x, anchors, p=float(p))


def project_mahalanobis(x: A, anchors: Array, *, points: Array | None = None, shrinkage: float = 0.1) -> A:
    """sqrt((x - a) S^-1 (x - a)^T) with the covariance S of `points` (default: of the anchors), shrunk as in
    `fit_whitening`.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.
        points: sample `(m, d)` for the covariance; None: the anchors.
        shrinkage: of the covariance, in [0, 1].

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        InvalidInputError: for no anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> sheared = x @ torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 9.0]])
        >>> before, after = (project_mahalanobis(s, s[:8], shrinkage=0.0) for s in (x, sheared))
        >>> bool(torch.allclose(before, after, atol=1e-3))
        True
    """
    return relate(x, anchors, mahalanobis, points=points, shrinkage=shrinkage)


def mahalanobis(anchors: torch.Tensor, *, points: Array | None = None, shrinkage: float = 0.1) -> Relation:
    """x -> |(x - a) @ root|, root @ root^T = S^-1."""
    source = anchors if points is None else to_tensor(points, "points", min_rows=1).to(anchors)
    same_width(source, anchors, "points", "anchors")
    weight = fit_whitening(source, shrinkage=shrinkage).weight.double()
    # Any root of S^-1 gives the same distances; the triangular one takes half the work.
    root = torch.linalg.cholesky(weight @ weight).to(anchors)
    center = anchors.mean(0)
    white = (anchors - center) @ root
    return lambda x: distances(x, white, center, root)


METHODS = {"euclidean": euclidean, "l1": l1, "linf": linf, "lp": lp, "mahalanobis": mahalanobis}
