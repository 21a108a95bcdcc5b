"""Products and factorisations by NumPy and SciPy on the CPU, by torch elsewhere and where a gradient is wanted.

Their BLAS was never seen slower on the CPU than torch's, and is a seventh faster on AMD processors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg
from scipy.linalg import blas, lapack

# Below this many numbers in the first factor torch's lighter call wins.
_SMALL = 10_000
_ROWS = 256


def _by_torch(*factors: torch.Tensor) -> bool:
    # torch.compile and torch.export follow torch alone, and know no numbers yet.
    if torch.compiler.is_compiling() or any(factor.device.type != "cpu" for factor in factors):
        return True
    wanted = torch.is_grad_enabled() and any(factor.requires_grad for factor in factors)
    return wanted or factors[0].numel() < _SMALL


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The matrix product a @ b; NumPy computes only half of x^T x."""
    if _by_torch(a, b):
        return a @ b
    return torch.from_numpy(np.matmul(a.detach().numpy(), b.detach().numpy()))


def triangular_product(x: torch.Tensor, center: torch.Tensor, lower: torch.Tensor) -> torch.Tensor:
    """(x - center) @ lower for x (n, d), center (d,) and a lower triangular matrix (d, d)."""
    if _by_torch(x, center, lower):
        return (x - center) @ lower
    multiply = blas.dtrmm if x.dtype == torch.float64 else blas.strmm
    moved = np.ascontiguousarray(x.detach().numpy() - center.detach().numpy())
    # Row-major arrays are the transposes of column-major ones: lower^T x^T, in place.
    result = multiply(1.0, lower.detach().numpy().T, moved.T, overwrite_b=1)
    return torch.from_numpy(result.T)


def distances(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Euclidean distances (n, m) of x (n, d) and y (m, d) from inner products; 0, with gradient 0, where rounding left
    nothing or less.
    """
    if not _by_torch(x, y):
        return torch.from_numpy(_plain_distances(x.detach().numpy(), y.detach().numpy()))
    # The factor goes with the smaller side, and what follows is done in place.
    squared = (x @ (-2 * y).T).add_(_square_norm(x)[:, None]).add_(_square_norm(y))
    if not squared.requires_grad:
        return squared.clamp_min_(0).sqrt_()
    positive = squared > 0
    root = torch.where(positive, squared, torch.ones_like(squared)).sqrt()
    return torch.where(positive, root, torch.zeros_like(root))


def _square_norm(x: torch.Tensor) -> torch.Tensor:
    """(n,), for (n, d), without an array of squares; its gradient is right at 0, too."""
    squared: torch.Tensor = torch.linalg.vector_norm(x, dim=1).square()
    return squared


def _plain_distances(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    # SciPy's BLAS and NumPy alone: threads of two libraries that take turns wait for each other.
    multiply = blas.dgemm if x.dtype == np.float64 else blas.sgemm
    squared: NDArray[Any] = multiply(-2.0, y.T, x.T, trans_a=1).T
    norms_x, norms_y = np.einsum("ij,ij->i", x, x)[:, None], np.einsum("ij,ij->i", y, y)
    # What is done to a number is done while it is in the cache.
    for start in range(0, len(x), _ROWS):
        rows = squared[start : start + _ROWS]
        rows += norms_x[start : start + _ROWS]
        rows += norms_y
        np.maximum(rows, 0, out=rows)
        np.sqrt(rows, out=rows)
    return squared


def singular(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The thin singular value decomposition U, s, V^T of x (n, d), without gradient."""
    x = x.detach()
    if _by_torch(x):
        u, s, vh = torch.linalg.svd(x, full_matrices=False)
        return u, s, vh
    # LAPACK wants columns together: a row-major x is the transpose of such an array, and so needs no copy turned over.
    v, s, ut = (torch.from_numpy(part) for part in linalg.svd(x.numpy().T, full_matrices=False, check_finite=False))
    return ut.T, s, v.T


def solve_positive(gram: torch.Tensor, y: torch.Tensor, *, condition: float = float("inf")) -> torch.Tensor | None:
    """The solution of gram @ m = y for a symmetric positive definite gram (d, d), which may be overwritten, without
    gradient.

    None where gram is not positive definite in its dtype, or its condition number is clearly above `condition`.
    """
    gram, y = gram.detach(), y.detach()
    by_torch = _by_torch(gram)
    if by_torch:
        factor, failed = torch.linalg.cholesky_ex(gram)
    else:
        factorise, backward = lapack.get_lapack_funcs(("potrf", "potrs"), (gram.numpy(),))
        found, failed = factorise(gram.numpy().T, lower=1, overwrite_a=1, clean=0)
        factor = torch.from_numpy(found.T)
    # The squared ratio of the diagonal is at most the condition number, and in practice near it.
    pivots = factor.diagonal()
    if int(failed) or float(pivots.max() / pivots.min()) ** 2 > condition:
        return None
    if by_torch:
        return torch.cholesky_solve(y, factor)
    return torch.from_numpy(backward(found, y.numpy(), lower=1)[0])
