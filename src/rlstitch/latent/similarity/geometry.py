"""How alike two spaces are in their geometry: Procrustes distance, pairwise distances, common neighbours, cosines.

`x` (n, d_x) and `y` (n, d_y) are paired row by row; widths may differ. Every measure is computed in float64, returns a
Python float, and does not depend on the order of the samples. The Procrustes distance is invariant to rotation,
translation and scale; RSA and mutual neighbours to rotation (and, by their distance, scale or translation). Raises
InvalidInputError for unpaired rows, too few of them, NaN or infinity, and for a constant space, where no measure is
defined.
"""

from __future__ import annotations

import math
from typing import Literal

import scipy.stats
import torch

from rlstitch.errors import InvalidInputError, require_known
from rlstitch.latent._arrays import Array, centred, require_count, to_pairs
from rlstitch.latent.retrieval import Metric, nearest

Distance = Literal["euclidean", "cosine", "correlation"]

_MARKS = 2**24  # marks of neighbours at one time, a byte each


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
    source, target = to_pairs(x, y, minimum=2, method="the Procrustes distance")
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
    a, b = to_pairs(x, y, minimum=3, method="RSA")
    first, second = _pairwise(a.double(), distance, "x"), _pairwise(b.double(), distance, "y")
    for distances, name in ((first, "x"), (second, "y")):
        # Before ranking, which would turn rounding into an order. Cosine distances are of the size of 1.
        size = float(distances.norm()) if distance == "euclidean" else len(distances) ** 0.5
        if float((distances - distances.mean()).norm()) <= 1e-12 * size:
            raise InvalidInputError(f"{name} must have distances that differ, found all samples equally far apart")
    if rank:
        first, second = (torch.from_numpy(scipy.stats.rankdata(d.detach().cpu().numpy())) for d in (first, second))
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
    a, b = to_pairs(x, y, minimum=2, method="mutual neighbours")
    require_count(k, len(a) - 1, "k", "one less than the number of samples")
    first = nearest(a, a, k, metric=metric, exclude_self=True).indices
    second = nearest(b, b, k, metric=metric, exclude_self=True).indices
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
    a, b = to_pairs(x, y, minimum=1, method="the matched cosine")
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
