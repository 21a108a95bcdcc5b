"""Products and factorisations by NumPy and SciPy on the CPU, by torch elsewhere and where a gradient is wanted.

Their BLAS was never seen slower on the CPU than torch's, and is a seventh faster on AMD processors.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import linalg
from scipy.linalg import blas, lapack

# Below this many numbers in the first factor torch's lighter call wins.
_SMALL = 10_000


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


def triangular_product(x: torch.Tensor, lower: torch.Tensor) -> torch.Tensor:
    """x @ lower for x (n, d) and a lower triangular matrix (d, d); x may be overwritten."""
    if _by_torch(x, lower):
        return x @ lower
    multiply = blas.dtrmm if x.dtype == torch.float64 else blas.strmm
    # Row-major arrays are the transposes of column-major ones: lower^T x^T, in place.
    result = multiply(1.0, lower.detach().numpy().T, x.detach().contiguous().numpy().T, overwrite_b=1)
    return torch.from_numpy(result.T)


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
