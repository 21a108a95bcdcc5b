"""Nearest neighbours between spaces, and how well matched samples find each other.

Ranks, MRR and Jaccard index as in Moschella et al. 2022 (2209.15430), section 4.1; inverted lists for approximate
search: Jégou, Douze and Schmid 2011 (FAISS: 1702.08734).

Queries are (n, d) and keys (m, d); results follow the kind of the queries. Scores are similarities, larger is nearer,
for every metric: the cosine, the dot product, or minus the Euclidean distance. Work goes in blocks of queries, so
memory is O(block x m), never n x m. Raises InvalidInputError for NaN or infinity, unequal widths, and a `k` that is
larger than the number of candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, cast

import numpy as np
import torch

from rlstitch.errors import InvalidInputError, needs_extra, require_known
from rlstitch.latent._arrays import A, Array, convert, like, require_count, same_width, to_tensor
from rlstitch.latent.normalization import unit_rows

Metric = Literal["cosine", "dot", "euclidean"]
METRICS: tuple[Metric, ...] = ("cosine", "dot", "euclidean")

_BLOCK_ELEMENTS = 2**24  # of the score matrix at one time: 64 MiB in float32


@dataclass(frozen=True)
class Neighbours(Generic[A]):
    """`indices` int64 (n, k) into the keys and `scores` (n, k), nearest first.

    Examples:
        >>> keys = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
        >>> result = nearest(keys[:1], keys, 2)
        >>> result.indices, result.scores
        (tensor([[0, 2]]), tensor([[1.0000, 0.6000]]))
    """

    indices: A
    scores: A


def nearest(queries: A, keys: Array, k: int, *, metric: Metric = "cosine", exclude_self: bool = False) -> Neighbours[A]:
    """The k keys nearest to each query, exactly.

    `exclude_self` leaves out key i for query i (the queries are then the keys). A zero vector has cosine 0 with
    everything. Which of several equally near keys comes first is not defined.

    Args:
        queries: `(n, d)`.
        keys: `(m, d)`.
        k: neighbours per query, in [1, m].
        metric: `cosine`, `dot` or `euclidean`.
        exclude_self: leave out key i for query i.

    Returns:
        Indices into the keys and scores `(n, k)`, nearest first.

    Raises:
        InvalidInputError: for widths that differ, k outside its range, NaN or infinity.

    Examples:
        >>> keys = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
        >>> nearest(torch.tensor([[0.0, 5.0]]), keys, 2).indices
        tensor([[1, 2]])
        >>> nearest(keys, keys, 1, exclude_self=True).indices.T
        tensor([[2, 2, 1]])
    """
    q, c = _query_pair(queries, keys, metric)
    if exclude_self and len(q) != len(c):
        raise InvalidInputError(f"exclude_self needs as many queries as keys, found {len(q)} and {len(c)}")
    require_count(k, len(c) - int(exclude_self), "k", "the number of candidates")

    def select(start: int, scores: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if exclude_self:
            own = torch.arange(len(scores), device=scores.device)
            scores[own, start + own] = -torch.inf
        best = scores.topk(k, dim=1)
        return best.indices, best.values

    indices, scores = _over_blocks(q, c, metric, select)
    return _neighbours(indices, scores, queries)


def nearest_approximate(
    queries: A, keys: Array, k: int, *, metric: Metric = "cosine", cells: int | None = None, probes: int | None = None
) -> Neighbours[A]:
    """The k keys nearest to each query among those in the `probes` cells nearest to it, by FAISS (extra `faiss`).

    Keys are clustered into `cells` cells (the square root of their number by default; `probes` an eighth of that);
    probing all cells is exact. Computed in float32 on the CPU. Where the probed cells hold fewer than k keys, missing
    ones have index -1 and score -inf.

    Args:
        queries: `(n, d)`.
        keys: `(m, d)`.
        k: neighbours per query, in [1, m].
        metric: `cosine`, `dot` or `euclidean`.
        cells: clusters of the keys; None: the square root of m.
        probes: clusters that are searched; None: an eighth of them.

    Returns:
        Indices into the keys and scores `(n, k)`, nearest first.

    Raises:
        MissingExtraError: without FAISS.
        InvalidInputError: for widths that differ, k outside its range, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> exact = nearest(x, x, 2).indices
        >>> bool((nearest_approximate(x, x, 2, cells=4, probes=4).indices == exact).all())  # all cells are probed
        True
    """
    q, c = _query_pair(queries, keys, metric)
    require_count(k, len(c), "k", "the number of keys")
    with needs_extra("approximate nearest neighbours", "faiss"):
        import faiss
    cells = max(1, math.isqrt(len(c))) if cells is None else cells
    require_count(cells, len(c), "cells", "the number of keys")
    probes = max(1, cells // 8) if probes is None else probes
    require_count(probes, cells, "probes", "the number of cells")
    measure = faiss.METRIC_L2 if metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
    flat = faiss.IndexFlat(c.shape[1], measure)
    index = faiss.IndexIVFFlat(flat, c.shape[1], cells, measure)
    index.cp.min_points_per_centroid = 1  # a small set of keys is a choice here, not a mistake to be warned of
    index.nprobe = probes
    sides = _about_keys(q, c) if metric == "euclidean" else (q, c)
    sought, stored = (
        convert(side.cpu(), torch.empty(0), name).numpy() for side, name in zip(sides, ("queries", "keys"), strict=True)
    )
    index.train(stored)
    index.add(stored)
    values, indices = index.search(sought, k)
    missing = indices < 0
    values = -np.sqrt(np.maximum(values, 0)) if metric == "euclidean" else values
    values[missing] = -np.inf
    return _neighbours(torch.from_numpy(indices).to(q.device), torch.from_numpy(values).to(q.device), queries)


def csls(queries: A, keys: Array, k: int, *, neighbourhood: int = 10) -> Neighbours[A]:
    """The k keys with the largest 2 cos(q, c) - r(q) - r(c): cosine corrected for hubs (Conneau et al. 2018,
    1710.04087, eq. 3).

    r is the mean cosine with the `neighbourhood` nearest of the other side (all of them where there are fewer).

    Args:
        queries: `(n, d)`.
        keys: `(m, d)`.
        k: neighbours per query, in [1, m].
        neighbourhood: neighbours for the local means.

    Returns:
        Indices into the keys and scores `(n, k)`, nearest first.

    Raises:
        InvalidInputError: for widths that differ, k outside its range, NaN or infinity.

    Examples:
        >>> keys = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.7, 0.7]])
        >>> queries = torch.tensor([[1.0, 0.6], [0.6, 1.0], [0.9, 1.0]])
        >>> nearest(queries, keys, 1).indices.T  # the last key is a hub
        tensor([[2, 2, 2]])
        >>> csls(queries, keys, 1, neighbourhood=3).indices.T
        tensor([[0, 1, 2]])
    """
    q, c = _query_pair(queries, keys, "cosine")
    require_count(k, len(c), "k", "the number of keys")
    require_count(neighbourhood, 2**31, "neighbourhood", "neighbours")
    local_q = nearest(q, c, min(neighbourhood, len(c)), metric="cosine").scores.mean(1)
    local_c = nearest(c, q, min(neighbourhood, len(q)), metric="cosine").scores.mean(1)

    def select(start: int, scores: torch.Tensor) -> tuple[torch.Tensor, ...]:
        corrected = 2 * scores - local_q[start : start + len(scores), None] - local_c
        best = corrected.topk(k, dim=1)
        return best.indices, best.values

    indices, scores = _over_blocks(q, c, "cosine", select)
    return _neighbours(indices, scores, queries)


def match_ranks(queries: A, keys: Array, targets: Array | None = None, *, metric: Metric = "cosine") -> A:
    """The rank (n,) of each query's true key among all keys, 1 is best; float64.

    `targets` (n,) int are the true keys; by default query i belongs to key i. Keys exactly as near as the true one
    share the mean of their ranks, so a collapsed space ranks (m + 1) / 2 and not 1.

    Args:
        queries: `(n, d)`.
        keys: `(m, d)`.
        targets: row of the true key of each query, int `(n,)`; None: query i belongs to key i.
        metric: `cosine`, `dot` or `euclidean`.

    Returns:
        float64 `(n,)`, 1 is best.

    Raises:
        InvalidInputError: for queries and keys that are not paired where no targets are given, NaN or infinity.

    Examples:
        >>> keys = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
        >>> match_ranks(2 * keys, keys)
        tensor([1., 1., 1.], dtype=torch.float64)
        >>> match_ranks(torch.ones(3, 2), torch.ones(3, 2))
        tensor([2., 2., 2.], dtype=torch.float64)
    """
    q, c = _query_pair(queries, keys, metric)
    if targets is None:
        if len(q) != len(c):
            raise InvalidInputError(
                f"queries and keys must be paired, or targets given, found {len(q)} and {len(c)} rows"
            )
        true = torch.arange(len(q), device=q.device)
    else:
        true = torch.as_tensor(targets, device=q.device).long()
        if true.shape != (len(q),) or (len(q) and not 0 <= int(true.min()) <= int(true.max()) < len(c)):
            raise InvalidInputError(f"targets must be {len(q)} indices below {len(c)}, found shape {tuple(true.shape)}")

    def rank(start: int, scores: torch.Tensor) -> tuple[torch.Tensor, ...]:
        own = scores.gather(1, true[start : start + len(scores), None])
        return (1.0 + (scores > own).sum(1) + ((scores == own).sum(1) - 1) / 2,)

    (ranks,) = _over_blocks(q, c, metric, rank)
    return like(ranks.double(), queries)


@dataclass(frozen=True)
class RetrievalReport:
    """Mean reciprocal rank, mean rank, recall at each k (share of queries whose true key is among the k nearest), and
    the number of queries.

    Examples:
        >>> keys = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
        >>> evaluate_retrieval(keys, keys, ks=(1, 2))
        RetrievalReport(mrr=1.0, mean_rank=1.0, recall={1: 1.0, 2: 1.0}, queries=3)
    """

    mrr: float
    mean_rank: float
    recall: dict[int, float]
    queries: int


def evaluate_retrieval(
    queries: Array,
    keys: Array,
    targets: Array | None = None,
    *,
    ks: Sequence[int] = (1, 5, 10),
    metric: Metric = "cosine",
) -> RetrievalReport:
    """How well each query finds its true key: see `match_ranks`. A k above the number of keys gives recall 1.

    Args:
        queries: `(n, d)`.
        keys: `(m, d)`.
        targets: row of the true key of each query, int `(n,)`; None: query i belongs to key i.
        ks: ranks for the recall.
        metric: `cosine`, `dot` or `euclidean`.

    Returns:
        MRR, mean rank and recall.

    Raises:
        InvalidInputError: as `match_ranks`.

    Examples:
        >>> keys = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
        >>> report = evaluate_retrieval(keys, keys, torch.tensor([2, 1, 0]), ks=(1, 2))
        >>> report.mean_rank, report.recall[2]
        (2.0, 0.6666666666666666)
    """
    for k in ks:
        require_count(k, 2**31, "ks", "ranks")
    ranks = match_ranks(to_tensor(queries, "queries"), keys, targets, metric=metric)
    return RetrievalReport(
        mrr=float((1 / ranks).mean()),
        mean_rank=float(ranks.mean()),
        recall={int(k): float((ranks <= k).double().mean()) for k in ks},
        queries=len(ranks),
    )


def neighbour_jaccard(first: Array, second: Array) -> float:
    """Mean Jaccard index, in [0, 1], of the neighbour sets in the rows of two index arrays (n, k_1), (n, k_2), each
    row without repetition, but for -1, which is no neighbour (as of `nearest_approximate`). Of two empty sets it is 1.

    Args:
        first: row numbers of neighbours `(n, k)`.
        second: those of the same queries in another space, `(n, k)`.

    Returns:
        In [0, 1].

    Raises:
        InvalidInputError: for shapes that differ.

    Examples:
        >>> neighbour_jaccard(torch.tensor([[0, 1, 2]]), torch.tensor([[2, 1, 5]]))
        0.5
    """
    a, b = torch.as_tensor(first), torch.as_tensor(second)
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b) or 0 in a.shape or 0 in b.shape:
        raise InvalidInputError(f"first and second must be (n, k) indices, found {tuple(a.shape)} and {tuple(b.shape)}")
    b, rows = b.to(a.device), max(1, _BLOCK_ELEMENTS // (a.shape[1] * b.shape[1]))
    blocks = zip(a.split(rows), b.split(rows), strict=True)
    alike = [((p[:, :, None] == q[:, None, :]).any(2) & (p != -1)).sum(1) for p, q in blocks]
    shared, either = torch.cat(alike).double(), (a != -1).sum(1) + (b != -1).sum(1)
    index = shared / (either - shared)
    return float(torch.where(either > 0, index, torch.ones_like(index)).mean())


def _neighbours(indices: torch.Tensor, scores: torch.Tensor, queries: A) -> Neighbours[A]:
    """Of the kind of the queries, the scores in their dtype."""
    dtype = to_tensor(queries, "queries", finite=False).dtype
    return Neighbours(like(indices, queries), like(scores.to(dtype), queries))


def _query_pair(queries: Array, keys: Array, metric: str) -> tuple[torch.Tensor, torch.Tensor]:
    require_known("metric", metric, METRICS)
    q, c = to_tensor(queries, "queries", min_rows=1).detach(), to_tensor(keys, "keys", min_rows=1).detach()
    same_width(q, c, "queries", "keys")
    # Neither is rounded to the other's dtype.
    wide = torch.promote_types(q.dtype, c.dtype)
    q, c = q.to(wide), c.to(q.device, wide)
    if metric == "cosine":
        return unit_rows(q), unit_rows(c)
    return q, c


def _about_keys(q: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys about the mean of the keys, in float64: inner products lose digits far from the origin."""
    center = c.double().mean(0)
    return q.double() - center, c.double() - center


def _over_blocks(
    q: torch.Tensor, c: torch.Tensor, metric: Metric, step: Callable[[int, torch.Tensor], tuple[torch.Tensor, ...]]
) -> tuple[torch.Tensor, ...]:
    """`step(start, scores)` over blocks of queries, its results joined by rows."""
    rows = max(1, _BLOCK_ELEMENTS // len(c))
    parts = []
    if metric == "euclidean":
        q, c = _about_keys(q, c)
    for start in range(0, len(q), rows):
        block = q[start : start + rows]
        parts.append(step(start, -torch.cdist(block, c) if metric == "euclidean" else block @ c.T))
    return tuple(torch.cat(cast(tuple[torch.Tensor, ...], column)) for column in zip(*parts, strict=True))
