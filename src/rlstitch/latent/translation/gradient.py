"""An affine translation by gradient, for losses without a closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch.nn import functional

from rlstitch.errors import InvalidInputError, require_known
from rlstitch.latent._arrays import Array, require_count, to_pairs, to_weights
from rlstitch.latent.normalization import fit_isotropic, fit_standardization
from rlstitch.latent.translation.translation import Translation, finish

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
