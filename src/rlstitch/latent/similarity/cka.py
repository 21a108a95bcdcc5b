"""Centred kernel alignment of two spaces, in [0, 1]: invariant to rotation, translation and scale.

`x` (n, d_x) and `y` (n, d_y) are paired row by row; widths may differ. Computed in float64, a Python float, the same
for any order of the samples. Raises InvalidInputError for unpaired rows, too few of them, NaN or infinity, and for a
constant space, where no measure is defined.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch

from rlstitch.errors import InvalidInputError, require_known
from rlstitch.latent._arrays import Array, centred, require_positive, to_pairs
from rlstitch.latent._linalg import product

_BLOCK = 1024  # rows of a kernel or distance matrix that exist at one time
_SAMPLED = 2048  # rows whose distances give the median


def linear_cka(x: Array, y: Array, *, debiased: bool = False) -> float:
    """Centred kernel alignment with the linear kernel, in [0, 1]; debiased, below 1 and around 0 for unrelated spaces.

    Kornblith et al. 2019 (1905.00414), eq. 5; debiased with the unbiased HSIC of Song et al. 2012, eq. 5. The n x n
    Gram matrices are not made (but where n is below both widths, and they are the smaller ones): their sums are
    written with X^T Y, X^T X, Y^T Y and the squared lengths of the rows, O(n d^2) time and O(n d + d^2) memory. Needs
    2 rows, 4 where debiased.

    Args:
        x: samples `(n, d_x)`.
        y: the same samples in another space, `(n, d_y)`.
        debiased: use the unbiased HSIC.

    Returns:
        In [0, 1]; debiased, at most 1.

    Raises:
        InvalidInputError: for unpaired rows, too few of them, a constant space, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> turned = 5 * x.flip(1) + 1
        >>> round(linear_cka(x, turned), 6)
        1.0
    """
    a, b = _centred_pair(x, y, minimum=4 if debiased else 2, method="CKA")
    return _alignment(*(_linear_hsic(p, q, debiased) for p, q in ((a, b), (a, a), (b, b))))


def minibatch_cka(
    batches: Iterable[tuple[Array, Array]], *, kernel: Literal["linear", "rbf"] = "linear", bandwidth: float = 1.0
) -> float:
    """CKA of data that comes in batches (x_b, y_b): unbiased HSIC averaged over the batches, then the ratio.

    Nguyen et al. 2020 (2010.15327), eq. 2-3. The expectation does not depend on the batch size. Each batch needs 4
    rows. `kernel` rbf takes Gaussian kernels as `rbf_cka` does, their widths from the medians of the first batch, which
    should be drawn as the others are. Memory is that of a batch.

    Args:
        batches: pairs of batches `(b, d_x)`, `(b, d_y)`, of at least 4 rows.
        kernel: `linear` or `rbf`.
        bandwidth: of Gaussian kernels, in units of the median distances of the first batch.

    Returns:
        At most 1.

    Raises:
        UnknownNameError: for another kernel.
        InvalidInputError: for no batch, and as `linear_cka`.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> batches = [(x[:10], 2 * x[:10]), (x[10:], 2 * x[10:])]
        >>> round(minibatch_cka(batches), 6), round(minibatch_cka(batches, kernel="rbf"), 6)
        (1.0, 1.0)
    """
    require_known("kernel", kernel, ["linear", "rbf"])
    require_positive(bandwidth, "bandwidth")
    sums = torch.zeros(3, dtype=torch.float64)
    count, widths = 0, (0.0, 0.0)
    for x, y in batches:
        # The first batch sets the widths of Gaussian kernels, and so must not be constant.
        first = kernel == "rbf" and count == 0
        a, b = _centred_pair(x, y, minimum=4, method="minibatch CKA", constant_allowed=not first)
        if first:
            widths = bandwidth * _median_distance(a), bandwidth * _median_distance(b)
        pairs = ((a, b), (a, a), (b, b))
        hsics = _rbf_hsics(a, b, widths, True) if kernel == "rbf" else [_linear_hsic(p, q, True) for p, q in pairs]
        sums += torch.tensor(hsics, dtype=torch.float64)
        count += 1
    if count == 0:
        raise InvalidInputError("batches must hold at least 1 batch, found none")
    return _alignment(*(sums / count).tolist())


def rbf_cka(x: Array, y: Array, *, bandwidth: float = 1.0, debiased: bool = False) -> float:
    """Centred kernel alignment with Gaussian kernels whose width is `bandwidth` times the median distance of each
    space.

    Kornblith et al. 2019 (1905.00414), section 3. Quadratic in time; in memory n x 1,024, as the kernels are made in
    blocks of rows. Above 2,048 samples the median is that of 2,048 evenly spaced rows.

    Args:
        x: samples `(n, d_x)`.
        y: the same samples in another space, `(n, d_y)`.
        bandwidth: of the kernels, in units of the median distance of each space.
        debiased: use the unbiased HSIC.

    Returns:
        In [0, 1]; debiased, at most 1.

    Raises:
        InvalidInputError: for unpaired rows, too few of them, a constant space, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> round(rbf_cka(x, 3 * x.flip(1) + 1), 6)
        1.0
        >>> rbf_cka(x, x**3) < 1
        True
    """
    require_positive(bandwidth, "bandwidth")
    a, b = _centred_pair(x, y, minimum=4 if debiased else 2, method="CKA")
    widths = bandwidth * _median_distance(a), bandwidth * _median_distance(b)
    return _alignment(*_rbf_hsics(a, b, widths, debiased))


def _centred_pair(
    x: Array, y: Array, *, minimum: int, method: str, constant_allowed: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = (space.detach().double() for space in to_pairs(x, y, minimum=minimum, method=method))
    return centred(a, "x", constant_allowed=constant_allowed), centred(b, "y", constant_allowed=constant_allowed)


def _linear_hsic(a: torch.Tensor, b: torch.Tensor, debiased: bool) -> float:
    """HSIC of centred a, b with linear kernels, up to a factor that cancels in CKA."""
    if len(a) <= min(a.shape[1], b.shape[1]):
        inner = float(
            ((a @ a.T) * (b @ b.T)).sum()
        )  # fewer samples than dimensions: the Gram matrices are the smaller ones
    else:
        inner = float(product(a.T, b).square().sum())
    if not debiased:
        return inner
    # Off-diagonal sums of K = A A^T, whose rows sum to 0 after centring: each row then sums to minus its diagonal
    # entry.
    diagonal_a, diagonal_b = a.square().sum(1), b.square().sum(1)
    return _hsic(inner - float(diagonal_a @ diagonal_b), -diagonal_a, -diagonal_b, True)


def _rbf_hsics(a: torch.Tensor, b: torch.Tensor, widths: tuple[float, float], debiased: bool) -> list[float]:
    """HSIC of (a, b), (a, a), (b, b) with Gaussian kernels, made in blocks of rows."""
    n = len(a)
    inner = torch.zeros(3, dtype=torch.float64, device=a.device)
    rows_a, rows_b = torch.zeros(n).to(a), torch.zeros(n).to(a)
    for start in range(0, n, _BLOCK):
        k = torch.exp(-0.5 * (torch.cdist(a[start : start + _BLOCK], a) / widths[0]) ** 2)
        m = torch.exp(-0.5 * (torch.cdist(b[start : start + _BLOCK], b) / widths[1]) ** 2)
        # cdist leaves rounding on the diagonal, which is 1 in a Gaussian kernel and unused where debiased.
        own = torch.arange(len(k), device=a.device)
        k[own, start + own] = m[own, start + own] = 0.0 if debiased else 1.0
        inner += torch.stack([(k * m).sum(), (k * k).sum(), (m * m).sum()])
        rows_a[start : start + _BLOCK], rows_b[start : start + _BLOCK] = k.sum(1), m.sum(1)
    pairs = ((inner[0], rows_a, rows_b), (inner[1], rows_a, rows_a), (inner[2], rows_b, rows_b))
    return [_hsic(float(s), p, q, debiased) for s, p, q in pairs]


def _hsic(inner: float, rows_a: torch.Tensor, rows_b: torch.Tensor, debiased: bool) -> float:
    """HSIC from sum(K * L) and the row sums of K and L (zero diagonals where debiased: Song et al. 2012, eq. 5)."""
    n = len(rows_a)
    total = float(rows_a.sum() * rows_b.sum())
    cross = float(rows_a @ rows_b)
    if debiased:
        return (inner + total / ((n - 1) * (n - 2)) - 2 * cross / (n - 2)) / (n * (n - 3))
    return inner - 2 * cross / n + total / n**2


def _alignment(cross: float, own_x: float, own_y: float) -> float:
    if own_x <= 0 or own_y <= 0:
        raise InvalidInputError(
            "x and y must vary between samples, found a space whose HSIC with itself is not above 0"
        )
    return cross / math.sqrt(own_x * own_y)


def _median_distance(space: torch.Tensor) -> float:
    if len(space) > _SAMPLED:
        space = space[torch.linspace(0, len(space) - 1, _SAMPLED, device=space.device).long()]
    distances = torch.nn.functional.pdist(space)
    median = float(distances.median())
    if median > 0:
        return median
    return float(distances[distances > 0].median())  # more than half of the pairs are duplicates
