"""Translations that are not affine: an affine map and a correction of it, for spaces that one affine map leaves apart.

`fit_local` corrects the map in each of a few clusters of x, `fit_residual` by a small network. Both begin with the
affine map and learn what it leaves, so that they equal it where it leaves nothing.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any, NoReturn, Self

import torch
from torch import nn

from rlstitch.errors import InvalidInputError, require_known
from rlstitch.latent._arrays import A, Array, like, negligible, noise_floor, require_count, to_pairs, to_tensor
from rlstitch.latent.translation.closed_form import fit_affine
from rlstitch.latent.translation.translation import FitReport, Translation

LARGEST = 65_536
"""The most clusters or hidden units."""
_FEWEST = 32
"""Pairs of a cluster, at least, on average."""
_STEPS, _RATE, _DECAY = 400, 3e-3, 1e-2
_JUDGED = 5
"""One pair in so many decides when the network is best, and is not learned from."""


class CorrectedTranslation(Translation):
    """x @ matrix + bias + correction(x); `matrix`, `bias` and the condition number are those of the affine part.

    Args:
        affine: the affine part.
        size: of the correction: its clusters or hidden units.
    """

    kind: str
    is_affine = False

    def __init__(self, affine: Translation, size: int, report: FitReport | None = None) -> None:
        super().__init__(affine.matrix, affine.bias, self.kind, report)
        self.size = size

    @abstractmethod
    def correction(self, x: torch.Tensor) -> torch.Tensor:
        """What is added to the affine map of x (…, d_x): (…, d_y)."""

    def forward(self, x: A) -> A:
        """Translate (…, d_x) -> (…, d_y), as `Translation`."""
        tensor = to_tensor(x, "x", ndim=None, width=self.width_in, finite=False)
        return like(self.mapped(tensor), x)

    def mapped(self, x: torch.Tensor) -> torch.Tensor:
        """Translate rows (…, d_x) that have been checked: (…, d_y)."""
        affine = x @ self.matrix.to(x) + self.bias.to(x)
        return affine + self.correction(x.to(self.matrix)).to(x)

    def then(self, other: Translation) -> NoReturn:
        """Refused: two maps of which one is not affine are no one map."""
        raise InvalidInputError(f"then: expected affine maps, found {self.method!r}")

    def inverse(self) -> NoReturn:
        """Refused: it has no inverse of its kind."""
        raise InvalidInputError(f"inverse: expected an affine map, found {self.method!r}")

    def spec(self) -> dict[str, Any]:
        """What `build_translation` needs besides the state_dict; JSON."""
        return {**super().spec(), "kind": self.kind, "size": self.size}

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> Self:
        """A map of zeros of the size that `spec` describes; raises InvalidInputError as `Translation.from_spec`."""
        affine = Translation.from_spec(spec)
        if type(size := spec.get("size")) is not int or not 1 <= size <= LARGEST:
            raise InvalidInputError(f"spec must have a size of 1 to {LARGEST:,}, found {size!r:.40}")
        return cls(affine, size, affine.report)


class LocalTranslation(CorrectedTranslation):
    """The correction is an affine map for each cluster of x: that of the nearest centre."""

    kind = "local"
    centres: torch.Tensor
    matrices: torch.Tensor
    biases: torch.Tensor

    def __init__(self, affine: Translation, size: int, report: FitReport | None = None) -> None:
        super().__init__(affine, size, report)
        zeros = self.matrix.new_zeros
        self.register_buffer("centres", zeros(size, self.width_in))
        self.register_buffer("matrices", zeros(size, self.width_in, self.width_out))
        self.register_buffer("biases", zeros(size, self.width_out))

    def correction(self, x: torch.Tensor) -> torch.Tensor:
        """See `CorrectedTranslation`."""
        # Inner products lose digits far from the origin.
        middle = self.centres.mean(dim=0)
        centres = self.centres - middle
        nearest = ((x - middle) @ centres.T - centres.square().sum(dim=1) / 2).argmax(dim=-1, keepdim=True)
        own = (nearest == torch.arange(self.size, device=x.device)).to(x)
        everywhere = torch.einsum("...d,kde->...ke", x, self.matrices) + self.biases
        return torch.einsum("...k,...ke->...e", own, everywhere)


class ResidualTranslation(CorrectedTranslation):
    """The correction is a network of one hidden layer on x."""

    kind = "residual"

    def __init__(self, affine: Translation, size: int, report: FitReport | None = None) -> None:
        super().__init__(affine, size, report)
        self.hidden = self._zero_layer(self.width_in, size)
        self.out = self._zero_layer(size, self.width_out)

    def _zero_layer(self, width_in: int, width_out: int) -> nn.Linear:
        # `nn.Linear` alone would draw weights, from the random numbers of the whole process.
        layer = nn.utils.skip_init(
            nn.Linear, width_in, width_out, device=self.matrix.device, dtype=self.matrix.dtype
        ).requires_grad_(False)
        nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)
        return layer

    def correction(self, x: torch.Tensor) -> torch.Tensor:
        """See `CorrectedTranslation`."""
        return self.out(torch.relu(self.hidden(x)))


KINDS: dict[str, type[Translation]] = {
    "affine": Translation,
    "local": LocalTranslation,
    "residual": ResidualTranslation,
}
"""By the `kind` in a specification; those of affine maps name none."""


def build_translation(spec: dict[str, Any]) -> Translation:
    """A map of the kind and size that `spec` describes, ready for `load_state_dict`.

    Raises:
        UnknownNameError: for another kind.
        InvalidInputError: as `Translation.from_spec`.
    """
    kind = str(spec.get("kind", "affine"))
    require_known("kind of translation", kind, KINDS)
    return KINDS[kind].from_spec(spec)


def _fitted(source: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Translation, torch.Tensor]:
    """Return pairs without gradients, the affine map of them, and what it leaves."""
    source, target = source.detach(), target.detach()
    affine = fit_affine(source, target)
    return source, target, affine, target - affine(source)


def fit_local(x: Array, y: Array, *, clusters: int = 8) -> LocalTranslation:
    """`fit_affine`, then once more on what it leaves in each cluster of x (k-means). At least 3 pairs.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        clusters: at most so many, and no more than give each 32 pairs on average.

    Returns:
        The fitted map; in a cluster of fewer than 3 pairs it is the affine one.

    Raises:
        InvalidInputError: for a number of clusters outside its range, fewer than 3 pairs, NaN or infinity.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    require_count(clusters, LARGEST, "clusters", "a number of clusters")
    source, target, affine, left = _fitted(*to_pairs(x, y, minimum=3, method="fit_local"))
    size = max(1, min(clusters, len(source) // _FEWEST))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different x than clusters
        model = KMeans(size, random_state=0, n_init=1).fit(source.double().cpu().numpy())
    translation = LocalTranslation(affine, size)
    translation.centres.copy_(torch.from_numpy(model.cluster_centers_))
    for cluster in range(size):
        rows = torch.from_numpy(model.labels_ == cluster).to(source.device)
        if int(rows.sum()) >= 3:
            part = fit_affine(source[rows], left[rows])
            translation.matrices[cluster], translation.biases[cluster] = part.matrix, part.bias
    translation.record(source, target, None)
    return translation


@torch.inference_mode(False)
def fit_residual(x: Array, y: Array, *, hidden: int = 128) -> ResidualTranslation:
    """`fit_affine`, then a network of one hidden layer on what it leaves. At least 10 pairs.

    Full batches, AdamW. A fifth of the pairs is not learned from: the weights of the step with the least error on them
    are kept, and those before the first step correct nothing. A column of x that is constant has no part in the
    correction.

    Args:
        x: source samples `(n, d_x)`, tensor or array.
        y: target samples `(n, d_y)`, row i for row i of x.
        hidden: units of the hidden layer.

    Returns:
        The fitted map; equal pairs give equal maps.

    Raises:
        InvalidInputError: for a number of units outside its range, fewer than 10 pairs, NaN or infinity.
    """
    require_count(hidden, LARGEST, "hidden", "a number of units")
    source, target, affine, left = _fitted(*to_pairs(x, y, minimum=10, method="fit_residual"))
    generator = torch.Generator().manual_seed(0)
    aside = (torch.randperm(len(source), generator=generator) % _JUDGED == 0).to(source.device)
    mean, deviation, scale = source.mean(0), source.std(0), left.std().clamp_min(negligible(left.dtype))
    # What no pair shows, the network must not learn from rounding: divided by infinity, its weight is 0.
    floor = noise_floor(source).clamp_min(float(deviation.max()) * torch.finfo(source.dtype).eps)
    deviation = torch.where(deviation > floor, deviation, torch.inf)
    normal, goal = (source - mean) / deviation, left / scale
    translation = ResidualTranslation(affine, hidden)
    first, last = translation.hidden, translation.out
    with torch.no_grad():
        drawn = torch.randn(first.weight.shape, generator=generator, dtype=first.weight.dtype)
        first.weight.copy_(drawn / first.in_features**0.5)
        for tensor in (first.bias, last.weight, last.bias):
            tensor.zero_()
    translation.requires_grad_(True)
    search = torch.optim.AdamW(translation.parameters(), lr=_RATE, weight_decay=_DECAY)
    least, best = float("inf"), translation.state_dict()
    with torch.enable_grad():
        for _ in range(_STEPS):
            errors = (translation.correction(normal) - goal).square().mean(1)
            if (error := errors[aside].mean().item()) < least:
                least, best = error, {name: value.clone() for name, value in translation.state_dict().items()}
            search.zero_grad()
            torch.autograd.backward(errors[~aside].mean())
            search.step()
    translation.load_state_dict(best)
    translation.requires_grad_(False)
    with torch.no_grad():  # the network takes latents as they are
        first.weight.div_(deviation)
        first.bias.sub_(first.weight @ mean)
        last.weight.mul_(scale)
        last.bias.mul_(scale)
    translation.record(source, target, None)
    return translation
