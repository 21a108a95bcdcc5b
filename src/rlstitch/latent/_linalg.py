"""Products and factorisations by NumPy and SciPy on the CPU, by torch elsewhere and where a gradient is wanted.

Their BLAS was never seen slower on the CPU than torch's, and is a seventh faster on AMD processors.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg
from scipy.linalg import blas, lapack

from rlstitch.latent._arrays import negligible

# Below this many numbers in the first factor torch's lighter call wins.
_SMALL = 10_000
# Rows whose factors are made at once, and rows that are finished while they are in the cache.
_BLOCK, _ROWS = 16_384, 256


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let torch work in one thread; also a decorator, for a fit whose work is done by the BLAS of other libraries.

    Torch's threads wait actively for more work, which takes the processors from the threads of the others: a ridge fit
    of 3,000 pairs × 512 took two to three times as long. The number of threads belongs to the whole process, so it
    stays as it is where other Python threads run.
    """
    if threading.active_count() > 1:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _by_torch(*factors: torch.Tensor) -> bool:
    # torch.compile and torch.export follow torch alone, and know no numbers yet.
    if torch.compiler.is_compiling() or any(factor.device.type != "cpu" for factor in factors):
        return True
    differentiable = torch.is_grad_enabled() and any(factor.requires_grad for factor in factors)
    return differentiable or factors[0].numel() < _SMALL


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The matrix product a @ b; NumPy computes only half of x^T x."""
    if _by_torch(a, b):
        return a @ b
    return torch.from_numpy(np.matmul(a.detach().numpy(), b.detach().numpy()))


def cosines(x: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
    """The cosines (n, k), in [-1, 1], of the rows of x (n, d) with those of units (k, d), whose length is 1; 0 for rows
    of no length.
    """
    # Below this the squares in a norm have lost their digits.
    smallest = negligible(x.dtype) ** 0.5
    if _by_torch(x, units):
        norms = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        scaled = x / torch.where(norms > smallest, norms, torch.full_like(norms, torch.inf))
        # Rounding may step past 1 by an ulp; clamp passes the gradient inside the bounds.
        return (scaled @ units.T).clamp_(-1, 1)
    rows = x.detach().numpy()
    # Scaled after the product: that takes no copy of x, and is done while the result is in the cache.
    result: NDArray[Any] = np.matmul(rows, units.detach().numpy().T)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > smallest)
    for start in range(0, len(result), _ROWS):
        block = result[start : start + _ROWS]
        block *= scale[start : start + _ROWS]
        np.clip(block, -1, 1, out=block)
    return torch.from_numpy(result)


def distances(
    x: torch.Tensor, y: torch.Tensor, center: torch.Tensor, lower: torch.Tensor | None = None
) -> torch.Tensor:
    """Euclidean distances (n, m), from inner products, of (x - center) @ lower and y: x (n, d), center (d,), a lower
    triangular matrix (d, d) or none, y (m, d), to which the same has been done. 0, with gradient 0, where rounding left
    nothing or less.
    """
    if not _by_torch(x, y, center):
        triangle = None if lower is None else lower.detach().numpy()
        x_array, y_array, center_array = (tensor.detach().numpy() for tensor in (x, y, center))
        return torch.from_numpy(_plain_distances(x_array, y_array, center_array, triangle))
    x = x - center if lower is None else (x - center) @ lower
    # The factor goes with the smaller side, and what follows is done in place.
    squared = (x @ (-2 * y).T).add_(_square_norm(x)[:, None]).add_(_square_norm(y))
    if not squared.requires_grad:
        return squared.clamp_min_(0).sqrt_()
    positive = ~(squared <= 0)  # NaN is passed on
    root = torch.where(positive, squared, torch.ones_like(squared)).sqrt()
    return torch.where(positive, root, torch.zeros_like(root))


def _square_norm(x: torch.Tensor) -> torch.Tensor:
    """(n,), for (n, d), without an array of squares; its gradient is right at 0, too."""
    return torch.linalg.vector_norm(x, dim=1).square()


def _plain_distances(
    x: NDArray[Any], y: NDArray[Any], center: NDArray[Any], lower: NDArray[Any] | None
) -> NDArray[Any]:
    # SciPy's BLAS and NumPy alone: threads of two libraries that take turns wait for each other.
    multiply, triangular = blas.get_blas_funcs(("gemm", "trmm"), (x,))
    result: NDArray[Any] = np.empty((len(x), len(y)), x.dtype)
    norms_y = np.einsum("ij,ij->i", y, y)
    for start in range(0, len(x), _BLOCK):
        moved = np.subtract(x[start : start + _BLOCK], center, order="C").T
        if lower is not None:
            # Row-major arrays are the transposes of column-major ones: lower^T x^T, in place.
            moved = triangular(1.0, lower.T, moved, overwrite_b=1)
        block = result[start : start + _BLOCK]
        np.add(np.einsum("ji,ji->i", moved, moved)[:, None], norms_y, out=block)
        multiply(-2.0, y.T, moved, trans_a=1, beta=1.0, c=block.T, overwrite_c=1)
        # What is done to a number is done while it is in the cache.
        for first in range(0, len(block), _ROWS):
            rows = block[first : first + _ROWS]
            np.maximum(rows, 0, out=rows)
            np.sqrt(rows, out=rows)
    return result


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
        cholesky, failed = factorise(gram.numpy().T, lower=1, overwrite_a=1, clean=0)
        factor = torch.from_numpy(cholesky.T)
    # The squared ratio of the diagonal is at most the condition number, and in practice near it.
    pivots = factor.diagonal()
    if int(failed) or float(pivots.max() / pivots.min()) ** 2 > condition:
        return None
    if by_torch:
        return torch.cholesky_solve(y, factor)
    return torch.from_numpy(backward(cholesky, y.numpy(), lower=1)[0])


def least_squares(x: torch.Tensor, y: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The least-squares solution of x @ m = y of least norm, in float64: (d_x, d_y).

    `dtype`: what the data came in, which tells how small a singular value is rounding.
    """
    # Rounding of the data grows as the data with more rows: their number says nothing.
    tolerance = x.shape[1] * torch.finfo(dtype).eps
    x, y = x.double(), y.double()
    # Not torch.linalg.lstsq: its gelsy (torch 2.13) misses the rank where columns are 0, and its gelsd is slower than
    # this.
    if len(x) >= 2 * x.shape[1]:
        q, x = torch.linalg.qr(x)
        y = product(q.T, y)
    u, s, vh = singular(x)
    kept = s > s[0] * tolerance
    inverse = torch.where(kept, 1 / torch.where(kept, s, torch.ones_like(s)), torch.zeros_like(s))
    return vh.T @ (inverse[:, None] * (u.T @ y))
