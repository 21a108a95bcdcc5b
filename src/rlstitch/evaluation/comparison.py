"""Statistics of many cells together: aggregates, performance profiles, and one method against another.

After Agarwal et al. (2021, arXiv 2108.13264). Their tasks are cells here, their runs episodes: an interval says how
much other episodes in the same cells would change a value, not how other agents would. All is seeded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.statistics import (
    BATCH,
    RESAMPLES,
    Interval,
    check_bootstrap,
    checked_values,
    iqm,
    percentile_interval,
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Profile:
    """Share of all scores above each threshold, with pointwise interval ends; three arrays `(T,)` in [0, 1]."""

    share: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class PairedTest:
    """Two methods on the same cells."""

    cells: int
    median_difference: float
    """Median over cells of first minus second."""
    statistic: float
    """Wilcoxon's smaller sum of signed ranks; 0 where nothing differs."""
    p_value: float
    """Two-sided; 1 where nothing differs."""

    def to_dict(self) -> dict[str, float | int]:
        """Return the values by name."""
        return asdict(self)


def aggregate(
    scores: npt.ArrayLike,
    statistic: Callable[..., Any] = iqm,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return a statistic of all scores together with its stratified bootstrap interval (section 4.1).

    Episodes are resampled with replacement within each cell, so that every resample holds every cell equally often.

    Args:
        scores: `(cells, episodes)`.
        statistic: `statistic(array, axis)` reduces one axis; `iqm`, `mean`, ...
        confidence: of the percentile interval, in (0, 1).
        resamples: how many.
        seed: of the draws.

    Raises:
        InvalidInputError: where scores are no matrix of finite numbers, or an option is out of range.
    """
    matrix = checked_values("scores", scores, ("cells", "episodes"))
    check_bootstrap(confidence, resamples)
    estimate = float(statistic(matrix.ravel(), axis=-1))
    if not np.ptp(matrix, axis=1).any():
        return Interval(estimate, estimate, estimate)
    rng = np.random.default_rng(seed)
    cells, episodes = matrix.shape
    rows = max(1, BATCH // matrix.size)
    parts = []
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        index = rng.integers(episodes, size=(count, cells, episodes))
        resampled = np.take_along_axis(matrix[None], index, axis=2)
        parts.append(np.asarray(statistic(resampled.reshape(count, -1), axis=-1), dtype=np.float64))
    return percentile_interval(estimate, np.concatenate(parts), confidence)


def probability_of_improvement(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return how likely an episode of the first method beats one of the second, averaged over cells (section 4.3).

    Equal scores count half: two equal methods give 0.5.

    Args:
        first: scores `(cells, episodes)`.
        second: scores `(cells, episodes')` of the same cells.
        confidence, resamples, seed: of the stratified bootstrap, as in `aggregate`.

    Raises:
        InvalidInputError: where the two have not equally many cells, and as in `aggregate`.
    """
    x, y = (checked_values(name, v, ("cells", "episodes")) for name, v in (("first", first), ("second", second)))
    check_bootstrap(confidence, resamples)
    if len(x) != len(y):
        raise InvalidInputError(f"second: expected the {len(x)} cells of first, found {len(y)}")
    rng = np.random.default_rng(seed)
    estimate, replicates = 0.0, np.zeros(resamples)
    for mine, other in zip(x, y, strict=True):
        wins = (mine[:, None] > other) + 0.5 * (mine[:, None] == other)
        estimate += float(wins.mean())
        # How often each episode is sampled is enough: a resample's rate is a bilinear form of these counts.
        often_x, often_y = (rng.multinomial(n, np.full(n, 1 / n), size=resamples) for n in wins.shape)
        replicates += np.einsum("bi,bi->b", often_x @ wins, often_y) / wins.size
    return percentile_interval(estimate / len(x), replicates / len(x), confidence)


def performance_profile(
    scores: npt.ArrayLike,
    thresholds: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Profile:
    """Return the share of scores above each threshold, averaged over cells (equation 1), with pointwise intervals.

    Args:
        scores: `(cells, episodes)`.
        thresholds: `(T,)`.
        confidence, resamples, seed: of the stratified bootstrap, as in `aggregate`.

    Raises:
        InvalidInputError: where thresholds are not a row of finite numbers, and as in `aggregate`.
    """
    matrix, levels = checked_values("scores", scores, ("cells", "episodes")), np.asarray(thresholds, dtype=np.float64)
    check_bootstrap(confidence, resamples)
    if levels.ndim != 1 or levels.size == 0 or not np.isfinite(levels).all():
        raise InvalidInputError(f"thresholds: expected one row of finite numbers, found shape {levels.shape}")
    rng = np.random.default_rng(seed)
    episodes = matrix.shape[1]
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    ends = []
    for level in levels:
        rates = (matrix > level).mean(axis=1)
        # Resampled with replacement, the number above one level is binomial in each cell.
        shares = rng.binomial(episodes, rates, size=(resamples, len(rates))).mean(axis=1) / episodes
        ends.append((rates.mean(), *np.quantile(shares, tails)))
    share, low, high = np.array(ends).T
    return Profile(share, low, high)


def paired_test(first: npt.ArrayLike, second: npt.ArrayLike) -> PairedTest:
    """Test whether two methods differ over the same cells: Wilcoxon's signed-rank test (1945), two-sided.

    Cells without a difference are left out, as Wilcoxon did. Cells that share an agent are not independent: read a
    small p-value as a hint.

    Args:
        first, second: one score a cell, `(cells,)`.

    Raises:
        InvalidInputError: where they are not two rows of equally many finite numbers.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if x.ndim != 1 or x.size == 0 or x.shape != y.shape:
        raise InvalidInputError(f"first, second: expected two rows of equal length, found {x.shape} and {y.shape}")
    difference = x - y
    if not np.isfinite(difference).all():
        raise InvalidInputError("first, second: expected finite scores, found some that are not")
    median = float(np.median(difference))
    changed = difference[difference != 0.0]
    if changed.size == 0:
        return PairedTest(x.size, median, 0.0, 1.0)
    tied = np.unique(np.abs(changed)).size < changed.size
    from scipy import stats  # half a second, which the workers of a matrix need not spend

    result = stats.wilcoxon(changed, method="approx" if tied or changed.size > 50 else "exact")
    return PairedTest(x.size, median, float(result.statistic), float(result.pvalue))
