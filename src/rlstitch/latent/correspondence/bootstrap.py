"""From a handful of paired anchors to hundreds, and the pairing of whole spaces (Cannistraci et al. 2023, 2303.00721).

The paper optimises unknown anchors by gradient descent under a Sinkhorn matching of the relative spaces. Here the two
steps alternate in closed form: match all samples by entropic optimal transport between the relative spaces of the pairs
known so far, then take the surest mutual matches as pairs, twice as many each round. Needs POT (extra `ot`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic

import numpy as np
import torch
from numpy.typing import NDArray

from rlstitch.errors import InvalidInputError
from rlstitch.latent._arrays import (
    A,
    Array,
    follow,
    require_between,
    require_count,
    require_positive,
    to_numpy,
    to_tensor,
)
from rlstitch.latent.correspondence.transport import sinkhorn, surest_matches
from rlstitch.latent.normalization import unit_rows


@dataclass(frozen=True)
class BootstrappedAnchors(Generic[A]):
    """Discovered parallel anchors, and the pairing they imply; arrays of the kind of x.

    `x_indices`, `y_indices` (k,) are the anchors, seeds first; `confidence` (k,) in [0, 1] is the share of a sample's
    transported mass that goes to its match, 1 for seeds. `matches` (n,) pairs every sample of x with one of y, with
    `match_confidence` (n,). `rounds` tells how many it took; `converged` whether the pairing had converged by then.

    Examples:
        >>> x = np.sin(np.arange(60.0) ** 2).reshape(20, 3)
        >>> result = bootstrap_anchors(x, x[::-1].copy(), np.array([[0, 19], [1, 18], [2, 17]]), 10)
        >>> len(result.x_indices), result.matches[:5]
        (10, array([19, 18, 17, 16, 15]))
    """

    x_indices: A
    y_indices: A
    confidence: A
    matches: A
    match_confidence: A
    rounds: int
    converged: bool


def bootstrap_anchors(
    x: A,
    y: Array,
    seeds: Array,
    k: int,
    *,
    center: bool = True,
    epsilon: float = 0.05,
    rounds: int = 30,
    tolerance: float = 0.01,
) -> BootstrappedAnchors[A]:
    """Grow the pairs `seeds` (s, 2), row indices into x (n, d_x) and y (m, d_y), to at most k parallel anchors.

    x and y need be neither paired nor equally many, but should hold much the same things: a sample without counterpart
    gets a match all the same, of low confidence. `center` subtracts each space's mean first, without which common
    directions (as in word vectors) dominate the signal. `epsilon` is the entropic smoothing of cosine distances in [0,
    2]. Fewer than k anchors come back where fewer matches are mutual. Quadratic in memory, O(n m), as the transport
    plan is: give samples of large spaces. Deterministic.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(m, d_y)`, not paired with x.
        seeds: known pairs of row numbers `(s, 2)`, at least 2.
        k: anchors in the end, at most min(n, m).
        center: subtract the mean of each space.
        epsilon: entropic smoothing, above 0.
        rounds: rounds at most.
        tolerance: share of changed matches at which the pairing has converged, in [0, 1].

    Returns:
        The anchors, and a match for every sample of x.

    Raises:
        MissingExtraError: without POT.
        InvalidInputError: for seeds that repeat or lie outside, values outside their ranges, NaN or infinity.

    Examples:
        >>> x = np.sin(np.arange(60.0) ** 2).reshape(20, 3)
        >>> y = -2 * x[::-1] + 1
        >>> result = bootstrap_anchors(x, y, np.array([[0, 19], [1, 18], [2, 17]]), 10)
        >>> float((result.matches == np.arange(20)[::-1]).mean())
        1.0
    """
    require_positive(epsilon, "epsilon")
    require_count(rounds, 10**4, "rounds", "rounds")
    require_between(tolerance, 0.0, 1.0, "tolerance")
    source, target = _unit_space(x, "x", center), _unit_space(y, "y", center)
    known = _checked_seeds(seeds, len(source), len(target))
    require_count(k, min(len(source), len(target)), "k", "the smaller number of samples")
    if k < len(known):
        raise InvalidInputError(f"k must be at least the number of seeds ({len(known)}), found {k}")
    pairs = known
    matches = np.full(len(source), -1)
    converged, done = False, 0
    while done < rounds and not converged:
        plan = sinkhorn(_relative_distance(source, target, pairs), epsilon, "bootstrapped anchors")
        matching = surest_matches(plan)
        size = min(k, 2 * len(pairs))
        grown = _extend(known, matching.mutual, size)
        converged = size == k and float((matching.matches != matches).mean()) <= tolerance
        matches, pairs, done = matching.matches, grown, done + 1
    confidence = np.where(np.arange(len(pairs)) < len(known), 1.0, matching.confidence[pairs[:, 0]])
    return BootstrappedAnchors(
        x_indices=follow(pairs[:, 0], x),
        y_indices=follow(pairs[:, 1], x),
        confidence=follow(confidence, x),
        matches=follow(_with_seeds(matches, known), x),
        match_confidence=follow(matching.confidence, x),
        rounds=done,
        converged=converged,
    )


def _unit_space(space: Array, name: str, center: bool) -> NDArray[np.float64]:
    points = to_tensor(space, name, min_rows=2).detach().double().cpu()
    points = points - points.mean(0) if center else points
    if float(points.norm()) <= 1e-12 * float(to_tensor(space, name).norm()):
        raise InvalidInputError(f"{name} must vary between samples, found {len(points)} equal rows")
    unit: NDArray[np.float64] = unit_rows(points).numpy()
    return unit


def _checked_seeds(seeds: Array, n: int, m: int) -> NDArray[np.int64]:
    pairs = to_numpy(seeds)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) < 2 or pairs.dtype.kind not in "iu":
        raise InvalidInputError(f"seeds must be at least 2 pairs of indices (s, 2), found {pairs.dtype} {pairs.shape}")
    if pairs.min() < 0 or pairs[:, 0].max() >= n or pairs[:, 1].max() >= m:
        raise InvalidInputError(f"seeds must be rows of x (below {n}) and of y (below {m}), found {pairs.max(0)}")
    if len(set(pairs[:, 0])) < len(pairs) or len(set(pairs[:, 1])) < len(pairs):
        raise InvalidInputError("seeds must use each row once, found a row twice")
    return pairs.astype(np.int64)


def _relative_distance(source: Any, target: Any, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cosine distance (n, m) of the two relative spaces on the pairs so far, in [0, 2]."""
    relative = [
        unit_rows(torch.from_numpy(s @ s[column].T)) for s, column in ((source, pairs[:, 0]), (target, pairs[:, 1]))
    ]
    distance: NDArray[np.float64] = (1.0 - relative[0] @ relative[1].T).clamp_min(0).numpy()
    return distance


def _extend(known: NDArray[np.int64], mutual: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """The seeds, then the surest mutual matches that leave the seeds' rows alone."""
    free = ~np.isin(mutual[:, 0], known[:, 0]) & ~np.isin(mutual[:, 1], known[:, 1])
    return np.concatenate([known, mutual[free][: size - len(known)]])


def _with_seeds(matches: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
    matches = matches.copy()
    matches[known[:, 0]] = known[:, 1]
    return matches
