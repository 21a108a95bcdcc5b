"""Relative projections (2209.15430, equation 1) of data that does not fit in memory: batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch

from rlstitch.errors import InvalidInputError
from rlstitch.latent._arrays import A, Array, require_count
from rlstitch.latent.normalization import Normalization
from rlstitch.latent.projection.registry import Similarity, projector


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
    run: Callable[[A], A] = projector(prepared, similarity, **options)
    require_count(batch_size, 1 << 40, "batch_size", "a number of rows")
    return (run(batch if normalization is None else normalization(batch)) for batch in _batches(x, batch_size))


def _batches(x: Any, batch_size: int) -> Iterator[Any]:
    if isinstance(x, torch.Tensor | np.ndarray):
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
