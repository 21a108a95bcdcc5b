"""Latents of the same observations under two agents: the material that a translation is fitted on and judged by."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rlstitch.errors import InvalidInputError


@dataclass(frozen=True)
class LatentPairs:
    """Paired latents, split so that no distinct view stands on both sides.

    `x*` are latents of the encoder's agent `(n, d_x)`, `y*` those of the controller's agent `(n, d_y)`, row by row of the
    same view, each seen under its own agent's look.
    """

    x: Tensor
    """Fitted on."""
    y: Tensor
    x_held: Tensor
    """Judged on; never fitted on."""
    y_held: Tensor
    distinct_views: int
    """Distinct views that were found in all: few of them mean that the pairs are the whole world."""

    def __post_init__(self) -> None:
        for name, x, y in (("fitting", self.x, self.y), ("held-out", self.x_held, self.y_held)):
            if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
                raise InvalidInputError(
                    f"{name} pairs: expected two matrices of equally many rows, found {tuple(x.shape)} and {tuple(y.shape)}"
                )
        if len(self.x_held) == 0:
            raise InvalidInputError("held-out pairs: there are none; collect more distinct views or fit on fewer pairs")
