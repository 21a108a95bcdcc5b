"""One space from several models that each saw a part of the data (Crisostomi et al. 2023, 2311.06547).

Each model's samples are projected on the same anchors, embedded by that model (relative projection); the charts then
share their coordinates, and samples that several models saw are averaged.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.latent._arrays import Array, like, require_positive, same_width, to_tensor
from rlstitch.latent.projection.registry import Similarity, relative_projection


@dataclass(frozen=True)
class Chart:
    """The samples of one model: the keys of its samples, their vectors (n, d), and its embeddings (k, d) of the shared
    anchors. `weight` weighs its vectors where charts overlap.

    Examples:
        >>> chart = Chart(keys=("cat", "dog"), vectors=torch.eye(2), anchors=torch.eye(2))
        >>> merge_charts([chart]).keys
        ('cat', 'dog')
    """

    keys: Sequence[Hashable]
    vectors: Array
    anchors: Array
    weight: float = 1.0


@dataclass(frozen=True)
class Atlas:
    """The merged space: keys in order of first appearance, vectors (N, k), the number of charts that saw each sample
    (N,), and `disagreement` (N,), the mean distance of the charts that saw it from their mean. The kind of the first
    chart.

    Examples:
        >>> chart = Chart(keys=("cat", "dog"), vectors=torch.eye(2), anchors=torch.eye(2))
        >>> atlas = merge_charts([chart, chart])
        >>> atlas.seen_by, atlas.disagreement
        (tensor([2, 2]), tensor([0., 0.]))
    """

    keys: tuple[Hashable, ...]
    vectors: Array
    seen_by: Array
    disagreement: Array


def merge_charts(
    charts: Sequence[Chart],
    *,
    similarity: Similarity = "cosine",
    normalization: str = "identity",
    shrinkage: float = 0.1,
) -> Atlas:
    """Merge charts into one relative space; the weighted mean where several saw a sample.

    Widths d may differ between charts, the number of anchors k may not (IncompatibleError). The order of charts and of
    samples changes the order of keys only. `similarity` and `normalization` as in `relative_projection`; distances that
    depend on scale want a normalisation.

    Args:
        charts: at least 1.
        similarity: a name of `SIMILARITIES` or a function, as in `project`.
        normalization: a name of `NORMALIZATIONS`.
        shrinkage: of a whitening.

    Returns:
        The merged space.

    Raises:
        IncompatibleError: for charts of different numbers of anchors.
        InvalidInputError: for no chart, keys that repeat in a chart or are not one a vector, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> one = Chart(range(12), x[:12], x[:5])
        >>> other = Chart(range(8, 20), 2 * x[8:].flip(1), 2 * x[:5].flip(1))
        >>> atlas = merge_charts([one, other])
        >>> atlas.vectors.shape, bool(atlas.disagreement.max() < 1e-6)
        (torch.Size([20, 5]), True)
    """
    if not charts:
        raise InvalidInputError("charts must hold at least 1 chart, found none")
    rows: dict[Hashable, int] = {}
    projected = []
    for number, chart in enumerate(charts):
        vectors = _checked(chart, f"charts[{number}]", k=len(charts[0].anchors))
        relative = relative_projection(
            vectors, chart.anchors, similarity=similarity, normalization=normalization, shrinkage=shrinkage
        )
        projected.append(relative.double())
        for key in chart.keys:
            rows.setdefault(key, len(rows))
    first = projected[0]
    total = first.new_zeros(len(rows), first.shape[1])
    weights, seen, spread = (first.new_zeros(len(rows)) for _ in range(3))
    places = [torch.tensor([rows[key] for key in chart.keys], device=first.device) for chart in charts]
    for chart, place, relative in zip(charts, places, projected, strict=True):
        total[place] += chart.weight * relative.to(first.device)
        weights[place] += chart.weight
        seen[place] += 1
    merged = total / weights[:, None]
    for chart, place, relative in zip(charts, places, projected, strict=True):
        spread[place] += chart.weight * (relative.to(first.device) - merged[place]).norm(dim=1)
    model: Any = charts[0].vectors
    dtype = to_tensor(model, "charts[0].vectors").dtype
    disagreement = (spread / weights).to(dtype)
    return Atlas(tuple(rows), like(merged.to(dtype), model), like(seen.long(), model), like(disagreement, model))


def _checked(chart: Chart, name: str, k: int) -> torch.Tensor:
    vectors = to_tensor(chart.vectors, f"{name}.vectors", min_rows=1)
    anchors = to_tensor(chart.anchors, f"{name}.anchors", min_rows=1)
    same_width(vectors, anchors, f"{name}.vectors", f"{name}.anchors")
    require_positive(chart.weight, f"{name}.weight")
    if len(chart.keys) != len(vectors):
        raise InvalidInputError(f"{name} must have one key a vector ({len(vectors)}), found {len(chart.keys)}")
    if len(set(chart.keys)) != len(chart.keys):
        raise InvalidInputError(f"{name}.keys must not repeat, found {len(chart.keys) - len(set(chart.keys))} again")
    if len(anchors) != k:
        raise IncompatibleError(f"{name} must have the {k} anchors of charts[0], found {len(anchors)}")
    return vectors
