"""Statistics of a set of episodes: mean, interquartile mean, success rate, recovery, each with an interval.

Intervals are percentile bootstraps (Efron & Tibshirani, 1993), as recommended for few runs by Agarwal et al.
(2108.13264, which also gives the interquartile mean); a rate gets Wilson's score interval (1927). All are seeded: the
same values give the same interval.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from rlstitch.errors import InvalidInputError
from rlstitch.storage.text import printable

Floats = npt.NDArray[np.float64]
Statistic = Callable[..., Any]

RESAMPLES = 2000
BATCH = 1 << 20
"""Values that are resampled at a time: memory stays at a few megabytes for any number of values."""


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
    array = np.asarray(values, dtype=np.float64)
    start, stop = (quarter := array.shape[axis] // 4), array.shape[axis] - quarter
    return mean(np.partition(array, (start, stop - 1), axis).take(range(start, stop), axis), axis)


def bootstrap_interval(
    values: npt.ArrayLike,
    statistic: Statistic = mean,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return a statistic of `values` `(n,)` and its percentile bootstrap interval.

    One value, or values that are all equal, give an interval of no width: it says that nothing varied, not that the
    statistic is certain.

    Args:
        values: finite, `(n,)`.
        statistic: `statistic(array, axis)` reduces one axis.
        confidence: share of the resampled statistics within the interval.
        resamples: how many samples are drawn.
        seed: random seed.

    Raises:
        InvalidInputError: for no values, non-finite ones, or options out of range.
    """
    sample = checked_values("values", values)
    check_bootstrap(confidence, resamples)
    estimate = float(statistic(sample, axis=-1))
    if np.ptp(sample) == 0.0:
        return Interval(estimate, estimate, estimate)
    distribution = _distribution(sample, statistic, resamples, np.random.default_rng(seed))
    return percentile_interval(estimate, distribution, confidence)


def wilson_interval(successes: int, trials: int, *, confidence: float = 0.95) -> Interval:
    """Return the rate `successes / trials` with Wilson's score interval: within [0, 1], and with width at 0 and 1."""
    if trials < 1 or not 0 <= successes <= trials:
        raise InvalidInputError(
            f"successes: expected 0 <= successes <= trials and trials >= 1, found {successes} of {trials}"
        )
    check_bootstrap(confidence, 1)
    # The import of scipy.stats, which has this interval and the trimmed mean, would take half a second.
    z, rate = float(special.ndtri(0.5 + 0.5 * confidence)), successes / trials
    scale = 2 * (trials + z**2)
    centre = (2 * trials * rate + z**2) / scale
    half = z / scale * math.sqrt(4 * trials * rate * (1 - rate) + z**2)
    return Interval(rate, centre - half if successes else 0.0, centre + half if successes < trials else 1.0)


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
    native agent is not better than random actions (see `why_no_recovery`): a ratio to a difference that may be nothing
    has no meaning, and a ratio to a loss would credit a stitched agent with losing as much.
    """
    sample = checked_values("stitched", stitched)
    if why_no_recovery(random, native, confidence=confidence, resamples=resamples):
        return None
    baselines = [checked_values(name, v) for name, v in (("random", random), ("native", native))]
    top, bottom = sample.mean() - baselines[0].mean(), baselines[1].mean() - baselines[0].mean()
    rng = np.random.default_rng(seed)
    means = [_distribution(each, mean, resamples, rng) for each in (sample, *baselines)]
    gaps = means[2] - means[1]
    # The few resamples whose gap is 0 or negative lie outside the interval of the gap; their ratio would be noise.
    valid = gaps > 0
    return percentile_interval(
        float(100.0 * top / bottom), 100.0 * (means[0] - means[1])[valid] / gaps[valid], confidence
    )


def gain(
    random: npt.ArrayLike,
    native: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return how much more an agent earns than random actions, `native - random` of the mean returns `(n,)` each.

    The interval is a percentile bootstrap; random and native are resampled independently.
    """
    check_bootstrap(confidence, resamples)
    samples = (checked_values(name, v) for name, v in (("random", random), ("native", native)))
    return _gain(*(sample.tobytes() for sample in samples), confidence, resamples)


