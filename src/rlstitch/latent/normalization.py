"""Normalisations of a latent space: affine maps with an exact inverse, fitted on points (usually the anchors alone).

Centring and standard scaling of latent spaces: Maiorca et al. 2023 (2311.00664). Whitening: Kessy, Lewin and Strimmer
2018 (1512.00809), its shrinkage: Ledoit and Wolf 2004.

Every fit takes points (n, d) and returns a finished `Normalization`: `forward(x) = (x - shift) * weight`, or `@
weight` where the dimensions mix (whitening). Degenerate points give the identity in the direction that cannot be
scaled, never NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from rlstitch.errors import require_known
from rlstitch.latent._arrays import A, Array, gram_rounding, like, negligible, noise_floor, require_between, to_tensor


class Normalization(nn.Module):
    """An invertible affine map of a space (…, d) onto itself.

    `shift` (d,); `weight` and `weight_inverse` are (d,) where each dimension is scaled alone, (d, d) where they mix.
    Called with a NumPy array it answers with one.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> normalize = fit_standardization(x)
        >>> bool(torch.allclose(normalize.inverse(normalize(x)), x, atol=1e-6))
        True
    """

    shift: torch.Tensor
    weight: torch.Tensor
    weight_inverse: torch.Tensor

    def __init__(self, shift: torch.Tensor, weight: torch.Tensor, weight_inverse: torch.Tensor, kind: str) -> None:
        super().__init__()
        self.register_buffer("shift", shift.detach())
        self.register_buffer("weight", weight.detach().contiguous())
        self.register_buffer("weight_inverse", weight_inverse.detach().contiguous())
        self.kind = kind

    @property
    def width(self) -> int:
        """The number of dimensions d."""
        return len(self.shift)

    def forward(self, x: A) -> A:
        """Normalise (…, d) -> (…, d); NaN is passed on, not looked for, as in any layer."""
        tensor = to_tensor(x, "x", ndim=None, width=self.width, finite=False)
        return like(_scale(tensor - self.shift.to(tensor), self.weight.to(tensor)), x)

    def inverse(self, z: A) -> A:
        """Undo `forward`: (…, d) -> (…, d)."""
        tensor = to_tensor(z, "z", ndim=None, width=self.width, finite=False)
        return like(_scale(tensor, self.weight_inverse.to(tensor)) + self.shift.to(tensor), z)

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs besides the state_dict; JSON."""
        dtype = str(self.shift.dtype).removeprefix("torch.")
        return {"kind": self.kind, "width": self.width, "mixes": self.weight.ndim == 2, "dtype": dtype}

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> Normalization:
        """An identity of the shape that `spec` describes, ready for `load_state_dict`."""
        dtype = torch.float64 if spec.get("dtype") == "float64" else torch.float32
        width = int(spec["width"])
        weight = torch.eye(width, dtype=dtype) if spec["mixes"] else torch.ones(width, dtype=dtype)
        return cls(torch.zeros(width, dtype=dtype), weight, weight.clone(), str(spec["kind"]))


