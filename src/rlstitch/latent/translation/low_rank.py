"""Translations through a few shared directions: reduced-rank regression, calibration, partial least squares, canonical
correlation. `weights` (n,) weigh the pairs, as if a pair of weight 2 stood there twice.
"""

from __future__ import annotations

import torch

from rlstitch.latent._arrays import Array, gram_rounding, require_between, require_count, to_pairs
from rlstitch.latent.translation.closed_form import Ridge, fit_affine
from rlstitch.latent.translation.translation import Fit, Translation, centred_pairs, finish

_MOST, _LARGEST = 128, 1e3
"""Principal axes along which `fit_calibrated` removes shrinkage, at most, and entries of the inverse of a slope beyond
which it is rounding: of an axis along which nothing is predicted."""


def fit_low_rank(
    x: Array, y: Array, *, rank: int | None = None, ridge: Ridge = "auto", weights: Array | None = None
) -> Translation:
    """`fit_affine` with a matrix of at most `rank`: reduced-rank regression (Izenman, 1975). At least 3 pairs.

    The ridge solution is followed by the projection on the `rank` principal axes of the fitted values. By default as
    many as hold 99 % of their variance.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        rank: greatest rank of the matrix, in [1, min(d_x, d_y)]; None: 99 % of the variance of the fitted values.
        ridge: penalty, as in `fit_affine`.
        weights: `(n,)`, at least 0: how much each pair counts; scaled to sum to n. None: equally.

    Returns:
        The fitted map, with a report on its own pairs.

    Raises:
        InvalidInputError: for a rank outside its range, fewer than 3 pairs, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> int(torch.linalg.matrix_rank(fit_low_rank(x, x.flip(1), rank=2).matrix))
        2
    """
    source, target = to_pairs(x, y, minimum=3, method="fit_low_rank")
    full = fit_affine(source.double(), target.double(), ridge=ridge, weights=weights)
    if rank is not None:
        require_count(rank, min(full.matrix.shape), "rank", "the smaller width")
    mean_x, mean_y, centred_x, _ = centred_pairs(source, target, weights)
    fitted = centred_x @ full.matrix
    energy, axes = torch.linalg.eigh(fitted.T @ fitted)
    if rank is None:
        falling = energy.clamp_min(0).flip(0)
        # Rounding may leave the last share below the threshold: never more than the smaller width.
        enough = int((falling.cumsum(0) < 0.99 * falling.sum()).sum()) + 1
        rank = min(enough, *full.matrix.shape)
    top = axes[:, -rank:]
    matrix = full.matrix @ top @ top.T
    return finish(matrix, mean_y - mean_x @ matrix, "low_rank", source, target)


