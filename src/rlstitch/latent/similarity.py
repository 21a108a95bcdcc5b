"""How alike two spaces are: kernel alignment, canonical correlation, distances, neighbours, cosines.

`x` (n, d_x) and `y` (n, d_y) are paired row by row; widths may differ. Every measure is computed in float64, returns a
Python float, and does not depend on the order of the samples. CKA and the Procrustes distance are invariant to
rotation, translation and scale; SVCCA and PWCCA to more linear maps; RSA and mutual neighbours to rotation (and, by
their distance, scale or translation). Raises InvalidInputError for unpaired rows, too few of them, NaN or infinity, and
for a constant space, where no measure is defined.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch

from rlstitch.errors import InvalidInputError, require_known
from rlstitch.latent._arrays import Array, centred, paired, require_count, require_positive
from rlstitch.latent._linalg import product
from rlstitch.latent.retrieval import Metric, nearest

Distance = Literal["euclidean", "cosine", "correlation"]
_MARKS = 2**24  # marks of neighbours at one time, a byte each

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
    a, b = (space.detach().double() for space in paired(x, y, minimum=minimum, method=method))
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
    return min(cross / math.sqrt(own_x * own_y), 1.0)  # above it by rounding alone


def _median_distance(space: torch.Tensor) -> float:
    if len(space) > _SAMPLED:
        space = space[torch.linspace(0, len(space) - 1, _SAMPLED, device=space.device).long()]
    distances = torch.nn.functional.pdist(space)
    median = float(distances.median())
    if median > 0:
        return median
    return float(distances[distances > 0].median())  # more than half of the pairs are duplicates


def svcca(x: Array, y: Array, *, variance: float = 0.99) -> float:
    """Mean canonical correlation of the principal directions that hold `variance` of each space, in [0, 1].

    Raghu et al. 2017 (1706.05806). At `variance` 1 every direction that is not rounding is kept, and the value does not
    change under invertible linear maps of either space; below 1 it changes, as principal directions do.

    Args:
        x: samples `(n, d_x)`.
        y: the same samples in another space, `(n, d_y)`.
        variance: share of the variance that is kept, in (0, 1].

    Returns:
        In [0, 1].

    Raises:
        InvalidInputError: where the kept directions reach n - 1, and as `linear_cka`.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> sheared = x @ torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 9.0]])
        >>> round(svcca(x, sheared, variance=1.0), 6)
        1.0
    """
    if not 0 < variance <= 1:
        raise InvalidInputError(f"variance must lie in (0, 1], found {variance!r}")
    p, q = _bases(x, y, variance, "SVCCA")
    return float(torch.linalg.svdvals(p.T @ q).clamp(max=1.0).mean())


def pwcca(x: Array, y: Array) -> float:
    """Mean canonical correlation, weighted by how much of x each canonical direction accounts for, in [0, 1].

    Morcos et al. 2018 (1806.05759), eq. 3. Not symmetric: the weights are sums of |direction . column of x|, so a
    rotation of x changes them; any invertible linear map of y does not.

    Args:
        x: samples `(n, d_x)`.
        y: the same samples in another space, `(n, d_y)`.

    Returns:
        In [0, 1].

    Raises:
        InvalidInputError: where the kept directions reach n - 1, and as `linear_cka`.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> sheared = x @ torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 9.0]])
        >>> round(pwcca(x, sheared), 6)
        1.0
    """
    p, q = _bases(x, y, 1.0, "PWCCA")
    left, correlations, _ = torch.linalg.svd(p.T @ q, full_matrices=False)
    source = paired(x, y)[0].detach().double()
    weights = ((p @ left).T @ (source - source.mean(0))).abs().sum(1)
    return float(weights @ correlations.clamp(max=1.0) / weights.sum())


def _bases(x: Array, y: Array, variance: float, method: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Orthonormal bases (n, r) of the kept directions of each centred space."""
    source, target = paired(x, y, minimum=3, method=method)
    bases = []
    for space, name in ((source, "x"), (target, "y")):
        left, values, _ = torch.linalg.svd(centred(space.detach().double(), name), full_matrices=False)
        rank = int((values > values[0] * max(1e-10, 8 * torch.finfo(space.dtype).eps)).sum())
        share = values.square().cumsum(0) / values.square().sum()
        kept = rank if variance == 1 else min(rank, int((share < variance - 1e-12).sum()) + 1)
        if kept >= len(space) - 1:
            raise InvalidInputError(
                f"{method} needs more samples than directions, found {len(space)} samples and {kept} directions of"
                f" {name}: take more samples, or fewer directions"
            )
        bases.append(left[:, :kept])
    return bases[0], bases[1]


def procrustes_distance(x: Array, y: Array) -> float:
    """Distance after the best translation, scaling to unit Frobenius norm and rotation, in [0, sqrt(2)]; a metric on
    shapes.

    sqrt(2 - 2 ||X^T Y||_*), Williams et al. 2021 (2110.14739), and the square root of Ding et al. 2021 (2108.01661),
    eq. 3.

    Args:
        x: samples `(n, d_x)`.
        y: the same samples in another space, `(n, d_y)`.

    Returns:
        In [0, sqrt(2)].

    Raises:
        InvalidInputError: for unpaired rows, too few of them, a constant space, NaN or infinity.

    Examples:
        >>> square = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
        >>> round(procrustes_distance(square, 4 * square.flip(1) + 2), 6)
        0.0
        >>> round(procrustes_distance(square, square * torch.tensor([1.0, 0.0])), 3)
        0.765
    """
    source, target = paired(x, y, minimum=2, method="the Procrustes distance")
    a, b = centred(source.detach().double(), "x"), centred(target.detach().double(), "y")
    nuclear = torch.linalg.svdvals((a / a.norm()).T @ (b / b.norm())).sum()
    return math.sqrt(max(0.0, 2.0 - 2.0 * float(nuclear)))


