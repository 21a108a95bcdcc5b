"""Entropic optimal transport by POT, and what a transport plan says about matches."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import MissingExtraError


@dataclass(frozen=True)
class Matches:
    """Per row of a plan (n, m): the column of most mass `matches` (n,), its share `confidence` (n,) in [0, 1], and the
    `mutual` matches (c, 2), the surest first.
    """

    matches: NDArray[np.int64]
    confidence: NDArray[np.float64]
    mutual: NDArray[np.int64]


def load_pot(feature: str) -> ModuleType:
    """POT, or MissingExtraError that names the feature."""
    try:
        import ot
    except ImportError as error:
        raise MissingExtraError(feature, "ot") from error
    module: ModuleType = ot
    return module


def sinkhorn(cost: NDArray[np.float64], epsilon: float, feature: str) -> NDArray[np.float64]:
    """The entropic plan (n, m) between uniform marginals (Cuturi 2013), total mass 1."""
    ot = load_pot(feature)
    n, m = cost.shape
    # Plain scaling is many times faster than the log domain, and exact while exp(-cost / epsilon) does not underflow.
    method = "sinkhorn" if np.ptp(cost) / epsilon < 500 else "sinkhorn_log"
    cost = cost - cost.min()
    plan: Any = ot.sinkhorn(
        np.full(n, 1 / n), np.full(m, 1 / m), cost, epsilon, method=method, numItermax=300, stopThr=1e-6, warn=False
    )
    return np.asarray(plan)


def surest_matches(plan: NDArray[np.float64]) -> Matches:
    """Read a plan (n, m) with positive row sums."""
    matches = plan.argmax(1)
    rows = np.arange(len(plan))
    confidence = plan[rows, matches] / plan.sum(1)
    agreed = np.flatnonzero(plan.argmax(0)[matches] == rows)
    agreed = agreed[np.argsort(-confidence[agreed], kind="stable")]
    return Matches(matches, confidence, np.stack([agreed, matches[agreed]], axis=1))
