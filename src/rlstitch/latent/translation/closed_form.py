"""Translations in closed form: Procrustes and its kin, (ridge) least squares, total least squares.

"orthogonal", "l-ortho", "linear" and "affine" of Maiorca et al. 2023 (2311.00664); ridge regression: Hoerl and Kennard
1970; total least squares: Golub and Van Loan 1980, truncated: Fierro, Golub, Hansen and O'Leary 1997.
"""

from __future__ import annotations

from functools import partial, update_wrapper
from typing import Literal

import numpy as np
import torch

from rlstitch.errors import InvalidInputError
from rlstitch.latent._arrays import Array, gram_rounding, is_moderate, require_count, to_pairs, to_weights
from rlstitch.latent._linalg import least_squares, one_torch_thread, product, singular, solve_positive
from rlstitch.latent.translation.translation import Fit, Translation, centred_pairs, finish

Ridge = float | Literal["auto", "cv", "loo"]
_FEW_PAIRS = 4
"""Pairs a dimension of x below which "auto" leaves out each pair in turn."""
# Strengths tried by "cv" and "loo", as multiples of the largest eigenvalue of the Gram matrix: three a decade.
_GRID = torch.logspace(-10, 2, 37, dtype=torch.float64)
# The condition number up to which the normal equations are solved in float32.
_WELL_CONDITIONED = 1e3


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
        # The norm after turning, which is that before: only with d_x > d_y a part of x is cut away.
        turned = product(centred_x, matrix) if source.shape[1] > target.shape[1] else centred_x
        size = (torch.linalg.vector_norm(turned, dim=1).square() * (1 if w is None else w)).sum()
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


@one_torch_thread()
def fit_linear(x: Array, y: Array, *, weights: Array | None = None) -> Translation:
    """Least squares without bias: x (n, d_x) @ matrix ~ y (n, d_y). At least 2 pairs.

    With fewer pairs than dimensions, or dependent ones, the solution of least norm: it fits the pairs and may not
    carry over to others; `fit_ridge` does better there.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        weights: `(n,)`, at least 0: how much each pair counts; scaled to sum to n. None: equally.

    Returns:
        The fitted map, with a report on its own pairs.

    Raises:
        InvalidInputError: for rows that are not paired, fewer than 2 pairs, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> fit_linear(x, x * torch.tensor([1.0, 2.0, 3.0])).matrix.diagonal().round(decimals=3)
        tensor([1., 2., 3.])
    """
    source, target = to_pairs(x, y, method="fit_linear")
    w = to_weights(weights, len(source), source)
    root = None if w is None else w.sqrt()[:, None]
    if root is None:
        matrix = least_squares(source, target, source.dtype)
    else:
        matrix = least_squares(source * root, target * root, source.dtype)
    return finish(matrix, target.new_zeros(target.shape[1]), "linear", source, target)


@one_torch_thread()
def fit_ridge(x: Array, y: Array, *, ridge: Ridge = "auto", weights: Array | None = None) -> Translation:
    """Ridge regression without bias; `ridge` as in `fit_affine`. At least 2 pairs.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        ridge: penalty, as in `fit_affine`.
        weights: `(n,)`, at least 0: how much each pair counts; scaled to sum to n. None: equally.

    Returns:
        The fitted map, with a report on its own pairs.

    Raises:
        InvalidInputError: for rows that are not paired, fewer than 2 pairs, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> loose, strict = (fit_ridge(x, 2 * x, ridge=r).matrix.norm() for r in (0, 100))
        >>> bool(strict < loose)
        True
    """
    source, target = to_pairs(x, y, method="fit_ridge")
    matrix = _ridge(source, target, to_weights(weights, len(source), source), ridge, free=0)
    return finish(matrix, target.new_zeros(target.shape[1]), "ridge", source, target)


