"""How good is a model? Its likeness to a good one in relative space as a proxy (2209.15430, section 4.2).

The reference is a model known to perform well; models whose relative space agrees with the reference's tend to perform
as well. The proxy is judged by its correlation with measured performance over a population of models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
import torch

from rlstitch.errors import InvalidInputError
from rlstitch.latent._arrays import Array, paired, to_tensor
from rlstitch.latent.projection.registry import Similarity, relative_projection
from rlstitch.latent.similarity import matched_cosine

Proxy = Callable[[Array, Array], float]


@dataclass(frozen=True)
class LatentEvaluation:
    """The proxy and the measured performance of each model, and how they correlate, with two-sided p-values.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> models = [x, x + 0.1 * x.flip(0), x.flip(0)]
        >>> result = evaluate_population(models, x, [0.9, 0.8, 0.2], torch.arange(8))
        >>> round(result.spearman, 6), round(result.similarity[0], 6)
        (1.0, 1.0)
    """

    similarity: tuple[float, ...]
    performance: tuple[float, ...]
    pearson: float
    pearson_p: float
    spearman: float
    spearman_p: float


def reference_similarity(
    x: Array,
    reference: Array,
    anchors: Array,
    *,
    similarity: Similarity = "cosine",
    normalization: str = "identity",
    proxy: Proxy = matched_cosine,
) -> float:
    """Likeness of a space x (n, d) to a reference (n, d_r), the same samples in both, seen relative to the same
    anchors.

    `anchors` (k,) are indices of samples. `proxy` compares the two relative spaces (n, k): by default the mean cosine
    of matched rows.

    Args:
        x: samples `(n, d_x)`.
        reference: the same samples in the space of the reference model, `(n, d_r)`.
        anchors: row numbers `(k,)` of the anchors.
        similarity: a name of `SIMILARITIES` or a function, as in `project`.
        normalization: a name of `NORMALIZATIONS`.
        proxy: similarity of two spaces `(n, k)`.

    Returns:
        The similarity of the two relative spaces.

    Raises:
        InvalidInputError: for anchors outside the samples, unpaired rows, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> round(reference_similarity(3 * x.flip(1), x, torch.arange(8)), 6)
        1.0
        >>> reference_similarity(x.flip(0), x, torch.arange(8)) < 0.9
        True
    """
    space, other = paired(x, reference, minimum=2, method="latent evaluation")
    chosen = torch.as_tensor(anchors, device=space.device)
    if chosen.ndim != 1 or len(chosen) == 0 or chosen.is_floating_point():
        raise InvalidInputError(f"anchors must be indices (k,), found {chosen.dtype} of shape {tuple(chosen.shape)}")
    if not 0 <= int(chosen.min()) <= int(chosen.max()) < len(space):
        raise InvalidInputError(f"anchors must be indices in [0, {len(space) - 1}], found {int(chosen.max())}")
    first, second = (
        relative_projection(s, s[chosen], similarity=similarity, normalization=normalization) for s in (space, other)
    )
    return proxy(first, second)


def evaluate_population(
    population: Sequence[Array],
    reference: Array,
    performance: Sequence[float],
    anchors: Array,
    *,
    similarity: Similarity = "cosine",
    normalization: str = "identity",
    proxy: Proxy = matched_cosine,
) -> LatentEvaluation:
    """Correlate the likeness to `reference` with measured performance over a population of at least 3 models.

    `population` holds the spaces (n, d_m) of the models, `performance` one number each.

    Args:
        population: spaces `(n, d_m)` of at least 3 models.
        reference: the same samples in the space of the reference model, `(n, d_r)`.
        performance: one number for each model.
        anchors: row numbers `(k,)` of the anchors.
        similarity: a name of `SIMILARITIES` or a function, as in `project`.
        normalization: a name of `NORMALIZATIONS`.
        proxy: similarity of two spaces `(n, k)`.

    Returns:
        Similarities, and their correlation with the performance.

    Raises:
        InvalidInputError: where all models perform, or resemble the reference, equally, and as `reference_similarity`.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> models = [x, x + 0.1 * x.flip(0), x.flip(0)]
        >>> evaluate_population(models, x, [0.9, 0.8, 0.2], torch.arange(8)).pearson > 0.9
        True
    """
    if len(population) < 3 or len(population) != len(performance):
        raise InvalidInputError(
            f"population must hold at least 3 models with one performance each, found {len(population)} and"
            f" {len(performance)}"
        )
    measured = to_tensor(np.asarray(performance, dtype=np.float64), "performance", ndim=1).numpy()
    likeness = np.array(
        [
            reference_similarity(x, reference, anchors, similarity=similarity, normalization=normalization, proxy=proxy)
            for x in population
        ]
    )
    for values, name in ((measured, "performance"), (likeness, "population")):
        if np.ptp(values) <= 1e-12 * np.abs(values).max():
            raise InvalidInputError(f"{name} must differ between models, found the same for all {len(values)}")
    pearson, spearman = scipy.stats.pearsonr(likeness, measured), scipy.stats.spearmanr(likeness, measured)
    return LatentEvaluation(
        tuple(likeness.tolist()),
        tuple(measured.tolist()),
        float(pearson[0]),
        float(pearson[1]),
        float(spearman[0]),
        float(spearman[1]),
    )
