"""Translation from pairs some of which are wrong: a closed-form fit in rounds that distrust pairs which do not fit."""

from __future__ import annotations

from typing import Literal

import torch

from rlstitch.errors import InvalidInputError, require_known
from rlstitch.latent._arrays import Array, require_count, to_pairs
from rlstitch.latent.translation.methods import linear, low_rank, orthogonal
from rlstitch.latent.translation.methods.screening import screen_pairs
from rlstitch.latent.translation.translation import Fit, Translation, finish

# The least share of pairs that a trimmed fit may keep: below half, the outliers could be the majority.
_LEAST = 0.5

BASES: dict[str, Fit] = orthogonal.METHODS | linear.METHODS | low_rank.METHODS


def fit_robust(
    x: Array,
    y: Array,
    *,
    base: str = "orthogonal",
    loss: Literal["tukey", "huber", "trimmed", "rank"] = "tukey",
    keep: float = 0.8,
    rounds: int = 30,
) -> Translation:
    """The method `base` in rounds, with weights from the last round's residuals, for pairs some of which are wrong.
    At least 4 pairs.

    Iteratively reweighted least squares: with r the distance of T(x_i) from y_i over 1.4826 times the median
    distance, `huber` weighs min(1, 1.345 / r), `tukey` (1 - (r / 4.685)^2)^2 and 0 beyond (Beaton and Tukey, 1974;
    from a huber start); `trimmed` keeps the share `keep` (at least 0.5) of the pairs that fit best (Rousseeuw, 1984).
    `base`: a method that has a closed form: orthogonal, scaled_orthogonal, l_orthogonal, linear, ridge, affine,
    low_rank, pls, cca; only bases that cannot fit every pair exactly can tell which are wrong. `rank` judges the pairs
    apart from the base, by `screen_pairs`, and fits on those that it trusts: for flexible bases, and for latents that
    no map fits closely. The report covers all pairs, the wrong ones too.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        base: method that is refitted.
        loss: `tukey`, `huber`, `trimmed` or `rank`.
        keep: share of the pairs that `trimmed` keeps, in [0.5, 1].
        rounds: refits at most.

    Returns:
        The fitted map, with a report on its own pairs.

    Raises:
        UnknownNameError: for another base or loss.
        InvalidInputError: for a value outside its range, fewer than 4 pairs, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> y = x.flip(1).clone()
        >>> y[:4] = 9.0  # wrong pairs
        >>> turn = fit_robust(x, y)
        >>> bool(torch.allclose(turn(x[4:]), y[4:], atol=1e-3))
        True
    """
    require_known("base of fit_robust", base, BASES)
    require_known("robust loss", loss, ["tukey", "huber", "trimmed", "rank"])
    if not _LEAST <= keep <= 1:
        raise InvalidInputError(f"keep must lie in [{_LEAST}, 1], found {keep!r}")
    require_count(rounds, 1 << 40, "rounds", "a number of rounds")
    source, target = to_pairs(x, y, minimum=4, method="fit_robust")
    if loss == "rank":
        trusted = screen_pairs(source, target, rounds=rounds)
        translation = BASES[base](source[trusted], target[trusted])
        return finish(translation.matrix, translation.bias, f"robust {base}", source, target)
    weights = torch.ones(len(source), dtype=source.dtype, device=source.device)
    for index in range(rounds):
        translation = BASES[base](source, target, weights=weights)
        distance = torch.linalg.vector_norm(translation(source) - target, dim=1)
        # Pairs with Tukey weight 0 stay at 0; the first half of the rounds leads to the right neighbourhood.
        current = "huber" if loss == "tukey" and index < rounds // 2 else loss
        fresh = _trust(distance, current, keep)
        settled = bool((fresh - weights).abs().max() < 1e-6)
        weights = fresh
        if settled and current == loss:
            break
    translation = BASES[base](source, target, weights=weights)
    return finish(translation.matrix, translation.bias, f"robust {base}", source, target)


def _trust(distance: torch.Tensor, loss: str, keep: float) -> torch.Tensor:
    """Weights (n,) in [0, 1] from distances (n,)."""
    if loss == "trimmed":
        kept = distance.argsort(stable=True)[: max(2, round(keep * len(distance)))]
        return torch.zeros_like(distance).index_fill_(0, kept, 1.0)
    # More than half of the pairs fit exactly: any scale above rounding tells the others.
    floor = distance.max() * torch.finfo(distance.dtype).eps + torch.finfo(distance.dtype).tiny
    ratio = distance / (1.4826 * distance.median()).clamp_min(floor)
    if loss == "huber":
        return (1.345 / ratio.clamp_min(1.345)).clamp_max(1)
    return (1 - (ratio / 4.685).square()).clamp_min(0).square()


METHODS: dict[str, Fit] = {"robust": fit_robust}
