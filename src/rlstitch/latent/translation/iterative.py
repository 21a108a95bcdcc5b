"""Translations fitted step by step: by gradient, and in rounds that distrust pairs which do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch.nn import functional

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.latent._arrays import Array, require_count, to_pairs, to_weights
from rlstitch.latent.normalization import fit_isotropic, fit_standardization
from rlstitch.latent.translation.linear import fit_affine, fit_linear, fit_ridge
from rlstitch.latent.translation.low_rank import fit_cca, fit_low_rank, fit_pls
from rlstitch.latent.translation.orthogonal import fit_l_orthogonal, fit_orthogonal, fit_scaled_orthogonal
from rlstitch.latent.translation.screening import screen_pairs
from rlstitch.latent.translation.translation import Translation, finish

# The least share of pairs that a trimmed fit may keep: below half, the outliers could be the majority.
_LEAST = 0.5

# Each pair's own loss: (n,).
_LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "mse": lambda mapped, y: functional.mse_loss(mapped, y, reduction="none").mean(1),
    "huber": lambda mapped, y: functional.smooth_l1_loss(mapped, y, reduction="none").mean(1),
    "cosine": lambda mapped, y: 1 - functional.cosine_similarity(mapped, y, dim=-1),
}
_BASES: dict[str, Callable[..., Translation]] = {
    "orthogonal": fit_orthogonal,
    "scaled_orthogonal": fit_scaled_orthogonal,
    "l_orthogonal": fit_l_orthogonal,
    "linear": fit_linear,
    "ridge": fit_ridge,
    "affine": fit_affine,
    "low_rank": fit_low_rank,
    "pls": fit_pls,
    "cca": fit_cca,
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

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> translation = fit_affine_gradient(x, 2 * x + 1, loss="huber")
        >>> round(translation.report.r2, 3)
        1.0
    """
    if loss not in _LOSSES:
        raise UnknownNameError("loss", loss, _LOSSES)
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

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> y = x.flip(1).clone()
        >>> y[:4] = 9.0  # wrong pairs
        >>> turn = fit_robust(x, y)
        >>> bool(torch.allclose(turn(x[4:]), y[4:], atol=1e-3))
        True
    """
    if base not in _BASES:
        raise UnknownNameError("base of fit_robust", base, _BASES)
    if loss not in ("tukey", "huber", "trimmed", "rank"):
        raise UnknownNameError("robust loss", loss, ["tukey", "huber", "trimmed", "rank"])
    if not _LEAST <= keep <= 1:
        raise InvalidInputError(f"keep must lie in [{_LEAST}, 1], found {keep!r}")
    require_count(rounds, 1 << 40, "rounds", "a number of rounds")
    source, target = to_pairs(x, y, minimum=4, method="fit_robust")
    if loss == "rank":
        trusted = screen_pairs(source, target, rounds=rounds)
        translation = _BASES[base](source[trusted], target[trusted])
        return finish(translation.matrix, translation.bias, f"robust {base}", source, target)
    weights = torch.ones(len(source), dtype=source.dtype, device=source.device)
    for index in range(rounds):
        translation = _BASES[base](source, target, weights=weights)
        distance = torch.linalg.vector_norm(translation(source) - target, dim=1)
        # Tukey's weights forget pairs for good; the first half of the rounds leads to the right neighbourhood.
        current = "huber" if loss == "tukey" and index < rounds // 2 else loss
        fresh = _trust(distance, current, keep)
        settled = bool((fresh - weights).abs().max() < 1e-6)
        weights = fresh
        if settled and current == loss:
            break
    translation = _BASES[base](source, target, weights=weights)
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


METHODS: dict[str, Callable[..., Translation]] = {"affine_gradient": fit_affine_gradient, "robust": fit_robust}