@one_torch_thread()
def fit_affine(x: Array, y: Array, *, ridge: Ridge = "auto", weights: Array | None = None) -> Translation:
    """Ridge regression about the means: x (n, d_x) @ matrix + bias ~ y (n, d_y); the bias is not penalised. At least
    3 pairs.

    `ridge`: the penalty on the squared entries of the matrix (as scikit-learn's alpha; 0 is least squares of least
    norm), or "cv": the strength that minimises the generalised cross-validation error (Golub, Heath and Wahba, 1979),
    which takes the pairs to be different; repeated pairs make it too small. "loo": the strength that minimises the
    error on each pair when the others are fitted (Allen, 1974), exactly; O(n d_x d_y) for each of 37 strengths. With
    about as many pairs as dimensions "cv" can choose far too small a strength where "loo" does not: "auto" is "loo"
    for fewer than 4 d_x pairs, and "cv" for more. `weights` (n,) weigh the pairs and are scaled to sum to n.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        ridge: penalty on the squared entries of the matrix, at least 0; `auto`, `cv` or `loo` choose it.
        weights: `(n,)`, at least 0: how much each pair counts; scaled to sum to n. None: equally.

    Returns:
        The fitted map, with a report on its own pairs.

    Raises:
        InvalidInputError: for rows that are not paired, fewer than 3 pairs, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> translation = fit_affine(x, 2 * x + 1, ridge=0)
        >>> translation.matrix.diagonal().round(decimals=3), translation.bias.round(decimals=3)
        (tensor([2., 2., 2.]), tensor([1., 1., 1.]))
    """
    source, target = to_pairs(x, y, minimum=3, method="fit_affine")
    w = to_weights(weights, len(source), source)
    mean_x, mean_y = _mean(source, w), _mean(target, w)
    matrix = _ridge(source - mean_x.to(source), target - mean_y.to(source), w, ridge, free=1)
    return finish(matrix, mean_y - mean_x @ matrix, "affine", source, target)


