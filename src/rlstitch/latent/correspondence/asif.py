"""ASIF: two uni-modal spaces coupled by pairs, without training (Norelli et al. 2022, 2210.01738).

A sample of either space is described by its similarities to that space's side of the pairs: all but the k largest set
to 0, raised to a power, scaled to length 1. The two descriptions have the same coordinates (the pairs), so samples of
one space are compared with samples of the other. Results are NumPy arrays, or tensors where the queries are.
Descriptions are sparse, and so is their product: k of the N coordinates are kept and no (n, N) matrix exists beyond a
block of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray

from rlstitch.errors import InvalidInputError
from rlstitch.latent._arrays import Array, convert, paired, require_count, require_positive, same_width, to_tensor
from rlstitch.latent._linalg import product
from rlstitch.latent.normalization import unit_rows
from rlstitch.latent.retrieval import Neighbours

_BLOCK_ELEMENTS = 2**24  # of similarities, or of scores, at one time


Description: TypeAlias = scipy.sparse.csr_array
Samples: TypeAlias = Array | Description


class Coupling:
    """Pairs x (N, d_x), y (N, d_y) that tie two spaces together; made by `couple`.

    Wherever samples are asked for, their descriptions (`describe_x`, `describe_y`) may be given instead: candidates
    that are used again need to be described once.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> coupling = couple(x, 3 * x.flip(1), k=4)
        >>> len(coupling), coupling.describe_x(x[:2]).shape, coupling.retrieve(x[:3], 2 * x.flip(1), 1).indices.T
        (20, (2, 20), tensor([[0, 1, 2]]))
    """

    def __init__(self, x: torch.Tensor, y: torch.Tensor, k: int, power: float) -> None:
        self._x, self._y = x, y
        self.k, self.power = k, power

    def __len__(self) -> int:
        return len(self._x)

    def describe_x(self, samples: Array) -> Description:
        """Samples (n, d_x) of the source as sparse rows (n, N): at most k positive entries, length 1."""
        return _describe(samples, self._x, self.k, self.power)

    def describe_y(self, samples: Array) -> Description:
        """Samples (n, d_y) of the target as sparse rows (n, N): at most k positive entries, length 1."""
        return _describe(samples, self._y, self.k, self.power)

    def scores(self, x: Samples, y: Samples) -> Array:
        """Similarity (n, m) in [0, 1] of source samples (n, d_x) and target samples (m, d_y)."""
        return _follow(np.concatenate(list(self._score_blocks(x, y))), x)

    def retrieve(self, x: Samples, y: Samples, k: int) -> Neighbours[Any]:
        """The k target candidates (m, d_y) nearest to each source query (n, d_x), best first.

        Candidates that share no pair with the query all score 0, in no particular order.
        """
        require_count(k, y.shape[0], "k", "the number of candidates")
        best = [torch.from_numpy(block).topk(k, dim=1) for block in self._score_blocks(x, y)]
        indices, values = torch.cat([f.indices for f in best]), torch.cat([f.values for f in best])
        return Neighbours(_follow(indices.numpy(), x), _follow(values.numpy(), x))

    def classify(self, x: Samples, classes: Samples) -> Array:
        """Zero-shot classification: for each source sample (n, d_x) the index (n,) of the nearest of the classes'
        target embeddings (c, d_y), int64. The first class wins where several score the same.
        """
        return _follow(np.concatenate([block.argmax(1) for block in self._score_blocks(x, classes)]), x)

    def _score_blocks(self, x: Samples, y: Samples) -> Iterator[NDArray[Any]]:
        source: Description = x if scipy.sparse.issparse(x) else self.describe_x(x)
        target: Description = y if scipy.sparse.issparse(y) else self.describe_y(y)
        for described, name in ((source, "x"), (target, "y")):
            if described.shape[1] != len(self):
                raise InvalidInputError(f"{name} must be described by {len(self)} pairs, found {described.shape[1]}")
        columns: Description = scipy.sparse.csr_array(target.T)
        for rows in _row_slices(source.shape[0], columns.shape[1]):
            yield (source[rows] @ columns).toarray()


def couple(x: Array, y: Array, *, k: int | None = None, power: float = 8.0) -> Coupling:
    """Couple two spaces by N pairs x (N, d_x), y (N, d_y).

    `k`: similarities kept for a sample, in [1, N] (by default 800 as in the paper, or N where there are fewer pairs);
    `power`: the exponent that sharpens them (the paper's 8). Only positive similarities count: an even power would
    turn opposites into neighbours. Keeps a copy of both spaces with rows of length 1.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        k: similarities kept for a sample, in [1, n]; None: 800, or n if less.
        power: exponent of the similarities, above 0.

    Returns:
        The coupling.

    Raises:
        InvalidInputError: for unpaired rows, values outside their ranges, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> images, captions = x, 3 * x.flip(1)
        >>> couple(images, captions, k=4).classify(images[5:8], captions[:10])
        tensor([5, 6, 7])
    """
    source, target = paired(x, y, minimum=1, method="ASIF")
    k = min(800, len(source)) if k is None else k
    require_count(k, len(source), "k", "the number of pairs")
    require_positive(power, "power")
    return Coupling(unit_rows(source.detach().cpu()), unit_rows(target.detach().cpu()), k, power)


def _describe(samples: Array, anchors: torch.Tensor, k: int, power: float) -> Description:
    points = convert(to_tensor(samples, "samples", min_rows=1).detach(), anchors, "samples")
    same_width(points, anchors, "samples", "the pairs")
    points = unit_rows(points)
    kept, columns = [], []
    for rows in _row_slices(len(points), len(anchors)):
        largest = product(points[rows], anchors.T).topk(k, dim=1, sorted=False)
        # The largest similarity becomes 1 before the power, which would otherwise underflow for small ones.
        top = largest.values.amax(1, keepdim=True).clamp_min(torch.finfo(points.dtype).tiny)
        kept.append(unit_rows((largest.values.clamp_min(0) / top) ** power).numpy())
        columns.append(largest.indices.to(torch.int32).numpy())
    starts = np.arange(0, len(points) * k + 1, k, dtype=np.int64)
    data, indices = np.concatenate(kept).ravel(), np.concatenate(columns).ravel()
    described = scipy.sparse.csr_array((data, indices, starts), shape=(len(points), len(anchors)))
    described.eliminate_zeros()
    described.sort_indices()
    return described


def _follow(result: NDArray[Any], x: Samples) -> Array:
    """The kind of x; NumPy where x is a description."""
    return torch.from_numpy(result).to(x.device) if isinstance(x, torch.Tensor) else result


def _row_slices(rows: int, width: int) -> list[slice]:
    step = max(1, _BLOCK_ELEMENTS // max(1, width))
    return [slice(start, start + step) for start in range(0, rows, step)]
