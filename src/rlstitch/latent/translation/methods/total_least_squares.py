"""Total least squares, for noise in both spaces: Golub and Van Loan 1980; truncated: Fierro, Golub, Hansen and O'Leary
1997.
"""

from __future__ import annotations

import torch

from rlstitch.latent._arrays import Array, require_count, to_pairs
from rlstitch.latent._linalg import singular
from rlstitch.latent.translation.translation import Fit, Translation, centred_pairs, finish


def fit_total_least_squares(
    x: Array, y: Array, *, rank: int | None = None, weights: Array | None = None
) -> Translation:
    """The affine map of the subspace nearest to the pairs (x_i, y_i), at equal noise in x and y. At least 3 pairs.

    Both spaces are centred and scaled to the same spread. With U S V^T the SVD of [x y] cut to `rank`, and V_x, V_y the
    rows of V that belong to x and y, a pair is near (c @ V_x^T, c @ V_y^T), so the matrix is pinv(V_x^T) @ V_y^T. By
    default `rank` holds 99 % of the variance of the pairs, at most d_x. `weights` (n,) weigh the pairs.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        rank: dimension of the subspace, in [1, d_x]; None: 99 % of the variance of the pairs.
        weights: `(n,)`, at least 0: how much each pair counts; scaled to sum to n. None: equally.

    Returns:
        The fitted map, with a report on its own pairs.

    Raises:
        InvalidInputError: for a rank outside its range, fewer than 3 pairs, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> translation = fit_total_least_squares(x, 2 * x.flip(1) + 1, rank=3)
        >>> bool(torch.allclose(translation(x), 2 * x.flip(1) + 1, atol=1e-4))
        True
    """
    source, target = to_pairs(x, y, minimum=3, method="fit_total_least_squares")
    width = source.shape[1]
    if rank is not None:
        require_count(rank, width, "rank", "the width of x")
    mean_x, mean_y, centred_x, centred_y = centred_pairs(source, target, weights)
    spread_x, spread_y = _spread(centred_x, source), _spread(centred_y, target)
    _, s, vh = singular(torch.cat([centred_x / spread_x, centred_y / spread_y], dim=1))
    energy = s.square().cumsum(0)
    kept = int((energy < 0.99 * energy[-1]).sum()) + 1 if rank is None else rank
    directions = vh[: min(kept, width)]
    matrix = torch.linalg.pinv(directions[:, :width], rtol=1e-6) @ directions[:, width:] * (spread_y / spread_x)
    return finish(matrix, mean_y - mean_x @ matrix, "total_least_squares", source, target)


def _spread(centred: torch.Tensor, space: torch.Tensor) -> torch.Tensor:
    """The norm of the centred space (n, d); 1 for a constant one, which centring leaves with rounding alone."""
    size = torch.linalg.vector_norm(centred)
    return torch.where(size > torch.finfo(space.dtype).eps * space.norm(), size, torch.ones_like(size))


METHODS: dict[str, Fit] = {"total_least_squares": fit_total_least_squares}
