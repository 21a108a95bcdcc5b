"""Correlation of similarity with accuracy over models, with bootstrap intervals (Efron 1979)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from rlstitch.studies.tables import Row

RESAMPLES = 2000


def correlated(similarities: Sequence[float], accuracies: Sequence[float]) -> Row:
    """Pearson and Spearman over models, with 95 % percentile intervals over resampled models.

    Spearman's intervals keep the ranks of all models. All are None where a correlation is undefined.
    """
    x, y = np.asarray(similarities, dtype=float), np.asarray(accuracies, dtype=float)
    samples = np.random.default_rng(0).integers(max(len(x), 1), size=(RESAMPLES, len(x)))
    line: Row = {}
    for name in ("pearson", "spearman"):
        if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
            line |= {name: None, f"{name} low": None, f"{name} high": None}
            continue
        if name == "spearman":
            x, y = scipy.stats.rankdata(x), scipy.stats.rankdata(y)
        with np.errstate(invalid="ignore"):
            resampled = pearson(x[samples], y[samples])
        low, high = np.nanpercentile(resampled, [2.5, 97.5])
        line |= {name: float(pearson(x[None], y[None])[0]), f"{name} low": float(low), f"{name} high": float(high)}
    return line


def pearson(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    """Row by row, (b, n), (b, n) -> (b,)."""
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    correlation: NDArray[Any] = (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1))
    return correlation
