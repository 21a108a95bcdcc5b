"""Translations that are fitted in rounds: by gradient, and from pairs some of which are wrong.

`screen_pairs` tells which pairs to trust; `fit_robust` repeats a fit in closed form, and distrusts what does not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch.nn import functional

from rlstitch.errors import InvalidInputError, require_known
from rlstitch.latent._arrays import A, Array, like, require_count, to_pairs, to_weights
from rlstitch.latent._linalg import product
from rlstitch.latent.normalization import fit_isotropic, fit_standardization, unit_rows
from rlstitch.latent.translation import closed_form, low_rank
from rlstitch.latent.translation.translation import Fit, Translation, finish

# The least share of pairs that a trimmed fit may keep: below half, the outliers could be the majority.
_LEAST = 0.5
BASES = {**closed_form.METHODS, **low_rank.METHODS}

_FOLDS = 8
# As many as any fit needs.
_LEAST_PAIRS = 4
# The most rows of y that a mapped x is compared with.
_COMPARED = 1024
# The most mapped rows that are compared at one time.
_BLOCK = 4096
# Differences of cosines below this are rounding.
_TIE = 1e-6


def screen_pairs(x: A, y: Array, *, rounds: int = 8) -> A:
    """Which of the pairs x (n, d_x), y (n, d_y) to trust: bool (n,), of the kind of x. At least 4 pairs.

    Each x_i is mapped by a scaled orthogonal map that was fitted on the trusted pairs of other folds, and its rank is
    the share of all y that lie nearer to T(x_i) in angle (about the median of y) than its own y_i. A wrong partner's
    rank is evenly spread over [0, 1], a right one's is small, however long or badly mapped the pair: so twice the share
    of ranks above a half estimates the share of wrong pairs (as the null p-values of Storey, 2002), and so many of the
    highest ranks are distrusted; half of the pairs, and four, are always kept. Repeated for `rounds`, or until nothing
    changes.

    The rigid map is a guide only, as it has little to overfit wrong pairs with; any map may be fitted on the pairs that
    are left. A wrong partner that happens to be near cannot be told from a right one.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        rounds: repetitions at most.

    Returns:
        bool `(n,)`, of the kind of x: the pairs to trust.

    Raises:
        InvalidInputError: for rows that are not paired, fewer than 4 pairs, NaN or infinity.

    Examples:
        >>> x = torch.arange(300.0).square().sin().reshape(50, 6)
        >>> y = 2 * x.flip(1)
        >>> y[:10] = y[:10].roll(1, 0)  # wrong pairs
        >>> trusted = screen_pairs(x, y)
        >>> int(trusted[:10].sum()) < 3, bool(trusted[10:].all())
        (True, True)
    """
    require_count(rounds, 1 << 40, "rounds", "a number of rounds")
    source, target = to_pairs(x, y, minimum=4, method="screen_pairs")
    source, target = source.detach(), target.detach()
    count = len(source)
    # Shuffled, as neighbouring rows may come from neighbouring moments; by a seed of its own, so that equal pairs give
    # equal answers.
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).to(source.device)
    fold = torch.empty_like(order)
    fold[order] = torch.arange(count, device=source.device) % min(_FOLDS, count)
    trusted = torch.ones(count, dtype=torch.bool, device=source.device)
    for _ in range(rounds):
        ranks = _ranks(_mapped_by_others(source, target, trusted, fold), target, trusted)
        wrong = min(0.5, 2 * float((ranks > 0.5).double().mean()))
        kept = max(_LEAST_PAIRS, round((1 - wrong) * count))
        fresh = torch.zeros_like(trusted)
        fresh[ranks.argsort(stable=True)[:kept]] = True
        if bool((fresh == trusted).all()):
            break
        trusted = fresh
    return like(trusted, x)


def _mapped_by_others(x: torch.Tensor, y: torch.Tensor, trusted: torch.Tensor, fold: torch.Tensor) -> torch.Tensor:
    """Each row of x under a map that its own fold had no part in: `(n, d_y)`."""
    mapped = torch.empty_like(y)
    for number in range(int(fold.max()) + 1):
        mine = fold == number
        others = trusted & ~mine
        if int(others.sum()) < 2:
            others = ~mine
        mapped[mine] = closed_form.fit_scaled_orthogonal(x[others], y[others])(x[mine])
    return mapped


def _ranks(mapped: torch.Tensor, y: torch.Tensor, trusted: torch.Tensor) -> torch.Tensor:
    """For each pair, the share of the rows of y that are nearer to the mapped x in angle than its own: `(n,)`."""
    middle = y[trusted].median(0).values
    toward, own = unit_rows(mapped - middle), unit_rows(y - middle)
    compared = own[:: max(1, -(-len(y) // _COMPARED))]
    ranks = []
    # In blocks: some thousand comparisons a pair are soon more than the pairs themselves.
    for start in range(0, len(y), _BLOCK):
        rows, partners = toward[start : start + _BLOCK], own[start : start + _BLOCK]
        nearer = product(rows, compared.T) > (rows * partners).sum(1, keepdim=True) + _TIE
        ranks.append(nearer.double().mean(1))
    return torch.cat(ranks)


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


# Each pair's own loss: (n,).
_LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "mse": lambda mapped, y: functional.mse_loss(mapped, y, reduction="none").mean(1),
    "huber": lambda mapped, y: functional.smooth_l1_loss(mapped, y, reduction="none").mean(1),
    "cosine": lambda mapped, y: 1 - functional.cosine_similarity(mapped, y, dim=-1),
}


def fit_affine_gradient(
    x: Array,
    y: Array,
    *,
    loss: Literal["mse", "huber", "cosine"] = "mse",
    steps: int = 200,
    decay: float = 0.0,
    weights: Array | None = None,
) -> Translation:
    """An affine map by gradient ("affine" of arXiv:2311.00664), here L-BFGS (Liu and Nocedal, 1989) on all pairs at
    once, from the zero map; deterministic. At least 3 pairs.

    x is standardised and y scaled to unit mean variance first (and the map put back together after), so that one step
    size serves. `loss` is taken in that scale: mse, huber (linear beyond one standard deviation) or cosine
    (directions alone). `steps` bounds the iterations, `decay` >= 0 adds decay * mean squared entry of the
    standardised matrix. `weights` (n,) weigh the pairs.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        loss: `mse`, `huber` or `cosine`, in standardised units.
        steps: L-BFGS iterations at most.
        decay: weight decay, at least 0.
        weights: `(n,)`, at least 0: how much each pair counts; scaled to sum to n. None: equally.

    Returns:
        The fitted map, with a report on its own pairs.

    Raises:
        UnknownNameError: for another loss.
        InvalidInputError: for a value outside its range, fewer than 3 pairs, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> translation = fit_affine_gradient(x, 2 * x + 1, loss="huber")
        >>> round(translation.report.r2, 3)
        1.0
    """
    require_known("loss", loss, _LOSSES)
    require_count(steps, 1 << 40, "steps", "a number of steps")
    if not 0 <= decay < float("inf"):
        raise InvalidInputError(f"decay must be a finite number of at least 0, found {decay!r}")
    source, target = to_pairs(x, y, minimum=3, method="fit_affine_gradient")
    source, target = source.detach(), target.detach()
    w = to_weights(weights, len(source), source)
    normal_x = fit_standardization(_moments(source, w))
    # Cosines are about the origin of y: scaled only.
    normal_y = fit_isotropic(_moments(target, w))
    origin = normal_y.shift * normal_y.weight if loss == "cosine" else torch.zeros_like(normal_y.shift)
    inputs, outputs = normal_x(source), normal_y(target) + origin
    with torch.inference_mode(False), torch.enable_grad():
        # Copies, as tensors made in inference mode take part in no graph.
        inputs, outputs, share = inputs.clone(), outputs.clone(), 1 if w is None else w.clone()
        matrix = torch.zeros(source.shape[1], target.shape[1], dtype=source.dtype, device=source.device)
        bias = outputs.mean(0).clone() if w is None else (outputs * w[:, None]).mean(0)
        matrix.requires_grad_(), bias.requires_grad_()
        _descend(
            lambda: (_LOSSES[loss](inputs @ matrix + bias, outputs) * share).mean() + decay * matrix.square().mean(),
            [matrix, bias],
            steps,
        )
    # y = (z + normal_y(y) parts undone): ((x - mean) * w) @ M + b - origin, then back to the scale of y.
    weight = normal_x.weight[:, None] * matrix.detach() * normal_y.weight_inverse
    shift = (bias.detach() - origin) * normal_y.weight_inverse + normal_y.shift - normal_x.shift @ weight
    return finish(weight, shift, "affine_gradient", source, target)


def _moments(points: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Points with the weighted mean and deviations of points (n, d): two of them do."""
    if weights is None:
        return points
    mean = (points * weights[:, None]).mean(0)
    deviation = ((points - mean).square() * weights[:, None]).mean(0).sqrt()
    return torch.stack([mean - deviation, mean + deviation])


def _descend(objective: Callable[[], torch.Tensor], parameters: list[torch.Tensor], steps: int) -> None:
    optimizer = torch.optim.LBFGS(parameters, max_iter=steps, line_search_fn="strong_wolfe", tolerance_change=1e-12)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = objective()
        value.backward()
        return value

    closure()
    # L-BFGS divides by the gradient: where there is next to none, there is nothing to do.
    if sum(float(p.grad.abs().sum()) for p in parameters if p.grad is not None) > 1e-30:
        optimizer.step(closure)


METHODS: dict[str, Fit] = {"robust": fit_robust, "affine_gradient": fit_affine_gradient}
"""Name -> fit."""
