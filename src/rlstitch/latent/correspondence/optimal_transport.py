"""Which samples of two spaces correspond, by optimal transport: from a handful of pairs, or from none. Needs POT.

`bootstrap_anchors` grows a few pairs to hundreds (Cannistraci et al. 2023, 2303.00721). The paper optimises unknown
anchors by gradient descent under a Sinkhorn matching of the relative spaces. Here the two steps alternate in closed
form: match all samples by entropic optimal transport between the relative spaces of the pairs known so far, then take
the surest mutual matches as pairs, twice as many each round.

`match_gromov_wasserstein` needs no pairs (Memoli 2011; Alvarez-Melis and Jaakkola 2018, 1809.00013). Beware: the
problem has many local optima, and a wrong one is as decided as a right one. How well the two similarity matrices agree
under the matching (`structure`) says more, but the solver finds some agreement between any two spaces. So the same
solver is run on random spaces of the same shape (`chance`), confidence counts only what is above that, and pairs come
out of a `Matching` only past a threshold that the caller names.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Generic

import numpy as np
import torch
from numpy.typing import NDArray

from rlstitch.errors import IncompatibleError, InvalidInputError, needs_extra
from rlstitch.latent._arrays import (
    A,
    Array,
    centred,
    follow,
    require_between,
    require_count,
    require_positive,
    to_numpy,
    to_tensor,
)
from rlstitch.latent.normalization import unit_rows

_PROFILE = 256  # quantiles of a sample's similarities that describe it


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
    with needs_extra(feature, "ot"):
        import ot
    return ot


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
    return unit_rows(points).numpy()


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
    return (1.0 - relative[0] @ relative[1].T).clamp_min(0).numpy()


def _extend(known: NDArray[np.int64], mutual: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """The seeds, then the surest mutual matches that leave the seeds' rows alone."""
    free = ~np.isin(mutual[:, 0], known[:, 0]) & ~np.isin(mutual[:, 1], known[:, 1])
    return np.concatenate([known, mutual[free][: size - len(known)]])


def _with_seeds(matches: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
    matches = matches.copy()
    matches[known[:, 0]] = known[:, 1]
    return matches


@dataclass(frozen=True)
class Matching(Generic[A]):
    """A proposed matching of x (n) with y (m), and reasons to believe it or not; arrays of the kind of x.

    `matches` (n,); `mutual` (c, 2) are the pairs that both sides prefer, those with the largest share of their mass on
    each other first, and `mutual_share` how many of min(n, m). `structure` is the correlation of the cosines between
    samples of x with those between their mutual matches, in [-1, 1] (NaN-free: 0 with fewer than 3 mutual pairs), and
    `chance` the largest that came out of matching with random spaces (0 where none was asked for). `confidence` (n,)
    is the share of a sample's mass on its match times (structure - chance) / (1 - chance), in [0, 1]: near 0
    throughout where the matching is no better than chance. It is no probability: spaces that agree
    only roughly are matched with near neighbours of the truth. `distance` is the Gromov-Wasserstein objective that was
    reached, at least 0.

    Examples:
        >>> x = np.sin(np.arange(60.0) ** 2).reshape(20, 3)
        >>> result = match_gromov_wasserstein(x, 3 * x)
        >>> len(result.pairs(min_structure=0.9)), round(result.structure, 6)
        (20, 1.0)
    """

    matches: A
    confidence: A
    mutual: A
    mutual_share: float
    structure: float
    chance: float
    distance: float

    def pairs(self, *, min_structure: float) -> A:
        """The mutual pairs (c, 2), surest first; IncompatibleError where `structure` is below `min_structure`.

        No threshold fits all data: take one well above `chance`, and measure what a right matching reaches on like data
        (models of the same data often correlate at 0.6 or more).
        """
        if self.structure < min_structure:
            raise IncompatibleError(
                f"the matching must have structure {min_structure:.3f} to be trusted, found {self.structure:.3f}: the"
                " spaces may be too unlike, or the solver ended in a wrong optimum"
            )
        return self.mutual


def match_gromov_wasserstein(
    x: A, y: Array, *, center: bool = True, epsilon: float = 0.01, iterations: int = 50, surrogates: int = 2
) -> Matching[A]:
    """Match x (n, d_x) with y (m, d_y) by their cosine distances alone; neither paired nor equally many.

    Entropic Gromov-Wasserstein by proximal steps (Peyre et al. 2016; POT's solver "PPA"), started from a Sinkhorn
    matching of similarity profiles (each sample's sorted cosines: Artetxe et al. 2018, 1805.06297). `epsilon` smooths,
    relative to the mean squared distance. Quadratic in memory and cubic in time: some thousands of samples. Symmetric
    data (a ball, a regular grid) has no unique matching. `surrogates` random spaces with the covariance of y and of x,
    in turn, are matched, too, and tell what chance reaches; each costs as much again. Deterministic. Needs 3 samples on
    either side; raises MissingExtraError without POT.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(m, d_y)`, not paired with x.
        center: subtract the mean of each space.
        epsilon: entropic smoothing, above 0.
        iterations: of the solver.
        surrogates: random spaces to match for comparison; 0: none.

    Returns:
        A match for every sample of x.

    Raises:
        MissingExtraError: without POT.
        InvalidInputError: for fewer than 3 samples, values outside their ranges, NaN or infinity.

    Examples:
        >>> x = np.sin(np.arange(60.0) ** 2).reshape(20, 3)
        >>> y = 3 * x[::-1, ::-1] + 1
        >>> result = match_gromov_wasserstein(x, y)
        >>> float((result.matches == np.arange(20)[::-1]).mean()), round(result.structure, 6)
        (1.0, 1.0)
    """
    require_positive(epsilon, "epsilon")
    require_count(iterations, 10**5, "iterations", "steps")
    if surrogates != 0:
        require_count(surrogates, 10**5, "surrogates", "random spaces, or 0")
    points = _points(x, "x"), _points(y, "y")
    first, second = (_cosines(p, center) for p in points)
    plan, distance = _solve(first, second, epsilon, iterations)
    matching = surest_matches(plan)
    structure, chance = structure_agreement(first, second, matching.mutual), 0.0
    for seed in range(surrogates):
        side = 1 - seed % 2
        noise = _cosines(_surrogate(points[side], seed), center)
        a, b = (first, noise) if side == 1 else (noise, second)
        chance = max(chance, structure_agreement(a, b, surest_matches(_solve(a, b, epsilon, iterations)[0]).mutual))
    # Two spaces that chance matches perfectly (three points, say) leave nothing to be sure of.
    evidence = max(0.0, structure - chance) / (1 - chance) if chance < 1 else 0.0
    return Matching(
        matches=follow(matching.matches, x),
        confidence=follow(matching.confidence * min(1.0, evidence), x),
        mutual=follow(matching.mutual, x),
        mutual_share=len(matching.mutual) / min(plan.shape),
        structure=structure,
        chance=chance,
        distance=distance,
    )


def _solve(
    first: NDArray[np.float64], second: NDArray[np.float64], epsilon: float, iterations: int
) -> tuple[NDArray[np.float64], float]:
    """The plan (n, m) between samples with cosines (n, n) and (m, m), and the objective that it reaches."""
    ot = load_pot("Gromov-Wasserstein matching")
    distances = [np.maximum(1 - c, 0) for c in (first, second)]
    # Both on one scale, which cosines of centred spaces of different width are not.
    distances = [d / d.mean() for d in distances]
    n, m = len(first), len(second)
    start = _profile_plan(first, second)
    # Mass that has underflowed to 0 stays 0; the warning about its logarithm is silenced. The plan is checked below.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        plan, log = ot.gromov.entropic_gromov_wasserstein(
            *distances,
            np.full(n, 1 / n),
            np.full(m, 1 / m),
            loss_fun="square_loss",
            epsilon=epsilon * float((distances[0] ** 2).mean()),
            symmetric=True,
            G0=start,
            max_iter=iterations,
            solver="PPA",
            log=True,
            warn=False,
        )
    if not np.isfinite(plan).all() or (plan.sum(1) <= 0).any():
        raise InvalidInputError(f"epsilon must be large enough for the solver to stay finite, found {epsilon!r}")
    return plan, max(0.0, float(log["gw_dist"]))


