"""Direct translation between latent spaces by name: maps fitted on pairs (x_i, y_i) that mean the same.

Maiorca et al., "Latent Space Translation via Semantic Alignment", arXiv:2311.00664. A fit is a function that returns
a finished `Translation`; `fit(method, x, y)` picks one by name. x (n, d_x) is the source, y (n, d_y) the target; the
widths may differ.
"""

from __future__ import annotations

from typing import Any

from rlstitch.latent._arrays import Array
from rlstitch.latent._registry import look_up
from rlstitch.latent.translation import closed_form, iterative, low_rank
from rlstitch.latent.translation.translation import Fit, Translation

METHODS: dict[str, Fit] = {**closed_form.METHODS, **low_rank.METHODS, **iterative.METHODS}
"""Name -> fit."""


def fit(method: str, x: Array, y: Array, **options: Any) -> Translation:
    """Fit the method called `method` on pairs x (n, d_x), y (n, d_y); options go to its function.

    Args:
        method: a name of `translation_methods()`.
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        **options: keyword arguments of its function.

    Returns:
        The fitted map, with a report on its own pairs.

    Raises:
        UnknownNameError: for another method.
        InvalidInputError: for too few pairs, options that the method does not take, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> bool(torch.allclose(fit("affine", x, 2 * x + 1, ridge=0)(x), 2 * x + 1, atol=1e-4))
        True
    """
    return look_up("translation method", method, METHODS, options)(x, y, **options)


def translation_methods() -> list[str]:
    """The names that `fit` takes.

    Returns:
        Names, sorted.

    Examples:
        >>> "orthogonal" in translation_methods(), "robust" in translation_methods()
        (True, True)
    """
    return sorted(METHODS)
