"""Translations that take the controller into account: balanced and task-matched affine maps."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from rlstitch.agents.controller import Controller
from rlstitch.latent import Translation, fit_affine
from rlstitch.stitching.actions import action_divergence

_ITERATIONS = 200
_WORK, _MEMORY = 2**38, 2**25
"""Multiplications of all iterations, and numbers that the search remembers: where latents are wide, there are fewer
iterations and a shorter memory, 10 of each at least."""
_PENALTY = 100.0


def fit_balanced(x: Tensor, y: Tensor, *, method: str = "balanced") -> Translation:
    """Fit the affine map of `balancing_weights` on pairs x `(n, d_x)`, y `(n, d_y)`; `method` names it.

    Raises:
        InvalidInputError: for too few pairs, or NaN.
    """
    translation = fit_affine(x, y, weights=balancing_weights(x, y))
    translation.method = method
    return translation


def fit_per_frame(x: Tensor, y: Tensor, frames: int) -> Translation:
    """Fit one affine map for the latents of every frame of a stack, on pairs x `(n, d_x)`, y `(n, d_y)`.

    Both latents are those of `frames` images that were each encoded alone, one after the other; each image is a pair.
    """
    single = fit_affine(*(z.reshape(len(z) * frames, -1) for z in (x, y)))
    translation = Translation(torch.block_diag(*[single.matrix] * frames), single.bias.repeat(frames), "per_frame")
    translation.record(x, y, None)
    return translation


def match_task(start: Translation, controller: Controller, x: Tensor, y: Tensor) -> Translation:
    """Change an affine map so that the controller acts on mapped latents as it does on the true ones.

    Least squares weighs every direction of a latent, the controller only some. This minimises the mean KL divergence of
    the frozen controller's action distributions on y from those on the mapped x, by L-BFGS from `start`: task loss
    matching (Csiszarik et al. 2021, arXiv 2110.14633) with the controller's own outputs as labels. A penalty on the
    squared distance from `start`, relative to its norm and smaller the more pairs there are, prevents overfitting. The
    map fits this controller, and not necessarily another.

    Args:
        start: where the search begins; it is not changed.
        controller: takes latents `(n, d_y)`.
        x: latents `(n, d_x)`.
        y: latents `(n, d_y)` of the same observations.
    """
    frozen = copy.deepcopy(controller).to(x).requires_grad_(False)
    matrix, bias = (part.detach().to(x).clone().requires_grad_() for part in (start.matrix, start.bias))
    with torch.no_grad():
        true = frozen.action_parameters(y)
    origin = matrix.detach().clone()
    penalty = _PENALTY / len(x) / float(origin.square().sum().clamp_min(1e-12))
    iterations = max(10, min(_ITERATIONS, _WORK // (len(x) * matrix.numel())))
    memory = max(10, min(100, _MEMORY // matrix.numel()))
    search = torch.optim.LBFGS([matrix, bias], max_iter=iterations, history_size=memory, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        divergence = action_divergence(frozen, frozen.action_parameters(x @ matrix + bias), true).mean()
        value: Tensor = divergence + penalty * (matrix - origin).square().sum()
        torch.autograd.backward(value)
        return value

    search.step(loss)
    translation = Translation(matrix, bias, method="task_matched")
    translation.record(x, y, None)
    return translation


def balancing_weights(x: Tensor, y: Tensor) -> Tensor:
    """Return weights `(n,)` of the pairs, 1 / (|x_i| |y_i|), so that long latents do not dominate short ones.

    Controllers that begin with a layer norm see the direction of a latent, not its length: an error matters in
    proportion to the length. Lengths are about the origin, as the norm's are (nearly). A length below a hundredth of
    the median counts as that.
    """
    lengths = [torch.linalg.vector_norm(z, dim=1) for z in (x, y)]
    product = torch.ones_like(lengths[0])
    for length in lengths:
        middle = length.median()
        if bool(middle > 0):
            product = product * (length / middle).clamp_min(0.01)
    return 1 / product