def _mean(x: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """The (weighted) mean row as float64: (d,)."""
    return (x if weights is None else x * weights[:, None]).mean(0).double()


def _ridge(x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor | None, ridge: Ridge, *, free: int) -> torch.Tensor:
    """The ridge solution (d_x, d_y), float64; `free` parameters were fitted without a penalty before."""
    if not (
        ridge in ("auto", "cv", "loo")
        or (isinstance(ridge, int | float | np.integer | np.floating) and 0 <= ridge < float("inf"))
    ):
        raise InvalidInputError(f"ridge must be 'auto', 'cv', 'loo' or a finite number of at least 0, found {ridge!r}")
    if weights is not None:
        # Pairs without weight are no pairs, to an error that counts them.
        present = weights > 0
        x, y, weights = x[present], y[present], weights[present]
        root = weights.sqrt()[:, None]
        x, y = x * root, y * root
    if ridge == 0:
        return least_squares(x, y, x.dtype)
    if isinstance(ridge, str):
        # Leverage of the mean, which is fitted without a penalty.
        leverage = torch.ones_like(x[:, 0]) if weights is None else weights
        leverage = free / leverage.sum() * leverage
        exact = ridge == "loo" or (ridge == "auto" and len(x) < _FEW_PAIRS * x.shape[1])
        return _ridge_by_error(x.double(), y.double(), leverage.double(), x.dtype, exact=exact)
    solution = _ridge_by_cholesky(x, y, float(ridge))
    if solution is None:
        solution = _ridge_by_cholesky(x.double(), y.double(), float(ridge))
    if solution is None:
        raise InvalidInputError(f"ridge must be large enough for x to be solved, or 0, or 'auto', found {ridge!r}")
    return solution.double()


def _ridge_by_cholesky(x: torch.Tensor, y: torch.Tensor, ridge: float) -> torch.Tensor | None:
    """The solution for one strength, or None where the dtype is too coarse for it."""
    n, d = x.shape
    most = _WELL_CONDITIONED if x.dtype == torch.float32 else float("inf")
    # The smaller of the two Gram matrices; both give the same solution.
    gram = product(x.T, x) if d <= n else product(x, x.T)
    gram.diagonal().add_(ridge)
    if d <= n:
        return solve_positive(gram, product(x.T, y), condition=most)
    solution = solve_positive(gram, y, condition=most)
    return None if solution is None else x.T @ solution


def _ridge_by_error(
    x: torch.Tensor, y: torch.Tensor, leverage: torch.Tensor, dtype: torch.dtype, *, exact: bool
) -> torch.Tensor:
    """The ridge solution (d_x, d_y) of least leave-one-out error (`exact`), or of least GCV error.

    With x = U S V^T and strength r, the solution is V S / (S^2 + r) U^T y, and its fit U shrinkage U^T y with shrinkage
    S^2 / (S^2 + r). `leverage` (n,) is that of what was fitted before, without a penalty.
    """
    n, d = x.shape
    # The smaller Gram matrix gives S^2 and its own side of the singular vectors: V where d <= n, else U.
    squares, axes = torch.linalg.eigh(product(x.T, x) if d <= n else product(x, x.T))
    largest = squares[-1].clamp_min(0)
    if not bool(largest > 0):
        return x.new_zeros(d, y.shape[1])
    # Directions below this are rounding; their coordinates would be noise over nearly nothing.
    kept = squares > largest * gram_rounding(x.shape, dtype)
    squares, axes = squares[kept], axes[:, kept]
    s = squares.sqrt()
    y_in_u = (axes.T @ product(x.T, y)) / s[:, None] if d <= n else axes.T @ y
    strengths = _GRID.to(squares) * largest
    residual_share = strengths[:, None] / (squares + strengths[:, None])
    tiny = torch.finfo(dtype).tiny
    if exact:
        u = product(x, axes) / s if d <= n else axes
        error = torch.stack([_leave_one_out(u, y_in_u, y, 1 - share, leverage, tiny) for share in residual_share])
    else:
        error = _generalised_cross_validation(y_in_u, y, residual_share, n - leverage.sum(), tiny)
    best = strengths[error.argmin()]
    # V S = x^T U: where the axes are U, x^T takes the place of V S.
    matrix: torch.Tensor = axes @ (y_in_u * ((s if d <= n else 1) / (squares + best))[:, None])
    return matrix if d <= n else x.T @ matrix


def _generalised_cross_validation(
    y_in_u: torch.Tensor, y: torch.Tensor, residual_share: torch.Tensor, freedom: torch.Tensor, tiny: float
) -> torch.Tensor:
    """|y - fit|^2 / (freedom - trace(shrinkage))^2, up to a factor, for each strength (Golub, Heath and Wahba 1979)."""
    energy = y_in_u.square().sum(1)
    outside = (y.square().sum() - energy.sum()).clamp_min(0)
    left = (freedom - len(energy) + residual_share.sum(1)).clamp_min(tiny)
    return ((residual_share.square() * energy).sum(1) + outside) / left.square()


def _leave_one_out(
    u: torch.Tensor, y_in_u: torch.Tensor, y: torch.Tensor, shrinkage: torch.Tensor, leverage: torch.Tensor, tiny: float
) -> torch.Tensor:
    """sum_i |y_i - fit_i|^2 / (1 - leverage_i)^2: the error on each pair by the fit of the others (Allen 1974)."""
    residual = y - u @ (shrinkage[:, None] * y_in_u)
    leverage = leverage + u.square() @ shrinkage
    return (residual.square().sum(1) / (1 - leverage).clamp_min(tiny).square()).sum()


def fit_total_least_squares(
    x: Array, y: Array, *, rank: int | None = None, weights: Array | None = None
) -> Translation:
    """The affine map of the subspace nearest to the pairs (x_i, y_i), at equal noise in x and y. At least 3 pairs.

    Both spaces are centred and scaled to the same spread. With U S V^T the SVD of [x y] cut to `rank`, and V_x, V_y the
    rows of V that belong to x and y, a pair is near (c @ V_x^T, c @ V_y^T), so the matrix is pinv(V_x^T) @ V_y^T. By
    default `rank` holds 99 % of the variance of the pairs, at most d_x. `weights` (n,) weigh the pairs.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        rank: dimension of the subspace, in [1, d_x]; None: 99 % of the variance of the pairs.
        weights: `(n,)`, at least 0: how much each pair counts; scaled to sum to n. None: equally.

    Returns:
        The fitted map, with a report on its own pairs.

    Raises:
        InvalidInputError: for a rank outside its range, fewer than 3 pairs, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> translation = fit_total_least_squares(x, 2 * x.flip(1) + 1, rank=3)
        >>> bool(torch.allclose(translation(x), 2 * x.flip(1) + 1, atol=1e-4))
        True
    """
    source, target = to_pairs(x, y, minimum=3, method="fit_total_least_squares")
    width = source.shape[1]
    if rank is not None:
        require_count(rank, width, "rank", "the width of x")
    mean_x, mean_y, centred_x, centred_y = centred_pairs(source, target, weights)
    spread_x, spread_y = _spread(centred_x), _spread(centred_y)
    _, s, vh = singular(torch.cat([centred_x / spread_x, centred_y / spread_y], dim=1))
    energy = s.square().cumsum(0)
    kept = int((energy < 0.99 * energy[-1]).sum()) + 1 if rank is None else rank
    directions = vh[: min(kept, width)]
    # Where x is constant, its part of each direction is rounding of a unit vector.
    back = torch.linalg.pinv(directions[:, :width], atol=1e-10, rtol=1e-6)
    matrix = back @ directions[:, width:] * (spread_y / spread_x)
    return finish(matrix, mean_y - mean_x @ matrix, "total_least_squares", source, target)


def _spread(centred: torch.Tensor) -> torch.Tensor:
    """The norm of a centred space (n, d); 1 for a constant one."""
    size = torch.linalg.vector_norm(centred)
    return torch.where(size > 0, size, torch.ones_like(size))


METHODS: dict[str, Fit] = {
    "orthogonal": update_wrapper(partial(fit_orthogonal, scale=False), fit_orthogonal),
    "scaled_orthogonal": fit_scaled_orthogonal,
    "l_orthogonal": fit_l_orthogonal,
    "linear": fit_linear,
    "ridge": fit_ridge,
    "affine": fit_affine,
    "total_least_squares": fit_total_least_squares,
}
"""Name -> fit."""
