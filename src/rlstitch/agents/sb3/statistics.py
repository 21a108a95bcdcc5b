"""Statistics that observations are normalized by, read without running anything: VecNormalize's file, or an npz."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecNormalize

from rlstitch.agents.sb3.instructions import Made, follow
from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.storage import limits, open_archive, printable, read_array, read_bytes

_PACKAGES = ("collections", "gym", "gymnasium", "numpy", "stable_baselines3")
"""What a VecNormalize is made of: its spaces, generators of random numbers, and statistics."""
_FILE = "stable_baselines3.common.vec_env.vec_normalize VecNormalize"
_ARRAYS = ("numpy._core.multiarray _reconstruct", "numpy.core.multiarray _reconstruct")
_NUMBERS = ("clip", "epsilon", "count")
"""What an npz may hold beside mean and var."""
_EXPORT = (
    "in an npz instead: numpy.savez(FILE, mean=v.obs_rms.mean, var=v.obs_rms.var, count=v.obs_rms.count, "
    "clip=v.clip_obs, epsilon=v.epsilon)"
)
_BAD = (AttributeError, LookupError, OverflowError, TypeError, ValueError)  # of a pickle that makes no sense


@dataclass(frozen=True, eq=False)
class Statistics:
    """Observations `x` are normalized as `(x - mean) / sqrt(var + epsilon)`, cut to `[-clip, clip]`.

    Raises:
        InvalidInputError: where mean and variance differ in shape, or a number cannot be what it is.
    """

    mean: NDArray[np.float64]
    """`(D,)`."""
    var: NDArray[np.float64]
    """`(D,)`."""
    clip: float = 10.0
    epsilon: float = 1e-8
    count: float = 1e6
    """Observations that they are of, for a training that goes on."""

    def __post_init__(self) -> None:
        finite = all(np.isfinite(values).all() for values in (self.mean, self.var, self.clip, self.epsilon, self.count))
        if self.mean.shape != self.var.shape or not finite or self.var.min(initial=0) < 0 or self.clip <= 0:
            raise InvalidInputError(
                f"normalization: expected finite means and variances of one shape and a clip above 0, found shapes "
                f"{self.mean.shape} and {self.var.shape}, clip {self.clip:g}, epsilon {self.epsilon:g}"
            )


def of_ram(statistics: Statistics | None, width: int) -> Statistics:
    """Return the statistics for bytes over 255, as the sensor `ram` gives them, of those for the bytes themselves."""
    raw = statistics or Statistics(np.zeros(width), np.ones(width), clip=256.0, epsilon=0.0)
    return replace(raw, mean=raw.mean / 255, var=(raw.var + raw.epsilon) / 255**2, epsilon=0.0)


def read_statistics(source: Path | str | VecNormalize) -> Statistics | None:
    """Return the statistics of observations; None where a VecNormalize leaves observations as they are.

    Args:
        source: what `VecNormalize.save` wrote; an `.npz` of `mean`, `var`, and `clip`, `epsilon` and `count` where they
            are not 10, 1e-8 and a million; or a VecNormalize.

    Raises:
        ArtefactError: where a file is missing, damaged, or asks for anything but statistics and spaces.
        InvalidInputError: where several observations are normalized, or the numbers are no statistics.
    """
    if isinstance(source, VecNormalize):
        return _of(vars(source), vars, "VecNormalize")
    path = Path(source)
    if path.suffix == ".npz":
        return _read_npz(path)
    return _read_vec_normalize(path)


def _of(settings: dict[str, Any], fields: Callable[[Any], dict[str, Any]], where: str) -> Statistics | None:
    if not settings["norm_obs"]:
        return None
    if isinstance(settings["obs_rms"], dict):
        raise InvalidInputError(f"{where}: expected statistics of one observation, found those of several")
    running = fields(settings["obs_rms"])
    return Statistics(
        _flat(running["mean"]),
        _flat(running["var"]),
        clip=float(settings["clip_obs"]),
        epsilon=float(settings["epsilon"]),
        count=float(running["count"]),
    )


def _flat(values: Any) -> NDArray[np.float64]:
    return np.asarray(_array(values) if isinstance(values, Made) else values, dtype=np.float64).reshape(-1)


def _read_npz(path: Path) -> Statistics:
    with open_archive(path, f"{path}: expected an npz of mean and var") as archive:
        names = {name.removesuffix(".npy") for name in archive.namelist()}
        given = {name: float(read_array(archive, name).item()) for name in names.intersection(_NUMBERS)}
        return Statistics(_flat(read_array(archive, "mean")), _flat(read_array(archive, "var")), **given)


def _read_vec_normalize(path: Path) -> Statistics | None:
    content = read_bytes(path, max_bytes=limits.SB3_PICKLE_BYTES)
    try:
        made = follow(
            content,
            str(path),
            takes=lambda name: name.split()[0].split(".")[0] in _PACKAGES,
            hint=f"give them {_EXPORT}",
        )
        if not isinstance(made, Made) or made.name != _FILE:
            raise ValueError(f"expected a VecNormalize, found {made.name if isinstance(made, Made) else type(made)}")
        return _of(made.state, lambda running: running.state, str(path))
    except _BAD as error:
        reason = printable(error, limit=200)
        raise ArtefactError(f"{path}: no usable VecNormalize: {reason}; give its statistics {_EXPORT}") from None


def _array(made: Made) -> NDArray[np.float64]:
    """The array of floats that is described."""
    if made.name not in _ARRAYS:
        raise ValueError(f"expected an array, found {made.name}")
    _, shape, dtype, _, content = made.state
    kind, order = dtype.arguments[0], dtype.state[1]
    if kind not in ("f4", "f8") or order != "<" or math.prod(shape) * int(kind[1]) != len(content):
        raise ValueError(f"expected floats, found {len(content):,} bytes of {order}{kind} {shape}")
    return np.frombuffer(content, f"<{kind}").astype(np.float64)