def rsa(x: Array, y: Array, *, distance: Distance = "correlation", rank: bool = True) -> float:
    """Representational similarity: correlation of the two lists of pairwise distances, in [-1, 1].

    Kriegeskorte et al. 2008. Spearman's correlation where `rank`, Pearson's otherwise. Quadratic in memory in the
    number of samples: the n (n - 1) / 2 distances are what is compared. Needs 3 rows. Distance "correlation" is
    invariant to what is added to a whole row, "cosine" to scale, "euclidean" to translation (and scale, as is every
    correlation).

    Args:
        x: samples `(n, d_x)`.
        y: the same samples in another space, `(n, d_y)`.
        distance: `correlation`, `cosine` or `euclidean`.
        rank: Spearman's correlation instead of Pearson's.

    Returns:
        In [-1, 1].

    Raises:
        UnknownNameError: for another distance.
        InvalidInputError: for unpaired rows, too few of them, a constant space, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> round(rsa(x, 3 * x.flip(1) + 1, distance="euclidean"), 6)
        1.0
    """
    a, b = paired(x, y, minimum=3, method="RSA")
    first, second = _pairwise(a.double(), distance, "x"), _pairwise(b.double(), distance, "y")
    for distances, name in ((first, "x"), (second, "y")):
        # Before ranking, which would turn rounding into an order. Cosine distances are of the size of 1.
        size = float(distances.norm()) if distance == "euclidean" else len(distances) ** 0.5
        if float((distances - distances.mean()).norm()) <= 1e-12 * size:
            raise InvalidInputError(f"{name} must have distances that differ, found all samples equally far apart")
    if rank:
        from scipy.stats import rankdata  # half a second, which the other measures need not spend

        first, second = (torch.from_numpy(rankdata(d.detach().cpu().numpy())) for d in (first, second))
    first, second = first - first.mean(), second - second.mean()
    return float(first @ second) / float(first.norm() * second.norm())


def mutual_knn(x: Array, y: Array, k: int, *, metric: Metric = "cosine") -> float:
    """Mean share of each sample's k nearest neighbours that the two spaces have in common, in [0, 1].

    Huh et al. 2024 (2405.07987), section 2. Unrelated spaces give about k / (n - 1). k lies in [1, n - 1].

    Args:
        x: samples `(n, d_x)`.
        y: the same samples in another space, `(n, d_y)`.
        k: neighbours, in [1, n - 1].
        metric: `cosine`, `dot` or `euclidean`.

    Returns:
        In [0, 1].

    Raises:
        InvalidInputError: for unpaired rows, too few of them, a constant space, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> mutual_knn(x, 3 * x.flip(1), 5)
        1.0
        >>> mutual_knn(x, x.flip(0), 5) < 1
        True
    """
    a, b = paired(x, y, minimum=2, method="mutual neighbours")
    require_count(k, len(a) - 1, "k", "one less than the number of samples")
    for space, name in ((a, "x"), (b, "y")):
        centred(space.detach().double(), name)  # of equal samples none is nearer
    first, second = (nearest(s, s, k, metric=metric, exclude_self=True).indices for s in (a.double(), b.double()))
    # In blocks of few enough rows that a row of marks, one a sample, does not add up to a matrix of all.
    rows, shared = max(1, _MARKS // len(a)), 0
    for start in range(0, len(a), rows):
        own, other = first[start : start + rows], second[start : start + rows]
        marks = torch.zeros(len(own), len(a), dtype=torch.bool, device=a.device)
        shared += int(marks.scatter_(1, own, True).gather(1, other).sum())
    return shared / (k * len(a))


def matched_cosine(x: Array, y: Array) -> float:
    """Mean cosine of the matched rows of two equally wide spaces, in [-1, 1]: how far two relative spaces agree
    (2209.15430, section 4.1).

    A zero vector has no direction: its cosine counts as 0.

    Args:
        x: samples `(n, d_x)`.
        y: the same samples in another space of the same width.

    Returns:
        In [-1, 1].

    Raises:
        InvalidInputError: for unpaired rows, widths that differ, NaN or infinity.

    Examples:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> matched_cosine(x, 3 * x)
        1.0
        >>> matched_cosine(x, x.flip(0))
        0.0
    """
    a, b = paired(x, y, minimum=1, method="the matched cosine")
    if a.shape[1] != b.shape[1]:
        raise InvalidInputError(f"x and y must be equally wide, found shapes {tuple(a.shape)} and {tuple(b.shape)}")
    return float(torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=1, eps=1e-300).mean())


def _pairwise(space: torch.Tensor, distance: Distance, name: str) -> torch.Tensor:
    known = ("euclidean", "cosine", "correlation")
    require_known("distance", distance, known)
    if distance == "euclidean":
        return torch.nn.functional.pdist(space)
    if distance == "correlation":
        space = space - space.mean(1, keepdim=True)
    lengths = space.norm(dim=1, keepdim=True)
    flat = int((lengths <= 1e-12 * lengths.max()).sum())
    if flat:
        raise InvalidInputError(f"{name} must have no zero vector (no constant row for correlation), found {flat}")
    unit = space / lengths
    above = torch.triu_indices(len(unit), len(unit), offset=1, device=unit.device)
    cosines: torch.Tensor = (unit @ unit.T)[above[0], above[1]]
    return 1.0 - cosines