def fit_calibrated(x: Array, y: Array, *, ridge: Ridge = "auto", weights: Array | None = None) -> Translation:
    """`fit_affine` without its shrinkage, for x with noise: multivariate calibration (Brown, 1982). At least 3 pairs.

    Least squares predicts the mean of y given x. Where x has noise, its predictions lie too near to the mean of y, and
    a controller of y reacts too little. Here the mean of the predictions given y is y, in the directions that matter:
    with Z the coordinates of y along its first k principal axes, and Q those of the predictions, Q is about Z @ slope,
    and is multiplied by the inverse of that slope. Of all k, up to the axes that hold 99 % of the variance of y and
    `_MOST`, the one is taken for which Q @ slope^-1 alone is nearest to y. Other directions stay as they are predicted.

    Where x determines y, this is `fit_affine`. Where y has the noise, `fit_affine` is right and this map exaggerates.
    With few pairs a dimension the pairs do not show the noise, and little is corrected.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        ridge: penalty, as in `fit_affine`.
        weights: `(n,)`, at least 0: how much each pair counts; scaled to sum to n. None: equally.

    Returns:
        The fitted map, with a report on its own pairs.

    Raises:
        InvalidInputError: for fewer than 3 pairs, NaN or infinity.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> y = torch.randn(2000, 1, generator=generator)
        >>> x = y + torch.randn(2000, 1, generator=generator)
        >>> [round(fit(x, y).matrix.item(), 1) for fit in (fit_affine, fit_calibrated)]
        [0.5, 1.0]
    """
    source, target = to_pairs(x, y, minimum=3, method="fit_calibrated")
    full = fit_affine(source.double(), target.double(), ridge=ridge, weights=weights)
    mean_x, mean_y, centred_x, centred_y = centred_pairs(source, target, weights)
    energy, axes = (part.flip(-1) for part in torch.linalg.eigh(centred_y.T @ centred_y))
    energy = energy.clamp_min(torch.finfo(source.dtype).tiny)
    predicted = centred_x @ full.matrix @ axes
    spread, slope = predicted.T @ predicted, (centred_y @ axes).T @ predicted / energy[:, None]
    matrix, least = full.matrix, energy.sum()
    for k in range(1, min(_MOST, int((energy.cumsum(0) < 0.99 * least).sum()) + 1) + 1):
        inverse = torch.linalg.inv_ex(slope[:k, :k]).inverse
        # |Q slope^-1 - Z|^2, where Z^T Q = Z^T Z slope, and what the other axes hold.
        left = (spread[:k, :k] @ inverse * inverse).sum() - energy[:k].sum() + energy[k:].sum()
        if bool((left < least) & (inverse.abs().amax() < _LARGEST)):
            least, change = left, axes[:, :k] @ (inverse - torch.eye(k).to(inverse)) @ axes[:, :k].T
            matrix = full.matrix + full.matrix @ change
    return finish(matrix, mean_y - mean_x @ matrix, "calibrated", source, target)


def fit_pls(x: Array, y: Array, *, components: int | None = None, weights: Array | None = None) -> Translation:
    """Partial least squares regression (Wold, 1975; NIPALS, as scikit-learn's PLSRegression without scaling). At
    least 3 pairs.

    Each component is the direction of x with the largest covariance with some direction of y, given those before.
    `components`: at most min(n - 1, d_x); by default that, but 32 at most. Stops early where nothing covaries any more.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        components: number of components; None: as many as explain anything, at most 32.
        weights: `(n,)`, at least 0: how much each pair counts; scaled to sum to n. None: equally.

    Returns:
        The fitted map, with a report on its own pairs.

    Raises:
        InvalidInputError: for too many components, fewer than 3 pairs, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> translation = fit_pls(x, x.flip(1), components=3)
        >>> bool(torch.allclose(translation(x), x.flip(1), atol=1e-4))
        True
    """
    source, target = to_pairs(x, y, minimum=3, method="fit_pls")
    most = min(len(source) - 1, source.shape[1])
    if components is not None:
        require_count(components, most, "components", "the number of pairs less one, or the width of x")
    mean_x, mean_y, rest, centred_y = centred_pairs(source, target, weights)
    cross = rest.T @ centred_y
    # What the dtype resolves of the products, and what deflation in float64 leaves of spent directions.
    sizes = [float(torch.linalg.vector_norm(part)) for part in (cross, rest, centred_y)]
    floor = sizes[0] * torch.finfo(source.dtype).eps + 64 * sizes[1] * sizes[2] * torch.finfo(torch.float64).eps
    directions, loadings, responses = [], [], []
    for _ in range(min(most, 32) if components is None else components):
        direction = _leading(cross)
        score = rest @ direction
        energy = score @ score
        if float(torch.linalg.vector_norm(direction @ cross)) <= floor:
            break
        loading, response = (rest.T @ score) / energy, (centred_y.T @ score) / energy
        directions.append(direction)
        loadings.append(loading)
        responses.append(response)
        rest = rest - torch.outer(score, loading)
        # Scores are orthogonal, so deflating x alone deflates the cross product.
        cross = cross - energy * torch.outer(loading, response)
    if not directions:
        matrix = cross.new_zeros(cross.shape)
    else:
        w, p, c = torch.stack(directions, 1), torch.stack(loadings, 1), torch.stack(responses, 1)
        matrix = w @ torch.linalg.solve(p.T @ w, c.T)
    return finish(matrix, mean_y - mean_x @ matrix, "pls", source, target)


