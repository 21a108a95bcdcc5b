"""Figures of a set of episodes: mean, interquartile mean, success rate, recovery, each with an interval.

Intervals are non-parametric bootstraps (Efron & Tibshirani, 1993), as recommended for few runs by Agarwal et al.
(2108.13264, which also gives the interquartile mean); a rate gets Wilson's score interval (1927). All are seeded: the
same values give the same interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from rlstitch.errors import InvalidInputError

Floats = npt.NDArray[np.float64]
Statistic = Callable[..., Any]
Method = Literal["percentile", "bca"]

RESAMPLES = 2000
# Indices are drawn in blocks, so that memory stays at a few megabytes for any number of values.
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Interval:
    """An estimate and the two ends of its confidence interval."""

    estimate: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Return the three numbers by name."""
        return asdict(self)


@dataclass(frozen=True)
class Summary:
    """What a set of values comes to; `success` is None where no success was recorded."""

    episodes: int
    mean: Interval
    iqm: Interval
    std: float
    minimum: float
    maximum: float
    success: Interval | None = None

    def to_dict(self) -> dict[str, float | int | None]:
        """Return one flat row for a table: `mean, mean_low, mean_high, iqm, ... success, success_low, success_high`."""
        row: dict[str, float | int | None] = {"episodes": self.episodes}
        for name, interval in (("mean", self.mean), ("iqm", self.iqm), ("success", self.success)):
            row[name] = None if interval is None else interval.estimate
            row[f"{name}_low"] = None if interval is None else interval.low
            row[f"{name}_high"] = None if interval is None else interval.high
        return row | {"std": self.std, "min": self.minimum, "max": self.maximum}


def mean(values: npt.ArrayLike, axis: int = -1) -> Any:
    """Return the arithmetic mean along `axis`."""
    return np.mean(np.asarray(values, dtype=np.float64), axis=axis)


