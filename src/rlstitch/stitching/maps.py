"""The maps that a stitch may put between an encoder and a controller."""

from __future__ import annotations

import torch
from torch import Tensor

from rlstitch.latent import Translation, fit, fit_affine, screen_pairs

CANDIDATES = ("orthogonal", "linear", "affine", "balanced")
"""The maps that `auto` chooses from."""
TRANSLATIONS = (*CANDIDATES, "scaled_orthogonal", "ridge", "robust")
"""Maps that are fitted on pairs."""


def fit_map(method: str, x: Tensor, y: Tensor) -> Translation:
    """Fit one of `TRANSLATIONS` on pairs x `(n, d_x)`, y `(n, d_y)`.

    `balanced` is the affine map of `balancing_weights`; `robust` is `balanced` on the pairs that `screen_pairs` trusts,
    with at least 4 pairs. The others are those of `rlstitch.latent.fit`. The report of a fit covers the pairs that it
    was fitted on.

    Raises:
        InvalidInputError: for too few pairs, or NaN.
        UnknownNameError: for another name.
    """
    if method == "robust":
        trusted = screen_pairs(x, y)
        x, y = x[trusted], y[trusted]
    if method not in ("balanced", "robust"):
        return fit(method, x, y)
    found = fit_affine(x, y, weights=balancing_weights(x, y))
    found.method = method
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