@functools.lru_cache(maxsize=1024)  # the cells of a matrix share their baselines
def _gain(random: bytes, native: bytes, confidence: float, resamples: int) -> Interval:
    low, high = (np.frombuffer(content) for content in (random, native))
    rng = np.random.default_rng(0)
    below, above = (_distribution(sample, mean, resamples, rng) for sample in (low, high))
    return percentile_interval(float(high.mean() - low.mean()), above - below, confidence)


def why_no_recovery(
    random: npt.ArrayLike,
    native: npt.ArrayLike,
    *,
    who: str = "native",
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> str:
    """Return why recovery is undefined for these baselines; empty where it is defined.

    It is defined where the interval of `gain` lies above 0. One episode has no interval. `who` is compared with random
    actions.
    """
    difference = gain(random, native, confidence=confidence, resamples=resamples)
    if min(np.size(random), np.size(native)) < 2:
        return f"{who} not known to be better than random: one episode has no interval"
    if difference.low > 0.0:
        return ""
    where = "contains 0" if difference.high >= 0.0 else "is below 0"
    return (
        f"{who} no better than random: the {100 * confidence:.0f} % interval of {who} - random, "
        f"[{difference.low:.3g}, {difference.high:.3g}], {where}"
    )


def summarize(
    values: npt.ArrayLike,
    successes: npt.ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Summary:
    """Return means of `values` `(n,)` with intervals, spread, and the success rate of `successes` `(n,)`, if given."""
    sample = checked_values("values", values)
    rate = None
    if successes is not None:
        flags = np.asarray(successes)
        if flags.shape != sample.shape:
            raise InvalidInputError(
                f"successes: expected one for each of the {sample.size} values, found shape {flags.shape}"
            )
        rate = wilson_interval(int(np.count_nonzero(flags)), flags.size, confidence=confidence)
    mean_interval, iqm_interval = (
        bootstrap_interval(sample, statistic, confidence=confidence, resamples=resamples, seed=seed)
        for statistic in (mean, iqm)
    )
    spread = float(sample.std(ddof=1)) if sample.size > 1 else 0.0
    return Summary(sample.size, mean_interval, iqm_interval, spread, float(sample.min()), float(sample.max()), rate)


def _distribution(sample: Floats, statistic: Statistic, resamples: int, rng: np.random.Generator) -> Floats:
    """Return the statistic of `resamples` samples drawn with replacement, `(resamples,)`.

    The numbers are those of `scipy.stats.bootstrap(..., rng=rng)`, which takes three times as long for a hundred
    values; a matrix has tens of thousands of cells.
    """
    rows = max(1, BATCH // sample.size)
    counts = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    parts = [statistic(sample[rng.integers(sample.size, size=(count, sample.size))], axis=-1) for count in counts]
    return np.concatenate(parts)


def percentile_interval(estimate: float, distribution: Floats, confidence: float) -> Interval:
    """Return an estimate with the percentiles of its bootstrap distribution `(resamples,)` as the interval."""
    low, high = np.quantile(distribution, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(estimate, float(low), float(high))


def checked_values(name: str, values: npt.ArrayLike, axes: tuple[str, ...] = ("values",)) -> Floats:
    """Return finite numbers as an array with these axes, none of them empty; raises InvalidInputError otherwise."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{name}: expected numbers: {printable(error, limit=200)}") from None
    if array.ndim != len(axes) or array.size == 0:
        shape = f"({', '.join(axes)})"
        raise InvalidInputError(f"{name}: expected an array {shape} with at least one value, found shape {array.shape}")
    if not np.isfinite(array).all():
        raise InvalidInputError(
            f"{name}: expected finite values, found {np.count_nonzero(~np.isfinite(array))} that are not"
        )
    return array


def check_bootstrap(confidence: float, resamples: int) -> None:
    """Raise InvalidInputError for a confidence outside (0, 1), or fewer than one resample."""
    if not 0.0 < confidence < 1.0:
        raise InvalidInputError(f"confidence: expected a number between 0 and 1, found {confidence}")
    if resamples < 1:
        raise InvalidInputError(f"resamples: expected at least 1, found {resamples}")
