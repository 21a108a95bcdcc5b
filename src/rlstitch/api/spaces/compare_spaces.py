"""Two stored latent spaces, paired by their keys: how similar they are, before and after maps from one to the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from rlstitch.errors import InvalidInputError
from rlstitch.jobs.progress import ProgressReporter
from rlstitch.latent import (
    LatentSpace,
    Translation,
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
from rlstitch.storage import aligned, load_space

_MAX_PAIRS = 2000
"""Of pairs that measures with quadratic cost are computed on."""
_MAPS = ("orthogonal", "affine")


@dataclass(frozen=True)
class Measures:
    """How similar paired vectors are; the functions of these names say what each means, `r2` is that of `FitReport`.

    `cosine` and `r2` are None where the widths differ, any of them where the vectors do not vary or are too few. Of
    many pairs, `rbf_cka`, `mutual_knn` and `rsa` see 2,000, a seeded choice.
    """

    linear_cka: float | None
    rbf_cka: float | None
    svcca: float | None
    mutual_knn: float | None
    rsa: float | None
    procrustes_distance: float | None
    cosine: float | None
    r2: float | None


@dataclass(frozen=True)
class Comparison:
    """How similar two spaces are on their common keys, before and after a map from the first to the second.

    Attributes:
        pairs: number of common keys.
        held_out: number of pairs that the maps were not fitted on, half of all; 0 below 8 pairs.
        width_x: of the first space.
        width_y: of the second.
        neighbours: the k of `mutual_knn`.
        seed: chooses the pairs held out.
        measures: of `all pairs` as they are; of the held-out ones as they are (`held out`) and after the maps
            `orthogonal` and `affine`.
    """

    pairs: int
    held_out: int
    width_x: int
    width_y: int
    neighbours: int
    seed: int
    measures: Mapping[str, Measures]

    def __str__(self) -> str:
        maps = "too few for maps"
        if self.held_out:
            maps = f"{self.held_out} of them held out of the maps (seed {self.seed})"
        head = [
            f"pairs       {self.pairs}, {maps}",
            f"widths      {self.width_x} and {self.width_y}",
            f"neighbours  {self.neighbours}",
        ]
        lines = [["", *(f"after {name}" if name in _MAPS else name for name in self.measures)]]
        for field in fields(Measures):
            values = [getattr(measures, field.name) for measures in self.measures.values()]
            lines.append([field.name.replace("_", " "), *("–" if v is None else f"{v:.4f}" for v in values)])
        return "\n".join([*head, "", *aligned(lines, left=1)])


def load_pair(x: Path | str, y: Path | str) -> tuple[LatentSpace[torch.Tensor], LatentSpace[torch.Tensor]]:
    """Load two stored spaces as torch tensors of one dtype, with the keys that they share in the same order.

    Raises:
        IncompatibleError: where the spaces have no key in common.
        ArtefactError: where a file is missing, damaged, or holds no latent space.
    """
    spaces: list[LatentSpace[torch.Tensor]] = [load_space(path).map(torch.as_tensor) for path in (x, y)]
    dtype = torch.promote_types(spaces[0].vectors.dtype, spaces[1].vectors.dtype)
    wide = dtype if dtype == torch.float64 else torch.float32
    first, second = (space.map(lambda vectors: vectors.to(wide)) for space in spaces)
    return first.pair(second)


def compare_spaces(
    x: Path | str,
    y: Path | str,
    *,
    neighbours: int = 10,
    seed: int = 0,
    progress: ProgressReporter | None = None,
) -> Comparison:
    """Compare two stored spaces (`.safetensors` or `.npz`), as they are and after maps fitted on half of the pairs.

    Args:
        x: file of one space.
        y: file of the other.
        neighbours: the k of `mutual_knn`.
        seed: chooses the pairs that are held out of the maps.
        progress: shows how far each stage of the work is; None: nothing is shown.

    Raises:
        InvalidInputError: for too few common keys, `neighbours` not in [1, pairs - 1], or a space that does not vary.
        IncompatibleError, ArtefactError: as for `load_pair`.
    """
    progress = progress or ProgressReporter(style="none")
    progress.stage("reading the spaces")
    source, target = load_pair(x, y)
    if len(source) < 4:
        raise InvalidInputError(f"at least 4 keys must be common to both spaces, found {len(source)}")
    a, b = source.vectors, target.vectors
    order = np.random.default_rng(seed).permutation(len(source))
    progress.stage("measuring all pairs")
    measures = {"all pairs": _measure(a, b, neighbours, order, strict=True)}
    held_out = len(source) // 2 if len(source) >= 8 else 0
    if held_out:
        test, train = order[:held_out], order[held_out:]
        rows = np.arange(held_out)
        progress.stage("measuring held-out pairs")
        measures["held out"] = _measure(a[test], b[test], neighbours, rows)
        for method in _MAPS:
            progress.stage(f"fitting and measuring {method}")
            mapped = fit(method, a[train], b[train])(a[test])
            measures[method] = _measure(mapped, b[test], neighbours, rows)
    return Comparison(len(source), held_out, source.width, target.width, neighbours, seed, measures)


def _measure(a: torch.Tensor, b: torch.Tensor, neighbours: int, order: np.ndarray, *, strict: bool = False) -> Measures:
    """`order`: the rows in a random order. `strict`: what cannot be measured is an error, else None."""
    rows = np.sort(order[:_MAX_PAIRS])
    some_a, some_b = a[rows], b[rows]
    same_width = a.shape[1] == b.shape[1]

    def attempt(measure: Callable[[], float]) -> float | None:
        try:
            return measure()
        except InvalidInputError:
            if strict:
                raise
            return None

    return Measures(
        linear_cka=attempt(lambda: linear_cka(a, b)),
        rbf_cka=attempt(lambda: rbf_cka(some_a, some_b)),
        svcca=attempt(lambda: svcca(a, b)),
        mutual_knn=attempt(lambda: mutual_knn(some_a, some_b, neighbours)),
        rsa=attempt(lambda: rsa(some_a, some_b)),
        procrustes_distance=attempt(lambda: procrustes_distance(a, b)),
        cosine=attempt(lambda: matched_cosine(a, b)) if same_width else None,
        r2=evaluate_translation(Translation.identity(a.shape[1]), a, b).r2 if same_width else None,
    )
