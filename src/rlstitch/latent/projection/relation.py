"""What every projection on anchors shares: checks of its input, and the same kind of array out as in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from rlstitch.latent._arrays import A, Array, like, same_width, to_tensor

Relation: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""x (n, d) -> (n, k): how samples relate to k fixed anchors."""
Bind: TypeAlias = Callable[..., Relation]
"""anchors (k, d), options -> the relation to them; does the anchors' part of the work."""


def relate(x: A, anchors: Array, bind: Bind, **options: Any) -> A:
    """The relation of x (n, d) to anchors (k, d): (n, k), in x's dtype, on its device.

    Raises InvalidInputError for no anchors, widths that differ, NaN or infinity.
    """
    points, samples = to_tensor(anchors, "anchors", min_rows=1), to_tensor(x, "x")
    same_width(samples, points, "x", "anchors")
    return like(bind(points.to(samples), **options)(samples), x)
