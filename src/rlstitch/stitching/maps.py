"""The maps that a stitch may put between an encoder and a controller."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from rlstitch.agents.controller import Controller
from rlstitch.errors import InvalidInputError
from rlstitch.latent import Translation, fit, fit_affine, screen_pairs
from rlstitch.stitching.diagnosis.held_out import action_divergence

CANDIDATES = ("orthogonal", "linear", "affine", "balanced")
"""The maps that `auto` chooses from."""
TRANSLATIONS = (*CANDIDATES, "scaled_orthogonal", "ridge", "robust", "task_matched")
"""Maps that are fitted on pairs."""

_ITERATIONS = 200
_PULL = 100.0


def fit_map(method: str, x: Tensor, y: Tensor, controller: Controller | None = None) -> Translation:
    """Fit one of `TRANSLATIONS` on pairs x `(n, d_x)`, y `(n, d_y)`.

    `balanced` is the affine map of `balancing_weights`; `robust` is `balanced` on the pairs that `screen_pairs` trusts,
    with at least 4 pairs; `task_matched` is `match_task` from `balanced` on, through the controller. The others are
    those of `rlstitch.latent.fit`. The report of a fit covers the pairs that it was fitted on.

    Raises:
        InvalidInputError: for too few pairs, NaN, or `task_matched` without a controller.
        UnknownNameError: for another name.
    """
    if method == "task_matched" and controller is None:
        raise InvalidInputError("task_matched: expected the controller that the map is fitted for, found none")
    if method == "robust":
        trusted = screen_pairs(x, y)
        x, y = x[trusted], y[trusted]
    if method not in ("balanced", "robust", "task_matched"):
        return fit(method, x, y)
    found = fit_affine(x, y, weights=balancing_weights(x, y))
    if method == "task_matched" and controller is not None:
        found = match_task(found, controller, x, y)
    found.method = method
    return found


def match_task(start: Translation, controller: Controller, x: Tensor, y: Tensor) -> Translation:
    """Move an affine map so that the controller acts on mapped latents as it does on its own.

    Least squares counts every direction of a latent, the controller only some. This minimises the mean KL divergence of
    the frozen controller's action distributions on y from those on the mapped x, by L-BFGS from `start` on: task loss
    matching (Csiszarik et al. 2021, arXiv 2110.14633) with the controller's own outputs as labels. A pull back to
    `start`, by the square of the move as a share of the map's and the less the more pairs there are, keeps few pairs
    from being learnt by heart. Latents that it maps to are right for this controller, and need not be for another.

    Args:
        start: where the search begins; stays as it is.
        controller: takes latents `(n, d_y)`.
        x, y: pairs `(n, d_x)` and `(n, d_y)`.
    """
    frozen = copy.deepcopy(controller).to(x).requires_grad_(False)
    matrix, bias = (part.detach().to(x).clone().requires_grad_() for part in (start.matrix, start.bias))
    with torch.no_grad():
        wanted = frozen.action_parameters(y)
    origin = matrix.detach().clone()
    pull = _PULL / len(x) / float(origin.square().sum().clamp_min(1e-12))
    search = torch.optim.LBFGS([matrix, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        divergence = action_divergence(frozen, frozen.action_parameters(x @ matrix + bias), wanted).mean()
        value: Tensor = divergence + pull * (matrix - origin).square().sum()
        torch.autograd.backward(value)
        return value

    search.step(loss)
    found = Translation(matrix, bias, method="task_matched")
    found.record(x, y, None)
    return found


def balancing_weights(x: Tensor, y: Tensor) -> Tensor:
    """Weights `(n,)` of the pairs, 1 / (|x_i| |y_i|), so that long latents do not outvote short ones.

    Controllers that begin with a layer norm see the direction of a latent, not its length: an error counts in
    proportion to the length of what it spoils. Lengths are about the origin, as the norm's are (nearly). A length below
    a hundredth of the median counts as that.
    """
    lengths = [torch.linalg.vector_norm(z, dim=1) for z in (x, y)]
    product = torch.ones_like(lengths[0])
    for length in lengths:
        middle = length.median()
        if bool(middle > 0):
            product = product * (length / middle).clamp_min(0.01)
    return 1 / product
