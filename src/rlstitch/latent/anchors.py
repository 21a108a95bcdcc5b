"""Choosing anchors among points (n, d), and how well they cover a space.

Every choice returns k different row numbers (k,), int64, as the kind of `points`. Anchors: Moschella et al. 2022
(2209.15430), section 3 and appendix A. Deterministic given the seed. Memory is linear in n.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch

from rlstitch.errors import UnknownNameError, require_known
from rlstitch.latent._arrays import (
    A,
    Array,
    as_array,
    centred,
    convert,
    like,
    require_count,
    same_width,
    to_numpy,
    to_tensor,
)
from rlstitch.latent.normalization import unit_rows
from rlstitch.latent.projection.registry import projector

Distance: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# Above this many points, k-medoids fits its centres on mini-batches.
LARGE = 20_000
# Rows whose distances farthest-point sampling computes ahead of need.
_AHEAD = 31


def choose_random(points: A, k: int, seed: int = 0) -> A:
    """k rows drawn without replacement, in the order drawn.

    Args:
        points: candidates `(n, d)`.
        k: number of anchors, in [1, n].
        seed: random seed.

    Returns:
        Different row numbers int64 `(k,)`, of the kind of points.

    Raises:
        InvalidInputError: for k outside [1, n], NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> rows = choose_random(x, 5, seed=1)
        >>> rows.shape, len(set(rows.tolist()))
        (torch.Size([5]), 5)
    """
    tensor = _checked(points, k)
    return like(_draw(len(tensor), k, seed).to(tensor.device), points)


def choose_farthest(points: A, k: int, *, metric: str | Distance = "euclidean", seed: int = 0) -> A:
    """Farthest-point sampling: a random first row, then always the row farthest from those chosen (Gonzalez, 1985).

    `metric`: euclidean, cosine (1 - cos), abs_cosine (1 - |cos|), l1, or a function (points (n, d), one (d,)) -> (n,).
    Duplicates of chosen points come last, and so do rows of no length, which have no direction, under the cosines.

    Args:
        points: candidates `(n, d)`.
        k: number of anchors, in [1, n].
        metric: `euclidean`, `cosine`, `abs_cosine`, `l1`, or a function `(n, d)`, `(d,)` -> `(n,)`.
        seed: random seed of the first row.

    Returns:
        Different row numbers int64 `(k,)`, of the kind of points.

    Raises:
        UnknownNameError: for another metric.
        InvalidInputError: for k outside [1, n], NaN or infinity.

    Examples:
        >>> points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [9.0, 0.0], [10.0, 0.0]])
        >>> (points[choose_farthest(points, 2), 0] > 5).sum()  # one of either end, whatever the seed
        tensor(1)
    """
    tensor = _checked(points, k).detach()
    distances, ahead, floor = _distances(tensor, metric)
    chosen = [int(_draw(len(tensor), 1, seed)[0])]
    nearest = torch.full((len(tensor),), torch.inf, dtype=tensor.dtype, device=tensor.device)
    known: dict[int, torch.Tensor] = {}
    while len(chosen) < k:
        last = chosen[-1]
        if last not in known:
            # The farthest rows now are likely the next ones: their distances come in one product of matrices, which
            # reads the points once for all of them. Rows that turn out not to be next cost nothing but that.
            rows = torch.cat(
                [torch.tensor([last], device=tensor.device), nearest.topk(min(ahead, len(nearest))).indices]
            )
            known = dict(zip(rows.tolist(), distances(rows), strict=True))
        torch.minimum(nearest, known[last], out=nearest)
        nearest[last] = -torch.inf
        best = int(nearest.argmax())
        if float(nearest[best]) <= floor:
            # Products do not tell what is left from duplicates: from here on by differences, one by one.
            distances, ahead, floor = partial(_differences, tensor), 0, -torch.inf
            known.clear()
            nearest.fill_(torch.inf)
            for row in chosen:
                torch.minimum(nearest, _euclidean_squared(tensor, tensor[row]), out=nearest)
            nearest[chosen] = -torch.inf
            best = int(nearest.argmax())
        chosen.append(best)
    return like(torch.tensor(chosen, device=tensor.device), points)


def choose_kmedoids(points: A, k: int, seed: int = 0) -> A:
    """The rows nearest to the k centres of k-means (scikit-learn; mini-batches above 20,000 rows), largest cluster
    first.

    Two centres with the same nearest row take the next nearest, so the rows differ.

    Args:
        points: candidates `(n, d)`.
        k: number of anchors, in [1, n].
        seed: random seed.

    Returns:
        Different row numbers int64 `(k,)`, of the kind of points.

    Raises:
        InvalidInputError: for k outside [1, n], NaN or infinity.

    Examples:
        >>> points = torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0], [9.0, 9.0]])
        >>> choose_kmedoids(points, 2)
        tensor([1, 3])
    """
    # scikit-learn costs a second to import.
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    tensor = _checked(points, k)
    data = tensor.detach().cpu().numpy()
    if len(data) > LARGE:
        model = MiniBatchKMeans(k, random_state=seed, n_init=1, batch_size=max(4096, 2 * k))
    else:
        model = KMeans(k, random_state=seed, n_init=1)
    with warnings.catch_warnings():
        # Fewer different points than clusters: said in the docstring, handled below.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(data)
    order = np.argsort(-np.bincount(model.labels_, minlength=k), kind="stable")
    centres = torch.from_numpy(np.ascontiguousarray(model.cluster_centers_[order])).to(tensor)
    return like(nearest_unused(tensor.detach(), centres), points)


def choose_central(points: A, k: int, seed: int = 0) -> A:
    """The k rows nearest to the mean, nearest first; `seed` has no effect.

    Args:
        points: candidates `(n, d)`.
        k: number of anchors, in [1, n].
        seed: no effect.

    Returns:
        Different row numbers int64 `(k,)`, of the kind of points.

    Raises:
        InvalidInputError: for k outside [1, n], NaN or infinity.

    Examples:
        >>> points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [9.0, 0.0], [10.0, 0.0]])
        >>> points = torch.cat([points, torch.tensor([[5.0, 0.0]])])
        >>> choose_central(points, 1)
        tensor([4])
    """
    tensor = _checked(points, k)
    distance = _euclidean_squared(tensor, tensor.mean(0))
    return like(distance.argsort(stable=True)[:k], points)


def choose_ranked(scores: A, k: int, *, largest: bool = True) -> A:
    """The rows of the k largest (or smallest) of scores (n,), best first, earlier rows first among equals.

    Args:
        scores: `(n,)`.
        k: number of anchors, in [1, n].
        largest: take the largest scores, else the smallest.

    Returns:
        Row numbers int64 `(k,)`, of the kind of scores.

    Raises:
        InvalidInputError: for k outside [1, n], NaN or infinity.

    Examples:
        >>> choose_ranked(torch.tensor([0.2, 0.9, 0.5]), 2)
        tensor([1, 2])
    """
    values = to_tensor(scores, "scores", ndim=1, min_rows=1)
    require_count(k, len(values), "k", "the number of scores")
    given = to_numpy(as_array(scores, "scores"))
    if given.dtype.kind in "iu":  # large whole numbers are one and the same in float32
        values = torch.from_numpy(given.astype(np.int64)).to(values.device)
    return like(values.argsort(descending=largest, stable=True)[:k], scores)


def nearest_unused(points: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """For each centre (k, d) in turn, the nearest row of points (n, d) that no earlier centre has taken: (k,)."""
    used = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    chosen = torch.empty(len(centres), dtype=torch.int64, device=points.device)
    for index, centre in enumerate(centres):
        distance = _euclidean_squared(points, centre).masked_fill_(used, torch.inf)
        chosen[index] = distance.argmin()
        used[chosen[index]] = True
    return chosen


def choose_anchors(method: str, points: A, k: int, seed: int = 0) -> A:
    """k anchors by name: random, farthest, farthest_cosine, kmedoids, central.

    Args:
        method: a name of `ANCHOR_METHODS`.
        points: candidates `(n, d)`.
        k: number of anchors, in [1, n].
        seed: random seed.

    Returns:
        Different row numbers int64 `(k,)`, of the kind of points.

    Raises:
        UnknownNameError: for another method.
        InvalidInputError: for k outside [1, n], NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> choose_anchors("farthest_cosine", x, 4).shape
        torch.Size([4])
    """
    require_known("anchor method", method, ANCHOR_METHODS)
    return _METHODS[method](points, k, seed=seed)


def _checked(points: Array, k: int) -> torch.Tensor:
    tensor = to_tensor(points, "points", min_rows=1)
    require_count(k, len(tensor), "k", "the number of points")
    return tensor


def _draw(n: int, k: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).permutation(n)[:k].astype(np.int64))


def _euclidean_squared(points: torch.Tensor, one: torch.Tensor) -> torch.Tensor:
    return (points - one).square_().sum(1)


def _differences(points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return torch.stack([_euclidean_squared(points, points[row]) for row in rows])


def _distances(
    points: torch.Tensor, metric: str | Distance
) -> tuple[Callable[[torch.Tensor], torch.Tensor], int, float]:
    """From row numbers (b,) to the distances (b, n) of those rows to all points, how many rows to ask for ahead, and
    the distance at or below which it is rounding.

    Any increasing function of the metric is enough.
    """
    if not isinstance(metric, str):
        return lambda rows: torch.stack([metric(points, points[row]).to(points) for row in rows]), 0, -torch.inf
    if metric == "euclidean":
        # |p - q|^2 = |p|^2 - 2 p.q + |q|^2, about the mean to keep digits; |q|^2 and |p|^2 are added in place.
        moved = points - points.mean(0)
        squares = moved.square().sum(1)
        floor = 8 * torch.finfo(points.dtype).eps * float(squares.max())
        return (
            lambda rows: torch.addmm(squares, moved[rows], moved.T, alpha=-2).add_(squares[rows, None]),
            _AHEAD,
            floor,
        )
    if metric in ("cosine", "abs_cosine"):
        units = unit_rows(points)
        directed = units.any(1)  # rows of no length come last, with duplicates
        if metric == "cosine":
            return lambda rows: (1 - units[rows] @ units.T).mul_(directed), _AHEAD, -torch.inf
        return lambda rows: (1 - (units[rows] @ units.T).abs_()).mul_(directed), _AHEAD, -torch.inf
    if metric == "l1":
        return lambda rows: torch.cdist(points[rows], points, p=1), 0, -torch.inf
    raise UnknownNameError("metric", metric, ["euclidean", "cosine", "abs_cosine", "l1"])


_METHODS: dict[str, Callable[..., Any]] = {
    "random": choose_random,
    "farthest": choose_farthest,
    "farthest_cosine": partial(choose_farthest, metric="cosine"),
    "kmedoids": choose_kmedoids,
    "central": choose_central,
}
ANCHOR_METHODS = tuple(_METHODS)


@dataclass(frozen=True)
class Coverage:
    """Distances from each point to its nearest anchor, and how independent the anchors are.

    `nearest_mean`, `nearest_median`, `nearest_max`: Euclidean. `relative`: nearest_mean over the root mean square
    distance of the points from their mean (0: every point is an anchor; 1 and more: no better than their mean alone;
    0 where the points are all equal). `rank` and `condition_number` (largest over smallest non-zero singular value)
    are those of the centred anchors (k, d); `distinct` counts the different anchors.

    Examples:
        >>> c = coverage(torch.eye(3), torch.eye(3)[:2])
        >>> c.n_anchors, c.rank, round(c.nearest_max, 3)
        (2, 1, 1.414)
    """

    n_points: int
    n_anchors: int
    nearest_mean: float
    nearest_median: float
    nearest_max: float
    relative: float
    rank: int
    condition_number: float
    distinct: int


def coverage(points: Array, anchors: Array, *, batch_size: int = 4096) -> Coverage:
    """The coverage of points (n, d) by anchors (k, d), which may come from another domain. Memory: batch_size * k.

    Args:
        points: the space `(n, d)`.
        anchors: `(k, d)`.
        batch_size: points at a time.

    Returns:
        Distances to the nearest anchor, and rank and condition of the anchors.

    Raises:
        InvalidInputError: for no points or anchors, widths that differ, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> coverage(x, x).relative
        0.0
        >>> coverage(x, x[:2]).relative > coverage(x, x[:10]).relative
        True
    """
    space = to_tensor(points, "points", min_rows=1).detach()
    chosen = to_tensor(anchors, "anchors", min_rows=1).detach()
    chosen = convert(chosen, space, "anchors")
    same_width(space, chosen, "points", "anchors")
    require_count(batch_size, 1 << 40, "batch_size", "a number of rows")
    distance = projector(chosen, "euclidean", exact=True)
    nearest = torch.cat([distance(batch).amin(1) for batch in space.split(batch_size)]).double()
    spread = float(centred(space.double(), "points", constant_allowed=True).square().sum(1).mean().sqrt())
    wide = chosen.double()
    values = torch.linalg.svdvals(wide - wide.mean(0))
    # Measured against the anchors themselves, too: centring equal anchors leaves rounding.
    rounding = torch.finfo(chosen.dtype).eps * max(float(values[0]) * max(chosen.shape), float(wide.norm()))
    kept = values[values > rounding]
    return Coverage(
        n_points=len(space),
        n_anchors=len(chosen),
        nearest_mean=float(nearest.mean()),
        nearest_median=float(nearest.median()),
        nearest_max=float(nearest.max()),
        relative=float(nearest.mean()) / spread if spread > 0 else 0.0,
        rank=len(kept),
        condition_number=float(kept[0] / kept[-1]) if len(kept) else 1.0,
        distinct=len(torch.unique(chosen, dim=0)),
    )
