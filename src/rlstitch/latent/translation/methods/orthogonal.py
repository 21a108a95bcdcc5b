"""Translations that turn and, at most, scale: Procrustes and its kin."""

from __future__ import annotations

from functools import partial, update_wrapper

import torch

from rlstitch.latent._arrays import Array, is_moderate, to_pairs, to_weights
from rlstitch.latent._linalg import least_squares, one_torch_thread, product, singular
from rlstitch.latent.translation.translation import Fit, Translation, finish


@one_torch_thread()
def fit_orthogonal(
    x: Array, y: Array, *, center: bool = True, scale: bool = True, weights: Array | None = None
) -> Translation:
    """The rotation (or reflection) R, with one factor, that best maps x (n, d_x) on y (n, d_y): R = U V^T of the SVD of
    x^T y (Schönemann, 1966; with scale and shift Schönemann and Carroll, 1970).

    The method that is named `orthogonal` fits no factor (`scale=False`); `scaled_orthogonal` does. Whatever reads y
    sees lengths: without the factor a classifier of images kept 83 % of its accuracy, with it 99 %
    (docs/results/latent-defaults.md).

    `center` maps mean on mean, `scale` adds one factor (least squares), `weights` (n,) weigh the pairs. At least 2
    pairs. Widths that differ are padded with zeros and cut back, which leaves R semi-orthogonal: its rows are
    orthonormal where d_x <= d_y, its columns where d_x >= d_y. Directions that the pairs do not show are turned in a
    defined but arbitrary way.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        center: map the mean of x to the mean of y.
        scale: fit one factor, by least squares; False: a pure rotation.
        weights: `(n,)`, at least 0: how much each pair counts; scaled to sum to n. None: equally.

    Returns:
        The fitted map, with a report on its own pairs.

    Raises:
        InvalidInputError: for rows that are not paired, fewer than 2 pairs, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> y = x.flip(1) + 5
        >>> turn = fit_orthogonal(x, y, scale=False)
        >>> bool(torch.allclose(turn(x), y, atol=1e-5))
        True
        >>> bool(torch.allclose(turn.matrix.T @ turn.matrix, torch.eye(3), atol=1e-5))
        True
    """
    source, target = to_pairs(x, y, method="fit_orthogonal", finite=False)
    w = to_weights(weights, len(source), source)
    mean_x, mean_y, centred_x, centred_y = _centred(source, target, w, center)
    weighted = centred_x if w is None else centred_x * w[:, None]
    cross = product(weighted.T, centred_y)
    if not is_moderate(cross):
        # NaN and infinity always come through, and this is the smaller array to look at: whose are they?
        to_pairs(x, y, method="fit_orthogonal")
    # The thin SVD is the padded one without its zero rows.
    u, s, vh = singular(cross)
    matrix = product(u, vh)
    if scale:
        # The norm after turning: with d_x > d_y a part of x is cut away.
        size = ((centred_x @ matrix).square().sum(1) * (1 if w is None else w)).sum()
        matrix = matrix * torch.where(size > 0, s.sum() / size, torch.ones_like(size))
    # All singular values are equal (to the factor), or all 0 where x or y is constant and the factor is 0.
    condition = 1.0 if not scale else None
    return finish(
        matrix, mean_y - mean_x @ matrix, "scaled_orthogonal" if scale else "orthogonal", source, target, condition
    )


def fit_scaled_orthogonal(x: Array, y: Array, *, center: bool = True, weights: Array | None = None) -> Translation:
    """`fit_orthogonal` by another name, with its factor.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        center: map the mean of x to the mean of y.
        weights: `(n,)`, at least 0: how much each pair counts; scaled to sum to n. None: equally.

    Returns:
        The fitted map, with a report on its own pairs.

    Raises:
        InvalidInputError: for rows that are not paired, fewer than 2 pairs, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> turn = fit_scaled_orthogonal(x, 4 * x.flip(1))
        >>> round(float(turn.matrix.norm(dim=0)[0]), 4)
        4.0
    """
    return fit_orthogonal(x, y, center=center, scale=True, weights=weights)


@one_torch_thread()
def fit_l_orthogonal(x: Array, y: Array, *, center: bool = True, weights: Array | None = None) -> Translation:
    """The (semi-)orthogonal matrix nearest to the (weighted) least-squares solution ("l-ortho" of arXiv:2311.00664):
    U V^T of its SVD. At least 2 pairs.

    Least squares sees each direction of x on its own scale, so that directions of little variance count as much as
    the others.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        center: map the mean of x to the mean of y.
        weights: `(n,)`, at least 0: how much each pair counts; scaled to sum to n. None: equally.

    Returns:
        The fitted map, with a report on its own pairs.

    Raises:
        InvalidInputError: for rows that are not paired, fewer than 2 pairs, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> turn = fit_l_orthogonal(x, x * torch.tensor([1.0, 2.0, 3.0]))
        >>> bool(torch.allclose(turn.matrix, torch.eye(3), atol=1e-5))
        True
    """
    source, target = to_pairs(x, y, method="fit_l_orthogonal")
    w = to_weights(weights, len(source), source)
    mean_x, mean_y, centred_x, centred_y = _centred(source, target, w, center)
    root = 1 if w is None else w.sqrt()[:, None]
    u, _, vh = singular(least_squares(centred_x * root, centred_y * root, source.dtype).to(source))
    matrix = product(u, vh)
    return finish(matrix, mean_y - mean_x @ matrix, "l_orthogonal", source, target, 1.0)


def _centred(
    x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor | None, center: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The (weighted) means (d_x,), (d_y,) and the pairs about them; without `center` zeros and the given pairs."""
    if not center:
        return x.new_zeros(x.shape[1]), y.new_zeros(y.shape[1]), x, y
    mean_x, mean_y = (z.mean(0) if weights is None else (z * weights[:, None]).mean(0) for z in (x, y))
    return mean_x, mean_y, x - mean_x, y - mean_y


METHODS: dict[str, Fit] = {
    "orthogonal": update_wrapper(partial(fit_orthogonal, scale=False), fit_orthogonal),
    "scaled_orthogonal": fit_scaled_orthogonal,
    "l_orthogonal": fit_l_orthogonal,
}
