"""Linear and affine translations by (ridge) least squares, in float64 through one eigendecomposition."""

from __future__ import annotations

from typing import Literal

import torch

from rlstitch.errors import InvalidInputError
from rlstitch.latent._arrays import Array, to_pairs, to_weights
from rlstitch.latent.translation import Translation, finish

Ridge = float | Literal["cv"]

# Strengths tried by "cv", as multiples of the largest eigenvalue of the Gram matrix: three a decade.
_GRID = torch.logspace(-10, 2, 37, dtype=torch.float64)


def fit_linear(x: Array, y: Array, *, weights: Array | None = None) -> Translation:
    """Least squares without bias: x (n, d_x) @ matrix ~ y (n, d_y). At least 2 pairs.

    With fewer pairs than dimensions, or dependent ones, the solution of least norm: it fits the pairs and may not
    carry over to others; `fit_ridge` does better there.
    """
    source, target = to_pairs(x, y, method="fit_linear")
    w = to_weights(weights, len(source), source)
    root = None if w is None else w.sqrt()[:, None]
    if root is None:
        matrix = solve(source, target, source.dtype)
    else:
        matrix = solve(source * root, target * root, source.dtype)
    return finish(matrix, target.new_zeros(target.shape[1]), "linear", source, target)


def fit_ridge(x: Array, y: Array, *, ridge: Ridge = "cv", weights: Array | None = None) -> Translation:
    """Ridge regression without bias; `ridge` as in `fit_affine`. At least 2 pairs."""
    source, target = to_pairs(x, y, method="fit_ridge")
    w = to_weights(weights, len(source), source)
    matrix = _ridge(source.double(), target.double(), w, ridge, free=0, dtype=source.dtype)
    return finish(matrix, target.new_zeros(target.shape[1]), "ridge", source, target)


def fit_affine(x: Array, y: Array, *, ridge: Ridge = "cv", weights: Array | None = None) -> Translation:
    """Ridge regression about the means: x (n, d_x) @ matrix + bias ~ y (n, d_y); the bias is not penalised. At least
    3 pairs.

    `ridge`: the penalty on the squared entries of the matrix (as scikit-learn's alpha; 0 is least squares of least
    norm), or "cv": the strength that minimises the generalised cross-validation error (Golub, Heath and Wahba, 1979),
    which takes the pairs to be different; repeated pairs make it too small. `weights` (n,) weigh the pairs and are
    scaled to sum to n.
    """
    source, target = to_pairs(x, y, minimum=3, method="fit_affine")
    w = to_weights(weights, len(source), source)
    wide_x, wide_y = source.double(), target.double()
    share = wide_x.new_full((len(wide_x),), 1 / len(wide_x)) if w is None else w.double() / len(wide_x)
    mean_x, mean_y = share @ wide_x, share @ wide_y
    matrix = _ridge(wide_x - mean_x, wide_y - mean_y, w, ridge, free=1, dtype=source.dtype)
    return finish(matrix, mean_y - mean_x @ matrix, "affine", source, target)


def solve(x: torch.Tensor, y: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The least-squares solution of x @ m = y of least norm, in float64: (d_x, d_y).

    `dtype`: what the data came in, which tells how small a singular value is rounding.
    """
    tolerance = max(x.shape) * torch.finfo(dtype).eps
    x, y = x.double(), y.double()
    # Not torch.linalg.lstsq: its gelsy (torch 2.13) misses the rank where columns are 0, and its gelsd is slower than
    # this.
    if len(x) >= 2 * x.shape[1]:
        q, x = torch.linalg.qr(x)
        y = q.T @ y
    u, s, vh = torch.linalg.svd(x, full_matrices=False)
    kept = s > s[0] * tolerance
    inverse = torch.where(kept, 1 / torch.where(kept, s, torch.ones_like(s)), torch.zeros_like(s))
    solution: torch.Tensor = vh.T @ (inverse[:, None] * (u.T @ y))
    return solution


def _ridge(
    x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor | None, ridge: Ridge, *, free: int, dtype: torch.dtype
) -> torch.Tensor:
    """The ridge solution for float64 rows; `free` parameters were fitted without a penalty before."""
    if not (ridge == "cv" or (isinstance(ridge, int | float) and 0 <= ridge < float("inf"))):
        raise InvalidInputError(f"ridge must be 'cv' or a finite number of at least 0, found {ridge!r}")
    if weights is not None:
        root = weights.double().sqrt()[:, None]
        x, y = x * root, y * root
    if ridge == 0:
        return solve(x, y, dtype)
    n, d = x.shape
    if ridge != "cv":
        # The smaller of the two Gram matrices; both give the same solution.
        gram = x.T @ x if d <= n else x @ x.T
        gram.diagonal().add_(float(ridge))
        factor = torch.linalg.cholesky(gram)
        solution: torch.Tensor = torch.cholesky_solve(x.T @ y if d <= n else y, factor)
        return solution if d <= n else x.T @ solution
    return _ridge_by_gcv(x, y, free, dtype)


def _ridge_by_gcv(x: torch.Tensor, y: torch.Tensor, free: int, dtype: torch.dtype) -> torch.Tensor:
    n, d = x.shape
    if d <= n:
        values, axes = torch.linalg.eigh(x.T @ x)
    else:
        values, axes = torch.linalg.eigh(x @ x.T)
    values = values.clamp_min(0)
    largest = values[-1]
    if not bool(largest > 0):
        return x.new_zeros(d, y.shape[1])
    # Directions below this are rounding; their coordinates would be noise over nearly nothing.
    kept = values > largest * (max(n, d) * torch.finfo(torch.float64).eps + torch.finfo(dtype).eps ** 2)
    values, axes = values[kept], axes[:, kept]
    # Coordinates of y in the left singular vectors of x: u^T y.
    seen = (axes.T @ (x.T @ y)) / values.sqrt()[:, None] if d <= n else axes.T @ y
    energy = seen.square().sum(1)
    unseen = (y.square().sum() - energy.sum()).clamp_min(0)
    strengths = _GRID.to(values) * largest
    shrunk = strengths[:, None] / (values + strengths[:, None])
    error = (shrunk.square() * energy).sum(1) + unseen
    # n - free - trace(H), per pair; one free parameter is the mean.
    left = ((n - free - len(values)) + shrunk.sum(1)).clamp_min(torch.finfo(x.dtype).tiny)
    best = strengths[(error / left.square()).argmin()]
    matrix: torch.Tensor = axes @ (seen * ((values.sqrt() if d <= n else 1) / (values + best))[:, None])
    return matrix if d <= n else x.T @ matrix


METHODS = {"linear": fit_linear, "ridge": fit_ridge, "affine": fit_affine}