def _leading(cross: torch.Tensor) -> torch.Tensor:
    """The first left singular vector of (d_x, d_y), by the eigenvectors of the smaller Gram matrix."""
    if cross.shape[0] <= cross.shape[1]:
        return torch.linalg.eigh(cross @ cross.T).eigenvectors[:, -1]
    direction: torch.Tensor = cross @ torch.linalg.eigh(cross.T @ cross).eigenvectors[:, -1]
    norm = torch.linalg.vector_norm(direction)
    return direction / torch.where(norm > 0, norm, torch.ones_like(norm))


def fit_cca(
    x: Array, y: Array, *, components: int | None = None, shrinkage: float = 0.1, weights: Array | None = None
) -> Translation:
    """Through canonical correlations (Hotelling, 1936): y's mean given the canonical variates of x. At least 3 pairs.

    With C the covariances, shrunk towards a multiple of I as in `fit_whitening`, and U S V^T the SVD of Cxx^-1/2 Cxy
    Cyy^-1/2 cut to `components` (at most min(d_x, d_y), the default): the matrix is Cxx^-1/2 U S V^T Cyy^1/2. All
    components and no shrinkage give least squares. `shrinkage` lies in [0, 1).

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        components: number of canonical directions, in [1, min(d_x, d_y)]; None: all.
        shrinkage: of both covariances, in [0, 1).
        weights: `(n,)`, at least 0: how much each pair counts; scaled to sum to n. None: equally.

    Returns:
        The fitted map, with a report on its own pairs.

    Raises:
        InvalidInputError: for a value outside its range, fewer than 3 pairs, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> translation = fit_cca(x, 2 * x.flip(1) + 1, shrinkage=0.0)
        >>> bool(torch.allclose(translation(x), 2 * x.flip(1) + 1, atol=1e-4))
        True
    """
    require_between(shrinkage, 0.0, 1.0 - 1e-9, "shrinkage")
    source, target = to_pairs(x, y, minimum=3, method="fit_cca")
    most = min(source.shape[1], target.shape[1])
    if components is not None:
        require_count(components, most, "components", "the smaller width")
    mean_x, mean_y, centred_x, centred_y = centred_pairs(source, target, weights)
    white_x, _ = _roots(centred_x, shrinkage, source.dtype)
    white_y, colour_y = _roots(centred_y, shrinkage, source.dtype)
    u, s, vh = torch.linalg.svd(white_x @ (centred_x.T @ centred_y / len(source)) @ white_y, full_matrices=False)
    kept = most if components is None else components
    matrix = white_x @ (u[:, :kept] * s[:kept]) @ vh[:kept] @ colour_y
    return finish(matrix, mean_y - mean_x @ matrix, "cca", source, target)


def _roots(centred: torch.Tensor, shrinkage: float, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """The inverse square root and the square root of the shrunk covariance; directions without variance get 0 in
    both.
    """
    covariance = centred.T @ centred / len(centred)
    average = covariance.diagonal().mean()
    covariance = (1 - shrinkage) * covariance
    covariance.diagonal().add_(shrinkage * average)
    values, axes = torch.linalg.eigh(covariance)
    kept = values > values[-1].clamp_min(0) * gram_rounding(centred.shape, dtype)
    deviation = torch.where(kept, values, torch.ones_like(values)).sqrt()
    inverse, root = torch.where(kept, 1 / deviation, 0.0), torch.where(kept, deviation, 0.0)
    return (axes * inverse) @ axes.T, (axes * root) @ axes.T


METHODS: dict[str, Fit] = {"low_rank": fit_low_rank, "calibrated": fit_calibrated, "pls": fit_pls, "cca": fit_cca}
"""Name -> fit."""
