"""One universal space for several spaces at once, with one orthogonal map each (generalised Procrustes, Gower 1975)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rlstitch.errors import InvalidInputError
from rlstitch.latent._arrays import Array, like, require_count, require_positive, to_tensor
from rlstitch.latent.translation.translation import Translation


@dataclass(frozen=True)
class Universal:
    """M maps into one space.

    `translations[i]` takes space i (…, d_i) to the universal space (…, D), D the largest of the d_i; `consensus`
    (n, D) is the mean of the mapped samples. `losses` is the mean squared distance from the consensus, one value an
    iteration, never rising; `unexplained` the last of them as a share of the total variance, in [0, 1].

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> fitted = fit_universal([x, x.flip(1), -x + 1])
        >>> bool(torch.allclose(fitted.between(1, 2)(x.flip(1)), -x + 1, atol=1e-5))
        True
    """

    translations: tuple[Translation, ...]
    consensus: Array
    losses: tuple[float, ...]
    unexplained: float
    converged: bool

    def between(self, source: int, target: int) -> Translation:
        """From space `source` to space `target` through the universal one. Where the target is narrower than D its map
        is undone by its pseudo-inverse.
        """
        count = len(self.translations)
        for index, name in ((source, "source"), (target, "target")):
            if not 0 <= index < count:
                raise InvalidInputError(f"{name} must be the index of a space, in [0, {count - 1}], found {index}")
        return self.translations[source].then(self.translations[target].inverse())


def fit_universal(
    spaces: Sequence[Array], *, scale: bool = False, iterations: int = 200, tolerance: float = 1e-10
) -> Universal:
    """Fit M >= 2 spaces (n, d_i), paired row by row, to each other: 2 M orthogonal Procrustes problems a round at most.

    Every space is centred and padded with zeros to the widest, then rotated on to the mean of all, in turn, until the
    loss falls by less than `tolerance` of itself. `scale` first brings every space to the same spread (mean squared
    distance 1 from its mean). With M = 2 `between(0, 1)` is `fit_orthogonal(scale=False)`. It is determined up to
    a rotation; the first space sets it. Needs 2 samples; raises InvalidInputError for a space without variance.

    Args:
        spaces: at least 2 spaces `(n, d_i)`, paired row by row.
        scale: bring all spaces to the same spread first.
        iterations: rounds at most.
        tolerance: relative fall of the loss at which the rounds end.

    Returns:
        A map from each space to the universal one, and the consensus.

    Raises:
        InvalidInputError: for fewer than 2 spaces or samples, unpaired rows, a space without variance, NaN or infinity.

    Examples:
        >>> x = torch.arange(60.0).square().sin().reshape(20, 3)
        >>> fitted = fit_universal([x, x.flip(1), -x + 1])
        >>> len(fitted.translations), fitted.consensus.shape, round(fitted.unexplained, 6)
        (3, torch.Size([20, 3]), 0.0)
    """
    require_count(iterations, 10**6, "iterations", "rounds")
    require_positive(tolerance, "tolerance")
    centred, means, scales = _prepare(spaces, scale)
    width = max(space.shape[1] for space in centred)
    padded = torch.stack([torch.nn.functional.pad(space, (0, width - space.shape[1])) for space in centred])
    # Fitting each space to the first is a good start; the mean of unaligned spaces may be near zero.
    rotations = [_rotation(space, padded[0]) for space in padded]
    aligned = torch.stack([space @ rotation for space, rotation in zip(padded, rotations, strict=True)])
    losses: list[float] = [_loss(aligned)]
    variance = float(padded.square().sum() / padded.shape[1])
    converged = False
    for _ in range(iterations):
        # Each space against the mean of the others, with theirs of this round: the loss falls with every step.
        total = aligned.sum(0)
        for i, space in enumerate(padded):
            others = total - aligned[i]
            rotations[i] = _rotation(space, others)
            aligned[i] = space @ rotations[i]
            total = others + aligned[i]
        losses.append(_loss(aligned))
        if losses[-2] - losses[-1] <= tolerance * max(losses[-2], 1e-30 * variance) or losses[-1] <= 1e-24 * variance:
            converged = True
            break
    translations = []
    for given, rotation, mean, size in zip(spaces, rotations, means, scales, strict=True):
        matrix = rotation[: len(mean)] * size
        original = to_tensor(given, "spaces")
        translations.append(Translation(matrix.to(original), (-mean @ matrix).to(original), "universal"))
    first: Any = spaces[0]
    consensus = like(aligned.mean(0).to(to_tensor(first, "spaces")), first)
    return Universal(tuple(translations), consensus, tuple(losses), losses[-1] / variance, converged)


def _prepare(spaces: Sequence[Array], scale: bool) -> tuple[list[torch.Tensor], list[torch.Tensor], list[float]]:
    if len(spaces) < 2:
        raise InvalidInputError(f"spaces must hold at least 2 spaces, found {len(spaces)}")
    centred, means, scales = [], [], []
    for number, given in enumerate(spaces):
        space = to_tensor(given, f"spaces[{number}]", min_rows=2).detach().double()
        if len(space) != len(spaces[0]):
            raise InvalidInputError(
                f"spaces must be paired row by row, found {len(spaces[0])} rows in spaces[0] and {len(space)} in"
                f" spaces[{number}]"
            )
        means.append(space.mean(0))
        centred.append(space - means[-1])
        spread = float(centred[-1].square().sum(1).mean().sqrt())
        if spread <= 1e-12 * float(space.norm(dim=1).max()):
            raise InvalidInputError(f"spaces[{number}] must vary between samples, found {len(space)} equal rows")
        scales.append(1 / spread if scale else 1.0)
        centred[-1] = centred[-1] * scales[-1]
    return centred, means, scales


def _rotation(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The orthogonal R that brings source @ R nearest to target."""
    left, _, right = torch.linalg.svd(source.T @ target)
    rotation: torch.Tensor = left @ right
    return rotation


def _loss(aligned: torch.Tensor) -> float:
    """Squared distance from the mean, summed over spaces, mean over samples."""
    return float((aligned - aligned.mean(0)).square().sum() / aligned.shape[1])
