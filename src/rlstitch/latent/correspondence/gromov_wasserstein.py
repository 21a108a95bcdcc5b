"""Matching two spaces with no pairs at all, by Gromov-Wasserstein distance (Memoli 2011; Alvarez-Melis and Jaakkola
2018, 1809.00013). Needs POT (extra `ot`).

Beware: the problem has many local optima, and a wrong one is as decided as a right one. How well the two similarity
matrices agree under the matching (`structure`) says more, but the solver finds some agreement between any two spaces.
So the same solver is run on random spaces of the same shape (`chance`), confidence counts only what is above that, and
pairs come out of a `Matching` only past a threshold that the caller names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

import numpy as np
import torch
from numpy.typing import NDArray

from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.latent._arrays import A, Array, centred, follow, require_count, require_positive, to_numpy, to_tensor
from rlstitch.latent.correspondence.transport import load_pot, sinkhorn, surest_matches
from rlstitch.latent.normalization import unit_rows

_PROFILE = 256  # quantiles of a sample's similarities that describe it


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
    array: NDArray[np.float64] = points.numpy()
    return array


def _cosines(points: NDArray[np.float64], center: bool) -> NDArray[np.float64]:
    unit = unit_rows(torch.from_numpy(points - points.mean(0) if center else points)).numpy()
    cosines: NDArray[np.float64] = unit @ unit.T
    return cosines


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
