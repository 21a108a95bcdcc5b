"""Torch tensors and NumPy arrays in, the same kind out.

Everything in `rlstitch.latent` computes with torch. A NumPy array becomes a tensor that shares its memory where it
can, and the result goes back to NumPy. Lists and data frames (whatever has `to_numpy`) are read as NumPy arrays.
Floating types keep their width (float32, float64); anything else that holds numbers becomes float32.
"""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from rlstitch.errors import InvalidInputError, TooFewPairsError

Array: TypeAlias = torch.Tensor | NDArray[Any]
A = TypeVar("A", torch.Tensor, NDArray[Any])


def to_tensor(
    x: Array, name: str, *, ndim: int | None = 2, min_rows: int = 0, width: int | None = None, finite: bool = True
) -> torch.Tensor:
    """`x` as a float32 or float64 tensor, checked.

    `ndim=None` takes any number of dimensions but none. `min_rows` is the least size of the first dimension, `width`
    the size of the last one. Raises InvalidInputError for another kind of value, number of dimensions, rows or width,
    for a last dimension of 0, and for NaN or infinity.
    """
    tensor = _wrap(x, name)
    shape = tuple(tensor.shape)
    if (ndim is not None and tensor.ndim != ndim) or tensor.ndim == 0:
        raise InvalidInputError(f"{name} must have {ndim or 'at least 1'} dimension(s), found shape {shape}")
    if shape[0] < min_rows:
        raise InvalidInputError(f"{name} must have at least {min_rows} row(s), found shape {shape}")
    if shape[-1] == 0:
        raise InvalidInputError(f"{name} must be at least 1 wide, found shape {shape}")
    if width not in (None, shape[-1]):
        raise InvalidInputError(f"{name} must be {width} wide, found shape {shape}")
    if finite:
        require_finite(tensor, name)
    return tensor


def as_array(x: Any, name: str) -> Array:
    """A tensor or an array as it is; lists and whatever has `to_numpy` (data frames of pandas or Polars) as an array.

    Raises InvalidInputError for anything else, and for lists whose rows differ in length.
    """
    if isinstance(x, torch.Tensor | np.ndarray):
        return x
    if not isinstance(x, list | tuple) and not hasattr(x, "to_numpy"):
        raise InvalidInputError(
            f"{name} must be a torch tensor, a NumPy array, a list or a data frame, found {type(x).__name__}"
        )
    try:
        return np.asarray(x.to_numpy() if hasattr(x, "to_numpy") else x)
    except ValueError:
        raise InvalidInputError(f"{name} must hold rows of one length") from None


def _wrap(x: Array, name: str) -> torch.Tensor:
    x = as_array(x, name)
    if isinstance(x, np.ndarray):
        if x.dtype.kind not in "fiub":
            raise InvalidInputError(f"{name} must hold numbers, found dtype {x.dtype}")
        if x.dtype not in (np.float32, np.float64) or not x.dtype.isnative:
            x = x.astype(np.float64 if x.dtype.kind == "f" and x.dtype.itemsize >= 8 else np.float32)
        # torch shares neither read-only memory nor negative strides.
        if not x.flags.writeable or any(stride < 0 for stride in x.strides):
            x = x.copy()
        return torch.from_numpy(x)
    if x.is_complex():
        raise InvalidInputError(f"{name} must hold real numbers, found dtype {x.dtype}")
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def require_finite(x: torch.Tensor, name: str) -> None:
    """Raise InvalidInputError where `x` holds NaN or infinity, or is so large that its squares would (norm: 1e18 in
    float32).
    """
    # The norm alone shows it, without a mask as large as the data.
    if is_moderate(x):
        return
    bad = int((~torch.isfinite(x)).sum())
    if bad:
        raise InvalidInputError(f"{name} must be finite, found {bad} NaN or infinite value(s) of {x.numel()}")
    largest, limit = float(x.detach().abs().max()), _largest_norm(x.dtype)
    raise InvalidInputError(
        f"{name} must have a norm of at most {limit:.0e} in {x.dtype}, found values up to {largest:.0e}"
    )


def is_moderate(x: torch.Tensor) -> bool:
    """Whether `x` holds neither NaN nor infinity, nor anything whose square would be."""
    return not x.numel() or bool(torch.linalg.vector_norm(x.detach()) <= _largest_norm(x.dtype))


def _largest_norm(dtype: torch.dtype) -> float:
    return float(torch.finfo(dtype).max ** 0.5 / 16)


def negligible(dtype: torch.dtype) -> float:
    """The size below which a number counts as 0 in a division: its inverse, and that of its noise, are still finite."""
    return torch.finfo(dtype).tiny / torch.finfo(dtype).eps


