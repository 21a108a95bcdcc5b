"""One space from several: charts of models that each saw a part of the data, or one orthogonal map for each space.

`merge_charts` (Crisostomi et al. 2023, 2311.06547): each model's samples are projected on the same anchors, embedded by
that model (relative projection); the charts then share their coordinates, and samples that several models saw are
averaged. `fit_universal`: generalised Procrustes (Gower 1975).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.latent._arrays import Array, like, require_count, require_positive, same_width, to_tensor
from rlstitch.latent.projection.registry import Similarity, relative_projection
from rlstitch.latent.translation.translation import Translation


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


@dataclass(frozen=True)
class Universal:
    """M maps into one space.

    `translations[i]` takes space i (…, d_i) to the universal space (…, D), D the largest of the d_i; `consensus`
    (n, D) is the mean of the mapped samples. `losses` is the mean squared distance from the consensus, one value an
    iteration, never rising; `unexplained` the last of them as a share of the total variance, in [0, 1].

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> fitted = fit_universal([x, x.flip(1), -x + 1])
        >>> bool(torch.allclose(fitted.between(1, 2)(x.flip(1)), -x + 1, atol=1e-5))
        True
    """

    translations: tuple[Translation, ...]
    consensus: Array
    losses: tuple[float, ...]
    unexplained: float
    converged: bool

    def between(self, source: int, target: int) -> Translation:
        """From space `source` to space `target` through the universal one. Where the target is narrower than D its map
        is undone by its pseudo-inverse.
        """
        count = len(self.translations)
        for index, name in ((source, "source"), (target, "target")):
            if not 0 <= index < count:
                raise InvalidInputError(f"{name} must be the index of a space, in [0, {count - 1}], found {index}")
        return self.translations[source].then(self.translations[target].inverse())


def fit_universal(
    spaces: Sequence[Array], *, scale: bool = False, iterations: int = 200, tolerance: float = 1e-10
) -> Universal:
    """Fit M >= 2 spaces (n, d_i), paired row by row, to each other: 2 M orthogonal Procrustes problems a round at most.

    Every space is centred and padded with zeros to the widest, then rotated on to the mean of all, in turn, until the
    loss falls by less than `tolerance` of itself. `scale` first brings every space to the same spread (mean squared
    distance 1 from its mean). With M = 2 `between(0, 1)` is `fit_orthogonal(scale=False)`. It is determined up to
    a rotation; the first space sets it. Needs 2 samples; raises InvalidInputError for a space without variance.

    Args:
        spaces: at least 2 spaces `(n, d_i)`, paired row by row.
        scale: bring all spaces to the same spread first.
        iterations: rounds at most.
        tolerance: relative fall of the loss at which the rounds end.

    Returns:
        A map from each space to the universal one, and the consensus.

    Raises:
        InvalidInputError: for fewer than 2 spaces or samples, unpaired rows, a space without variance, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> fitted = fit_universal([x, x.flip(1), -x + 1])
        >>> len(fitted.translations), fitted.consensus.shape, round(fitted.unexplained, 6)
        (3, torch.Size([20, 3]), 0.0)
    """
    require_count(iterations, 10**6, "iterations", "rounds")
    require_positive(tolerance, "tolerance")
    centred, means, scales = _prepare(spaces, scale)
    width = max(space.shape[1] for space in centred)
    padded = torch.stack([torch.nn.functional.pad(space, (0, width - space.shape[1])) for space in centred])
    # Fitting each space to the first is a good start; the mean of unaligned spaces may be near zero.
    rotations = [_rotation(space, padded[0]) for space in padded]
    aligned = torch.stack([space @ rotation for space, rotation in zip(padded, rotations, strict=True)])
    losses: list[float] = [_loss(aligned)]
    variance = float(padded.square().sum() / padded.shape[1])
    converged = False
    for _ in range(iterations):
        # Each space against the mean of the others, with theirs of this round: the loss falls with every step.
        total = aligned.sum(0)
        for i, space in enumerate(padded):
            others = total - aligned[i]
            rotations[i] = _rotation(space, others)
            aligned[i] = space @ rotations[i]
            total = others + aligned[i]
        losses.append(_loss(aligned))
        if losses[-2] - losses[-1] <= tolerance * max(losses[-2], 1e-30 * variance) or losses[-1] <= 1e-24 * variance:
            converged = True
            break
    translations = []
    for given, rotation, mean, size in zip(spaces, rotations, means, scales, strict=True):
        matrix = rotation[: len(mean)] * size
        original = to_tensor(given, "spaces")
        translations.append(Translation(matrix.to(original), (-mean @ matrix).to(original), "universal"))
    first: Any = spaces[0]
    consensus = like(aligned.mean(0).to(to_tensor(first, "spaces")), first)
    return Universal(tuple(translations), consensus, tuple(losses), losses[-1] / variance, converged)


def _prepare(spaces: Sequence[Array], scale: bool) -> tuple[list[torch.Tensor], list[torch.Tensor], list[float]]:
    if len(spaces) < 2:
        raise InvalidInputError(f"spaces must hold at least 2 spaces, found {len(spaces)}")
    centred, means, scales = [], [], []
    for number, given in enumerate(spaces):
        space = to_tensor(given, f"spaces[{number}]", min_rows=2).detach().double()
        if len(space) != len(spaces[0]):
            raise InvalidInputError(
                f"spaces must be paired row by row, found {len(spaces[0])} rows in spaces[0] and {len(space)} in"
                f" spaces[{number}]"
            )
        means.append(space.mean(0))
        centred.append(space - means[-1])
        spread = float(centred[-1].square().sum(1).mean().sqrt())
        if spread <= 1e-12 * float(space.norm(dim=1).max()):
            raise InvalidInputError(f"spaces[{number}] must vary between samples, found {len(space)} equal rows")
        scales.append(1 / spread if scale else 1.0)
        centred[-1] = centred[-1] * scales[-1]
    return centred, means, scales


def _rotation(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The orthogonal R that brings source @ R nearest to target."""
    left, _, right = torch.linalg.svd(source.T @ target)
    return left @ right


def _loss(aligned: torch.Tensor) -> float:
    """Squared distance from the mean, summed over spaces, mean over samples."""
    return float((aligned - aligned.mean(0)).square().sum() / aligned.shape[1])