def structure_agreement(first: Array, second: Array, pairs: Array) -> float:
    """Pearson correlation, over all pairs of pairs (c, 2) of indices, of the similarities first (n, n) and second
    (m, m); 0 where undefined. Quadratic in memory in the number of pairs.

    Args:
        first: similarities `(n, n)`.
        second: similarities `(m, m)`.
        pairs: row numbers `(c, 2)`.

    Returns:
        In [-1, 1].

    Raises:
        InvalidInputError: for NaN or infinity.

    Examples:
        >>> x = np.sin(np.arange(60.0) ** 2).reshape(20, 3)
        >>> cosines = np.corrcoef(x)
        >>> pairs = np.stack([np.arange(20), np.arange(20)], axis=1)
        >>> round(structure_agreement(cosines, cosines, pairs), 6)
        1.0
    """
    if len(pairs) < 3:
        return 0.0
    chosen = to_numpy(pairs)
    above = np.triu_indices(len(chosen), 1)
    a, b = (
        to_numpy(to_tensor(matrix, name).double())[np.ix_(chosen[:, side], chosen[:, side])][above]
        for side, (matrix, name) in enumerate(((first, "first"), (second, "second")))
    )
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / scale if scale > 1e-12 * len(a) else 0.0


def _points(space: Array, name: str) -> NDArray[np.float64]:
    points = to_tensor(space, name, min_rows=3).detach().double().cpu()
    centred(points, name)  # refuses equal rows
    return points.numpy()


def _cosines(points: NDArray[np.float64], center: bool) -> NDArray[np.float64]:
    unit = unit_rows(torch.from_numpy(points - points.mean(0) if center else points)).numpy()
    return unit @ unit.T


def _surrogate(points: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Random points (n, d) with the mean and the covariance of `points`, about it unrelated to them."""
    mean: NDArray[np.float64] = points.mean(0)
    _, sizes, axes = np.linalg.svd(points - mean, full_matrices=False)
    # The sign of an axis is arbitrary: rotated spaces must have rotated surrogates.
    axes *= np.where(axes @ mean < 0, -1, 1)[:, None]
    noise = np.random.default_rng(seed).standard_normal((len(points), len(sizes)))
    random: NDArray[np.float64] = np.linalg.qr(noise - noise.mean(0))[0]
    return np.asarray(mean + (random * sizes) @ axes)


def _profile_plan(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sinkhorn plan between samples described by the quantiles of their cosines with all others."""
    levels = np.linspace(0, 1, min(_PROFILE, len(first), len(second)))
    a, b = (np.quantile(c, levels, axis=1).T for c in (first, second))
    cost = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    cost = np.maximum(cost, 0)
    scale = float(cost.mean())
    if scale <= 1e-12:
        return np.full(cost.shape, 1 / cost.size)  # all profiles alike: no start is better than another
    return sinkhorn(cost / scale, 0.02, "Gromov-Wasserstein matching")