def iqm(values: npt.ArrayLike, axis: int = -1) -> Any:
    """Return the interquartile mean along `axis` (2108.13264, section 4.3): without the lowest and highest quarter.

    A quarter is rounded down, so three values or fewer lose none.
    """
    array = np.sort(np.asarray(values, dtype=np.float64), axis=axis)
    count = array.shape[axis]
    return np.take(array, range(count // 4, count - count // 4), axis=axis).mean(axis=axis)


def bootstrap_interval(
    values: npt.ArrayLike,
    statistic: Statistic = mean,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    method: Method = "percentile",
    seed: int = 0,
) -> Interval:
    """Return `statistic` of `values` `(n,)` and its bootstrap interval.

    `statistic(array, axis)` reduces one axis. One value, or values that are all equal, give an interval of no width: it
    says that nothing varied, not that the figure is certain. Where BCa is undefined (every resample on one side of the
    estimate), the percentile interval is returned. Raises InvalidInputError for no values or non-finite ones.
    """
    sample = _checked("values", values)
    _check_options(confidence, resamples, method)
    estimate = float(statistic(sample, axis=-1))
    if np.ptp(sample) == 0.0:
        return Interval(estimate, estimate, estimate)
    replicates = _replicates(sample, statistic, resamples, np.random.default_rng(seed))
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if method == "bca":
        tails = _bca_tails(sample, statistic, replicates, estimate, tails)
    low, high = np.quantile(replicates, tails)
    return Interval(estimate, float(low), float(high))


def wilson_interval(successes: int, trials: int, *, confidence: float = 0.95) -> Interval:
    """Return the rate `successes / trials` with Wilson's score interval: within [0, 1], and with width at 0 and 1."""
    if trials < 1 or not 0 <= successes <= trials:
        raise InvalidInputError(
            f"successes: expected 0 <= successes <= trials and trials >= 1, found {successes} of {trials}"
        )
    _check_options(confidence, 1, "percentile")
    z2 = float(special.ndtri((1 + confidence) / 2)) ** 2
    rate = successes / trials
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = np.sqrt(z2 * (rate * (1 - rate) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    # At 0 and 1 an end equals the rate in exact arithmetic; min and max keep it so in floating point.
    return Interval(rate, float(min(rate, max(0.0, centre - half))), float(max(rate, min(1.0, centre + half))))


def recovery(
    stitched: npt.ArrayLike,
    random: npt.ArrayLike,
    native: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval | None:
    """Return `100 (stitched - random) / (native - random)` of the mean returns, in percent, with a percentile
    bootstrap interval.

    Each argument holds the returns of single episodes `(n,)`; the three are resampled independently. None where the
    native agent cannot be told from random play (the interval of `native - random` contains 0): a ratio to a
    difference that may be nothing has no meaning.
    """
    _check_options(confidence, resamples, "percentile")
    samples = [_checked(name, v) for name, v in (("stitched", stitched), ("random", random), ("native", native))]
    top, bottom = samples[0].mean() - samples[1].mean(), samples[2].mean() - samples[1].mean()
    rng = np.random.default_rng(seed)
    means = [_replicates(sample, mean, resamples, rng) for sample in samples]
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    gaps = means[2] - means[1]
    low, high = np.quantile(gaps, tails)
    if bottom == 0.0 or low <= 0.0 <= high:
        return None
    # The few resamples whose gap is 0 or has the other sign lie outside the interval of the gap; their ratio would
    # be noise of either sign.
    valid = np.sign(gaps) == np.sign(bottom)
    low, high = np.quantile(100.0 * (means[0] - means[1])[valid] / gaps[valid], tails)
    return Interval(float(100.0 * top / bottom), float(low), float(high))


def summarize(
    values: npt.ArrayLike,
    successes: npt.ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    method: Method = "percentile",
    seed: int = 0,
) -> Summary:
    """Return means of `values` `(n,)` with intervals, spread, and the success rate of `successes` `(n,)`, if given."""
    sample = _checked("values", values)
    rate = None
    if successes is not None:
        flags = np.asarray(successes)
        if flags.shape != sample.shape:
            raise InvalidInputError(
                f"successes: expected one for each of the {sample.size} values, found shape {flags.shape}"
            )
        rate = wilson_interval(int(np.count_nonzero(flags)), flags.size, confidence=confidence)
    mean_interval, iqm_interval = (
        bootstrap_interval(sample, statistic, confidence=confidence, resamples=resamples, method=method, seed=seed)
        for statistic in (mean, iqm)
    )
    spread = float(sample.std(ddof=1)) if sample.size > 1 else 0.0
    return Summary(sample.size, mean_interval, iqm_interval, spread, float(sample.min()), float(sample.max()), rate)


def _replicates(sample: Floats, statistic: Statistic, resamples: int, rng: np.random.Generator) -> Floats:
    """Return the statistic of `resamples` samples drawn with replacement, `(resamples,)`."""
    rows = max(1, _BLOCK // sample.size)
    parts = []
    for start in range(0, resamples, rows):
        index = rng.integers(sample.size, size=(min(rows, resamples - start), sample.size))
        parts.append(np.asarray(statistic(sample[index], axis=-1), dtype=np.float64))
    return np.concatenate(parts)


def _bca_tails(sample: Floats, statistic: Statistic, replicates: Floats, estimate: float, tails: Floats) -> Floats:
    """Return the tails corrected for bias and skew (Efron, 1987; ties count half), or `tails` where undefined."""
    below = (np.mean(replicates < estimate) + np.mean(replicates <= estimate)) / 2
    left_out = np.array([float(statistic(np.delete(sample, i), axis=-1)) for i in range(sample.size)])
    deviations = left_out.mean() - left_out
    scale = np.abs(deviations).max()
    if not 0.0 < below < 1.0 or scale == 0.0:
        return tails
    deviations /= scale  # the acceleration is free of scale; unscaled, the powers of tiny values underflow
    spread = np.sum(deviations**2)
    bias = special.ndtri(below)
    acceleration = np.sum(deviations**3) / (6 * spread**1.5)
    shifted = bias + special.ndtri(tails)
    corrected: Floats = special.ndtr(bias + shifted / (1 - acceleration * shifted))
    return corrected


def _checked(name: str, values: npt.ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise InvalidInputError(f"{name}: expected one dimension with at least one value, found shape {array.shape}")
    if not np.isfinite(array).all():
        raise InvalidInputError(
            f"{name}: expected finite values, found {np.count_nonzero(~np.isfinite(array))} that are not"
        )
    return array


def _check_options(confidence: float, resamples: int, method: str) -> None:
    if not 0.0 < confidence < 1.0:
        raise InvalidInputError(f"confidence: expected a number between 0 and 1, found {confidence}")
    if resamples < 1:
        raise InvalidInputError(f"resamples: expected at least 1, found {resamples}")
    if method not in ("percentile", "bca"):
        raise InvalidInputError(f"method: expected 'percentile' or 'bca', found {method!r}")
