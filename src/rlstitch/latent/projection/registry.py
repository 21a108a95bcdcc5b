"""Relative projections by name: samples (n, d) described by their relation to anchors (k, d), as coordinates (n, k).

Moschella et al., "Relative representations enable zero-shot latent space communication", arXiv:2209.15430, equation
1, and the other relations of "From Bricks to Bridges", arXiv:2310.01211. Cosine, angular, gaussian and dot grow with
likeness; the distances (euclidean, l1, linf, lp, mahalanobis, geodesic) fall with it and are not negated; basis and
kernel_ridge are weights of the anchors. All but geodesic can be differentiated in x and in the anchors, whose
statistics (of a normalisation, and the covariance of mahalanobis) count as constants.

`projector(anchors, ...)` does the anchors' part of the work once and returns the function of x.
`project_stream` and `project_into` take data that does not fit in memory, batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
import torch

from rlstitch.errors import InvalidInputError
from rlstitch.latent._arrays import A, Array, as_array, convert, like, require_count, same_width, to_tensor
from rlstitch.latent._registry import look_up
from rlstitch.latent.normalization import Normalization, fit_normalization
from rlstitch.latent.projection.similarities import METHODS, Relation

Similarity: TypeAlias = str | Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

SIMILARITIES = tuple(METHODS)


def projector(anchors: Array, similarity: Similarity = "cosine", **options: Any) -> Callable[[A], A]:
    """The projection on `anchors` (k, d) as a function (n, d) -> (n, k).

    `similarity` is a name from `SIMILARITIES` or a function of two tensors (n, d), (k, d) -> (n, k).

    Args:
        anchors: `(k, d)`.
        similarity: a name of `SIMILARITIES`, or a function of tensors `(n, d)`, `(k, d)` -> `(n, k)`.
        **options: keyword arguments of the similarity.

    Returns:
        The function of samples `(n, d)` -> `(n, k)`.

    Raises:
        UnknownNameError: for another similarity.
        InvalidInputError: for no anchors, widths that differ, NaN or infinity, unknown options.

    Examples:
        >>> relate = projector(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), "dot")
        >>> relate(torch.tensor([[3.0, 4.0]]))
        tensor([[3., 8.]])
    """
    points = to_tensor(anchors, "anchors", min_rows=1)
    bound: dict[tuple[torch.dtype, torch.device], Relation] = {}

    def projection(x: A) -> A:
        samples = to_tensor(x, "x")
        same_width(samples, points, "x", "anchors")
        key = (samples.dtype, samples.device)
        relation = bound.get(key)
        if relation is None:
            # x decides dtype and device; the anchors are prepared once for each.
            relation = bind(convert(points, samples, "anchors"), similarity, options)
            # But a gradient goes through their part once.
            if not points.requires_grad:
                bound[key] = relation
        result = relation(samples)
        if result.shape != (len(samples), len(points)):
            raise InvalidInputError(
                f"similarity must return shape {(len(samples), len(points))}, found {tuple(result.shape)}"
            )
        return like(result, x)

    return projection


def project(x: A, anchors: Array, similarity: Similarity = "cosine", **options: Any) -> A:
    """Project x (n, d) on anchors (k, d) -> (n, k), by a name from `SIMILARITIES` or any function; see `projector`.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.
        similarity: a name of `SIMILARITIES`, or a function of tensors `(n, d)`, `(k, d)` -> `(n, k)`.
        **options: keyword arguments of the similarity.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        UnknownNameError: for another similarity.
        InvalidInputError: for no anchors, widths that differ, NaN or infinity, unknown options.

    Examples:
        >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> project(x, anchors, "dot")
        tensor([[3., 8.]])
        >>> project(x, anchors, lambda x, a: torch.cdist(x, a, p=1))
        tensor([[6., 5.]])
    """
    run: Callable[[A], A] = projector(anchors, similarity, **options)
    return run(x)


def relative_projection(
    x: A,
    anchors: Array,
    *,
    normalization: str = "whiten",
    similarity: Similarity = "cosine",
    shrinkage: float = 0.1,
    **options: Any,
) -> A:
    """Normalise x and the anchors with the anchors' own statistics, then project: (n, d), (k, d) -> (n, k).

    The paper's projection is `normalization="identity"`. Whitened, features of two spaces agreed better in every
    family of spaces that was measured (docs/results/latent-defaults.md). `whiten` and `center` take their statistics
    from the anchors: of a handful they say little, and of one nothing. `shrinkage` is that of a whitening; Mahalanobis
    distances keep their own, 0.1.

    Args:
        x: samples `(n, d)`, tensor or array.
        anchors: `(k, d)`.
        normalization: a name of `NORMALIZATIONS`, fitted on the anchors.
        similarity: a name of `SIMILARITIES`, or a function of tensors `(n, d)`, `(k, d)` -> `(n, k)`.
        shrinkage: of a whitening, in [0, 1].
        **options: keyword arguments of the similarity.

    Returns:
        `(n, k)`, of the kind of x.

    Raises:
        UnknownNameError: for another similarity or normalization.
        InvalidInputError: for no anchors, widths that differ, NaN or infinity, unknown options.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> before = relative_projection(x, x[:8], normalization="center")
        >>> after = relative_projection(3 * x + 5, 3 * x[:8] + 5, normalization="center")
        >>> bool(torch.allclose(before, after, atol=1e-5))
        True
    """
    normalize = fit_normalization(normalization, anchors, shrinkage=shrinkage)
    samples: A = normalize(x)
    return project(samples, normalize(anchors), similarity, **normalized(options, normalize))


def normalized(options: dict[str, Any], normalize: Normalization) -> dict[str, Any]:
    """Options of a similarity with their `points`, where there are any, normalised as x and the anchors are."""
    points = options.get("points")
    return options if points is None else {**options, "points": normalize(points)}


def bind(anchors: torch.Tensor, similarity: Similarity, options: dict[str, Any]) -> Relation:
    """The relation to anchors (k, d) as a function of x (n, d) -> (n, k), tensors of one dtype, with no look at values:
    what `projector` checks and layers, which are traced, do not.
    """
    if not isinstance(similarity, str):
        return lambda x: similarity(x, anchors, **options)
    return look_up("similarity", similarity, METHODS, options)(anchors, **options)


def project_stream(
    x: A | Iterable[A],
    anchors: Array,
    similarity: Similarity = "cosine",
    *,
    batch_size: int = 4096,
    normalization: Normalization | None = None,
    **options: Any,
) -> Iterator[A]:
    """Project x on anchors (k, d), and yield the projections (rows, k) in order.

    `x` is an array (n, d), which may be a `numpy.memmap` and is cut into batches of `batch_size` rows, or already an
    iterable of batches. `normalization`, of the anchors as a rule, is applied to them and to every batch first, as
    `relative_projection` does. The anchors' part is done once. At most one batch and its projection are held here.

    Args:
        x: array `(n, d)`, which may be a `numpy.memmap`, or an iterable of batches.
        anchors: `(k, d)`.
        similarity: a name of `SIMILARITIES`, or a function of tensors `(n, d)`, `(k, d)` -> `(n, k)`.
        batch_size: rows at a time.
        normalization: applied to anchors and batches first.
        **options: keyword arguments of the similarity.

    Returns:
        The projections of the batches, in order.

    Raises:
        UnknownNameError: for another similarity.
        InvalidInputError: for no anchors, widths that differ, NaN or infinity, unknown options.

    Examples:
        >>> x = np.sin(np.arange(60.0) ** 2).reshape(20, 3)
        >>> parts = project_stream(x, x[:5], batch_size=8)
        >>> [part.shape for part in parts]
        [(8, 5), (8, 5), (4, 5)]
    """
    prepared: Array = anchors if normalization is None else normalization(anchors)
    options = options if normalization is None else normalized(options, normalization)
    run: Callable[[A], A] = projector(prepared, similarity, **options)
    require_count(batch_size, 1 << 40, "batch_size", "a number of rows")
    return (run(batch if normalization is None else normalization(batch)) for batch in _batches(x, batch_size))


def _batches(x: Any, batch_size: int) -> Iterator[Any]:
    if isinstance(x, torch.Tensor | np.ndarray) or hasattr(x, "to_numpy"):
        x = as_array(x, "x")
        for start in range(0, len(x), batch_size):
            yield x[start : start + batch_size]
    else:
        yield from x


def project_into(
    out: A,
    x: Array | Iterable[Array],
    anchors: Array,
    similarity: Similarity = "cosine",
    *,
    batch_size: int = 4096,
    normalization: Normalization | None = None,
    **options: Any,
) -> A:
    """Write the projection of x (n, d) on anchors (k, d) into `out` (n, k), and return it.

    `out` and `x` may be `numpy.memmap`s; `x` may be an iterable of batches; `normalization` as in `project_stream`.

    Args:
        out: array `(n, k)` to fill; may be a `numpy.memmap`.
        x: array `(n, d)`, or an iterable of batches.
        anchors: `(k, d)`.
        similarity: a name of `SIMILARITIES`, or a function of tensors `(n, d)`, `(k, d)` -> `(n, k)`.
        batch_size: rows at a time.
        normalization: applied to anchors and batches first.
        **options: keyword arguments of the similarity.

    Returns:
        `out`.

    Raises:
        UnknownNameError: for another similarity.
        InvalidInputError: for no anchors, widths that differ, NaN or infinity, unknown options.

    Examples:
        >>> x = np.sin(np.arange(60.0) ** 2).reshape(20, 3)
        >>> out = project_into(np.empty((20, 5)), x, x[:5], batch_size=8)
        >>> out.shape, bool(np.allclose(np.diag(out), 1))
        ((20, 5), True)
    """
    require_count(batch_size, 1 << 40, "batch_size", "a number of rows")
    if out.ndim != 2 or out.shape[1] != len(anchors):
        raise InvalidInputError(f"out must have shape (n, {len(anchors)}), found {tuple(out.shape)}")
    row = 0
    parts: Iterator[Any] = project_stream(
        _batches(x, batch_size), anchors, similarity, normalization=normalization, **options
    )
    for part in parts:
        end = row + len(part)
        if end > len(out):
            raise InvalidInputError(f"out must have a row for each of x, found {len(out)} rows and more in x")
        if isinstance(out, torch.Tensor):
            out[row:end] = torch.as_tensor(part)
        else:
            out[row:end] = part.detach().cpu().numpy() if isinstance(part, torch.Tensor) else part
        row = end
    if row != len(out):
        raise InvalidInputError(f"out must have a row for each of x, found {len(out)} rows and {row} in x")
    return out