def _scale(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x @ weight if weight.ndim == 2 else x * weight


def unit_norm(x: A) -> A:
    """Each row of (…, d) over its Euclidean norm; a row of norm 0 (float32: below 3e-16) becomes 0. Not invertible:
    the norms are lost.

    Args:
        x: `(..., d)`.

    Returns:
        `(..., d)`, rows of length 1 (or 0).

    Raises:
        InvalidInputError: for NaN or infinity.

    Examples:
        >>> unit_norm(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    return like(unit_rows(to_tensor(x, "x", ndim=None)), x)


def unit_rows(x: torch.Tensor) -> torch.Tensor:
    """`unit_norm` for a tensor that has been checked."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    # Below this the squares in the norm have lost their digits.
    return x / torch.where(norm > negligible(x.dtype) ** 0.5, norm, torch.full_like(norm, torch.inf))


def fit_identity(x: Array) -> Normalization:
    """No change; x (n, d) gives the width only.

    Args:
        x: points `(n, d)`.

    Returns:
        The fitted normalization.

    Raises:
        InvalidInputError: for no points, NaN or infinity.

    Examples:
        >>> x = torch.tensor([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]])
        >>> bool((fit_identity(x)(x) == x).all())
        True
    """
    points = to_tensor(x, "x", min_rows=1)
    return _elementwise(torch.zeros_like(points[0]), torch.ones_like(points[0]), "identity")


def fit_centering(x: Array) -> Normalization:
    """Subtract the mean of x (n, d).

    Args:
        x: points `(n, d)`.

    Returns:
        The fitted normalization.

    Raises:
        InvalidInputError: for no points, NaN or infinity.

    Examples:
        >>> x = torch.tensor([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]])
        >>> fit_centering(x)(x)
        tensor([[-2.,  0.],
                [ 0.,  0.],
                [ 2.,  0.]])
    """
    points = to_tensor(x, "x", min_rows=1)
    return _elementwise(points.mean(0), torch.ones_like(points[0]), "center")


def fit_standardization(x: Array) -> Normalization:
    """Subtract the mean and divide by the (biased) standard deviation of each dimension; a constant dimension is only
    centred.

    Args:
        x: points `(n, d)`.

    Returns:
        The fitted normalization.

    Raises:
        InvalidInputError: for no points, NaN or infinity.

    Examples:
        >>> x = torch.tensor([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]])
        >>> fit_standardization(x)(x)
        tensor([[-1.2247,  0.0000],
                [ 0.0000,  0.0000],
                [ 1.2247,  0.0000]])
    """
    points = to_tensor(x, "x", min_rows=1)
    return _elementwise(points.mean(0), _usable(_deviations(points)), "standardize")


def fit_mean_norm(x: Array) -> Normalization:
    """Divide by the mean Euclidean norm of the rows; directions and the origin stay. All-zero points are left as they
    are.

    Args:
        x: points `(n, d)`.

    Returns:
        The fitted normalization.

    Raises:
        InvalidInputError: for no points, NaN or infinity.

    Examples:
        >>> fit_mean_norm(torch.tensor([[3.0, 4.0], [0.0, 15.0]]))(torch.tensor([[10.0, 20.0]]))
        tensor([[1., 2.]])
    """
    points = to_tensor(x, "x", min_rows=1)
    norm = torch.linalg.vector_norm(points, dim=1).mean()
    scale = torch.where(norm > negligible(points.dtype), norm, torch.ones_like(norm))
    return _elementwise(torch.zeros_like(points[0]), scale.expand(points.shape[1]).clone(), "mean_norm")


def fit_isotropic(x: Array) -> Normalization:
    """Centre, then one scale for all dimensions: the mean variance becomes 1 and angles about the mean stay.

    Args:
        x: points `(n, d)`.

    Returns:
        The fitted normalization.

    Raises:
        InvalidInputError: for no points, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> z = fit_isotropic(x)(5 * x + 2)
        >>> bool(torch.allclose(z - z.mean(0), 5 * fit_isotropic(x)(x), atol=1e-5))
        True
    """
    points = to_tensor(x, "x", min_rows=1)
    variances = points.var(0, correction=0) * (_deviations(points) > 0)
    scale = _usable(variances.mean().sqrt())
    return _elementwise(points.mean(0), scale.expand(points.shape[1]).clone(), "isotropic")


def fit_whitening(x: Array, *, shrinkage: float = 0.1, kind: Literal["zca", "pca"] = "zca") -> Normalization:
    """Centre and turn the covariance of x (n, d) into the identity.

    The covariance is (1 - shrinkage) * S + shrinkage * trace(S) / d * I, with S the biased sample covariance;
    shrinkage lies in [0, 1]. `zca` keeps the axes (symmetric weight), `pca` turns to the principal axes. Without
    shrinkage, directions without variance (fewer points than dimensions, constant dimensions) are scaled as if they
    had the smallest variance that the dtype resolves.

    Args:
        x: points `(n, d)`.
        shrinkage: of the covariance towards a multiple of I, in [0, 1].
        kind: `zca` or `pca`.

    Returns:
        The fitted normalization.

    Raises:
        UnknownNameError: for another kind.
        InvalidInputError: for a shrinkage outside [0, 1], no points, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> z = fit_whitening(x, shrinkage=0.0)(x)
        >>> bool(torch.allclose(z.T @ z / len(z), torch.eye(3), atol=1e-5))
        True
    """
    require_between(shrinkage, 0.0, 1.0, "shrinkage")
    require_known("whitening", kind, ["zca", "pca"])
    points = to_tensor(x, "x", min_rows=1)
    # Eigenvalues span many orders of magnitude: float64 whatever comes in.
    mean = points.double().mean(0)
    centred = (points.double() - mean) * (_deviations(points) > 0)
    covariance = centred.T @ centred / len(centred)
    average = covariance.diagonal().mean()
    if not bool(average > 0):
        # Of the same shape as any other whitening, so that weights can be exchanged.
        same = torch.eye(points.shape[1], dtype=points.dtype, device=points.device)
        return Normalization(mean.to(points), same, same.clone(), "whiten" if kind == "zca" else "pca_whiten")
    covariance = (1 - shrinkage) * covariance
    covariance.diagonal().add_(shrinkage * average)
    variances, axes = torch.linalg.eigh(covariance)
    # Beyond it, rounding of a weight in this dtype would outgrow the least weight.
    share = max(torch.finfo(points.dtype).eps, gram_rounding(points.shape, points.dtype))
    deviations = variances.clamp_min(variances[-1] * share).sqrt()
    weight, weight_inverse = axes / deviations, (axes * deviations).T
    if kind == "zca":
        weight, weight_inverse = weight @ axes.T, axes @ weight_inverse
        return Normalization(mean.to(points), weight.to(points), weight_inverse.to(points), "whiten")
    return Normalization(mean.to(points), weight.to(points), weight_inverse.to(points), "pca_whiten")


def fit_normalization(kind: str, x: Array, *, shrinkage: float = 0.1) -> Normalization:
    """The normalisation called `kind`, fitted on x (n, d); see `NORMALIZATIONS`. `shrinkage` concerns whitening only.

    Args:
        kind: a name of `NORMALIZATIONS`.
        x: points `(n, d)`.
        shrinkage: of a whitening.

    Returns:
        The fitted normalization.

    Raises:
        UnknownNameError: for another kind.
        InvalidInputError: for no points, NaN or infinity.

    Examples:
        >>> x = torch.tensor([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]])
        >>> fit_normalization("center", x)(x)[0]
        tensor([-2.,  0.])
    """
    require_known("normalization", kind, NORMALIZATIONS)
    return _FITS[kind](x, shrinkage=shrinkage) if "whiten" in kind else _FITS[kind](x)


def _elementwise(shift: torch.Tensor, scale: torch.Tensor, kind: str) -> Normalization:
    return Normalization(shift, 1 / scale, scale.clone(), kind)


def _deviations(points: torch.Tensor) -> torch.Tensor:
    """The (biased) standard deviation of each column (d,), 0 for a constant one."""
    deviations = points.std(0, correction=0)
    return torch.where(deviations > noise_floor(points), deviations, torch.zeros_like(deviations))


def _usable(deviation: torch.Tensor) -> torch.Tensor:
    return torch.where(deviation > 0, deviation, torch.ones_like(deviation))


_FITS: dict[str, Callable[..., Normalization]] = {
    "identity": fit_identity,
    "center": fit_centering,
    "standardize": fit_standardization,
    "mean_norm": fit_mean_norm,
    "isotropic": fit_isotropic,
    "whiten": fit_whitening,
    "pca_whiten": partial(fit_whitening, kind="pca"),
}
NORMALIZATIONS = tuple(_FITS)