def noise_floor(x: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """(d,): deviations of the columns of x (n, d) at or below this are rounding of constant values. `dtype`: what the
    numbers came in, where x is wider.
    """
    dtype = dtype or x.dtype
    return (x.detach().abs().amax(0) * torch.finfo(dtype).eps * 8).clamp_min(negligible(dtype))


def gram_rounding(shape: torch.Size, dtype: torch.dtype) -> float:
    """Eigenvalues of the float64 Gram matrix of data of this shape and dtype are rounding below the largest times
    this.
    """
    return float(max(shape) * torch.finfo(torch.float64).eps + torch.finfo(dtype).eps ** 2)


def like(result: torch.Tensor, model: A) -> A:
    """`result` as the kind of `model`: a tensor, or for anything else a NumPy array."""
    return result if isinstance(model, torch.Tensor) else result.detach().cpu().numpy()


def follow(result: NDArray[Any], model: A) -> A:
    """A NumPy result as the kind of `model`: a tensor on its device, or as it is."""
    if isinstance(model, torch.Tensor):
        return torch.from_numpy(np.ascontiguousarray(result)).to(model.device)
    return result


def to_numpy(x: Array) -> NDArray[Any]:
    """A tensor as a NumPy array, without gradient; an array as it is."""
    return x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)


def same_width(x: torch.Tensor, other: torch.Tensor, name: str, other_name: str) -> None:
    """Raise InvalidInputError where the last dimensions differ."""
    if x.shape[-1] != other.shape[-1]:
        raise InvalidInputError(
            f"{name} and {other_name} must be equally wide, found shapes {tuple(x.shape)} and {tuple(other.shape)}"
        )


def convert(x: torch.Tensor, model: torch.Tensor, name: str) -> torch.Tensor:
    """`x` in the dtype of `model`, on its device. Raises InvalidInputError where a value is too large for that."""
    result = x.to(model)
    if torch.finfo(result.dtype).max < torch.finfo(x.dtype).max:
        require_finite(result, f"{name} as {result.dtype}")
    return result


def to_pairs(
    x: Array, y: Array, *, minimum: int = 2, method: str = "this fit", finite: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """`paired` samples in x's dtype. Raises InvalidInputError as that, and where y is too large for it."""
    source, target = paired(x, y, minimum=minimum, method=method, finite=finite)
    return source, convert(target, source, "y")


def paired(
    x: Array, y: Array, *, minimum: int = 2, method: str = "this fit", finite: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Paired samples (n, d_x), (n, d_y) as tensors on x's device; widths and dtypes may differ. `finite=False` leaves
    it to the caller to look for NaN and infinity.

    Raises InvalidInputError where the numbers of rows differ, or are below `minimum`.
    """
    source, target = to_tensor(x, "x", finite=finite), to_tensor(y, "y", finite=finite)
    if len(source) != len(target):
        raise InvalidInputError(f"x and y must be paired row by row, found {len(source)} and {len(target)} rows")
    if len(source) < minimum:
        raise TooFewPairsError(method, minimum, len(source))
    return source, target.to(source.device)


def to_weights(weights: Array | None, n: int, like_tensor: torch.Tensor) -> torch.Tensor | None:
    """Weights (n,) scaled to sum to n, or None for none.

    Raises InvalidInputError where the length is not n, a weight is negative, or fewer than two are positive.
    """
    if weights is None:
        return None
    w = convert(to_tensor(weights, "weights", ndim=1), like_tensor, "weights")
    if len(w) != n:
        raise InvalidInputError(f"weights must have one value a pair ({n}), found {len(w)}")
    if bool((w < 0).any()) or int((w > 0).sum()) < 2:
        raise InvalidInputError("weights must be non-negative, and positive for at least 2 pairs")
    return w * (n / w.sum())


def require_positive(value: float, name: str) -> None:
    """Raise InvalidInputError where a number is not above 0 or not finite."""
    if not (np.isfinite(value) and value > 0):
        raise InvalidInputError(f"{name} must be a finite number above 0, found {value!r}")


def require_between(value: float, low: float, high: float, name: str) -> None:
    """Raise InvalidInputError where a number lies outside [low, high]."""
    if not low <= value <= high:
        raise InvalidInputError(f"{name} must lie in [{low}, {high}], found {value!r}")


def require_count(k: int, most: int, name: str, of: str) -> None:
    """Raise InvalidInputError where k is not a whole number in [1, most]."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= most:
        raise InvalidInputError(f"{name} must be a whole number in [1, {most}] ({of}), found {k!r}")


def centred(space: torch.Tensor, name: str, *, constant_allowed: bool = False) -> torch.Tensor:
    """A float64 space (n, d) about its mean.

    Raises InvalidInputError where all rows are equal; with `constant_allowed` they are exactly 0.
    """
    moved = space - space.mean(0)
    # Centring equal rows leaves rounding of the size of the mean, not exact zeros.
    if float(moved.norm()) > 1e-12 * float(space.norm()):
        return moved
    if not constant_allowed:
        raise InvalidInputError(f"{name} must vary between samples, found {len(space)} equal rows")
    return torch.zeros_like(moved)
