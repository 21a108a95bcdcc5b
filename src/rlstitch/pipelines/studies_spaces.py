"""Two stored latent spaces, paired by their keys: how alike they are, and a map from one to the other."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from rlstitch.errors import InvalidInputError
from rlstitch.latent import (
    FitReport,
    evaluate_translation,
    fit,
    linear_cka,
    matched_cosine,
    mutual_knn,
    procrustes_distance,
    rbf_cka,
    rsa,
    svcca,
)
from rlstitch.latent.space import LatentSpace
from rlstitch.storage import load_space, save_translation

_MOST = 2000
"""Pairs that the measures look at which are quadratic in their number."""


@dataclass(frozen=True)
class Comparison:
    """How alike two spaces are on their common keys; the docstrings of the measures say what each means.

    `cosine` is None where the widths differ. `neighbours` is the k of `mutual_knn`. Of many pairs, `rbf_cka`,
    `mutual_knn` and `rsa` see 2,000, a seeded choice.
    """

    pairs: int
    width_x: int
    width_y: int
    neighbours: int
    linear_cka: float
    rbf_cka: float
    svcca: float
    mutual_knn: float
    rsa: float
    procrustes_distance: float
    cosine: float | None

    def __str__(self) -> str:
        rows = [(field.name.replace("_", " "), getattr(self, field.name)) for field in fields(self)]
        texts = [(name, "–" if v is None else f"{v:.4f}" if isinstance(v, float) else str(v)) for name, v in rows]
        width = max(len(name) for name, _ in texts)
        return "\n".join(f"{name:<{width}}  {text}" for name, text in texts)


@dataclass(frozen=True)
class TranslationOutcome:
    """Where a map was written, and how it did on pairs that it had not seen before it was fitted again on all."""

    path: Path
    method: str
    pairs: int
    held_out: FitReport

    def __str__(self) -> str:
        found = self.held_out
        return (
            f"{self.path}: {self.method}, fitted on {self.pairs} pairs; on {found.n_pairs} pairs held out before: "
            f"R² {found.r2:.4f}, cosine {found.mean_cosine:.4f}, residual {found.residual:.4g}"
        )


def compare_spaces(x: Path | str, y: Path | str, *, neighbours: int = 10, seed: int = 0) -> Comparison:
    """Compare two stored spaces (`.safetensors` or `.npz`).

    Raises:
        InvalidInputError: for too few common keys, `neighbours` not in [1, pairs - 1], or a space that does not vary.
        IncompatibleError: where the spaces have no key in common.
        ArtefactError: where a file is missing, damaged, or holds no latent space.
    """
    source, target = _paired(x, y)
    if len(source) < 4:
        raise InvalidInputError(f"at least 4 keys must be common to both spaces, found {len(source)}")
    a, b = source.vectors, target.vectors
    rows = np.sort(np.random.default_rng(seed).permutation(len(source))[:_MOST])
    some_a, some_b = a[rows], b[rows]
    return Comparison(
        pairs=len(source),
        width_x=source.width,
        width_y=target.width,
        neighbours=neighbours,
        linear_cka=linear_cka(a, b),
        rbf_cka=rbf_cka(some_a, some_b),
        svcca=svcca(a, b),
        mutual_knn=mutual_knn(some_a, some_b, neighbours),
        rsa=rsa(some_a, some_b),
        procrustes_distance=procrustes_distance(a, b),
        cosine=matched_cosine(a, b) if source.width == target.width else None,
    )


def translate_spaces(
    source: Path | str,
    target: Path | str,
    out: Path | str,
    *,
    method: str = "affine",
    held_out: float = 0.2,
    seed: int = 0,
    force: bool = False,
) -> TranslationOutcome:
    """Fit a map between two stored spaces on their common keys, and write it as `.safetensors`.

    A share `held_out` of the pairs, drawn by `seed`, judges the map; then it is fitted again on all.

    Raises:
        UnknownNameError: for another method than `translation_methods()`.
        InvalidInputError: for too few pairs, a share outside (0, 1), another suffix, or (without `force`) an `out`
            that is there.
        IncompatibleError, ArtefactError: as for `compare_spaces`.
    """
    out = Path(out)
    if out.suffix != ".safetensors":
        raise InvalidInputError(f"{out}: expected a name that ends in .safetensors")
    if out.exists() and not force:
        raise InvalidInputError(f"{out} is there already; --force replaces it")
    if not 0 < held_out < 1:
        raise InvalidInputError(f"held_out must lie between 0 and 1, found {held_out}")
    x, y = _paired(source, target)
    order = np.random.default_rng(seed).permutation(len(x))
    judged = max(1, round(held_out * len(x)))
    if len(x) - judged < 3:
        raise InvalidInputError(f"at least 3 pairs must be left to fit on, found {len(x)} pairs, {judged} held out")
    kept, judges = order[judged:], order[:judged]
    trial = fit(method, x.vectors[kept], y.vectors[kept])
    report = evaluate_translation(trial, x.vectors[judges], y.vectors[judges])
    final = fit(method, x.vectors, y.vectors)
    save_translation(final, out)
    return TranslationOutcome(out, method, len(x), report)


def _paired(x: Path | str, y: Path | str) -> tuple[LatentSpace[torch.Tensor], LatentSpace[torch.Tensor]]:
    """Both spaces as torch tensors of one dtype, cut to their common keys."""
    spaces: list[LatentSpace[torch.Tensor]] = [load_space(path).map(torch.as_tensor) for path in (x, y)]
    dtype = torch.promote_types(spaces[0].vectors.dtype, spaces[1].vectors.dtype)
    wide = dtype if dtype == torch.float64 else torch.float32
    first, second = (space.map(lambda vectors: vectors.to(wide)) for space in spaces)
    return first.pair(second)
