"""Two stored latent spaces, paired by their keys: how similar they are, before and after maps from one to the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlstitch.errors import InvalidInputError
from rlstitch.jobs.progress import ProgressReporter
from rlstitch.jobs.resources import torch_threads
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
from rlstitch.storage import load_space
from rlstitch.storage.text import fitted

_MAX_PAIRS = 2000
"""Of pairs that measures with quadratic cost are computed on."""
_MAPS = ("orthogonal", "affine")


@dataclass(frozen=True)
class Measures:
    """How similar paired vectors are; the functions of these names say what each means, `r2` is that of `FitReport`.

    One that is not defined for these vectors is None, and `reasons` says why. Of many pairs, `rbf_cka`, `mutual_knn`
    and `rsa` see 2,000, a seeded choice.
    """

    linear_cka: float | None
    rbf_cka: float | None
    svcca: float | None
    mutual_knn: float | None
    rsa: float | None
    procrustes_distance: float | None
    cosine: float | None
    r2: float | None
    reasons: Mapping[str, str]


_MEASURES = tuple(each.name for each in fields(Measures) if each.name != "reasons")


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
        for name in _MEASURES:
            values = [getattr(measures, name) for measures in self.measures.values()]
            lines.append([name.replace("_", " "), *("–" if v is None else f"{v:.4f}" for v in values)])
        undefined: dict[str, list[str]] = {}
        for place, measures in self.measures.items():
            for name, reason in measures.reasons.items():
                undefined.setdefault(f"{name.replace('_', ' ')}: {reason}", []).append(place)
        notes = [f"– {problem} ({', '.join(places)})" for problem, places in undefined.items()]
        return "\n".join([*head, "", *fitted(lines, left=1), *([""] if notes else []), *notes])


def load_pair(x: Path | str, y: Path | str) -> tuple[LatentSpace[torch.Tensor], LatentSpace[torch.Tensor]]:
    """Load two stored spaces as torch tensors of one dtype, with the keys that they share in the same order.

    Raises:
        IncompatibleError: where the spaces have no key in common.
        ArtefactError: where a file is missing, damaged, or holds no latent space.
    """
    spaces: list[LatentSpace[torch.Tensor]] = [load_space(path).map(_as_tensor) for path in (x, y)]
    dtype = torch.promote_types(spaces[0].vectors.dtype, spaces[1].vectors.dtype)
    wide = dtype if dtype == torch.float64 else torch.float32
    first, second = (space.map(lambda vectors: vectors.to(wide)) for space in spaces)
    return first.pair(second)


def _as_tensor(vectors: Any) -> torch.Tensor:
    """Vectors as a tensor; torch knows neither another byte order nor numbers of more than 64 bits."""
    if isinstance(vectors, np.ndarray):
        kind = vectors.dtype
        vectors = vectors.astype(np.float64 if kind.itemsize > 8 else kind.newbyteorder("="), copy=False)
    return torch.as_tensor(vectors)


@torch_threads()
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
        InvalidInputError: for fewer than 4 common keys, or `neighbours` below 1.
        IncompatibleError, ArtefactError: as for `load_pair`.
    """
    progress = progress or ProgressReporter(style="none")
    progress.stage("reading the spaces")
    source, target = load_pair(x, y)
    if len(source) < 4:
        raise InvalidInputError(f"at least 4 keys must be common to both spaces, found {len(source)}")
    if neighbours < 1:
        raise InvalidInputError(f"neighbours must be at least 1, found {neighbours}")
    a, b = source.vectors, target.vectors
    order = np.random.default_rng(seed).permutation(len(source))
    progress.stage("measuring all pairs")
    measures = {"all pairs": _measure(a, b, neighbours, order)}
    held_out = len(source) // 2 if len(source) >= 8 else 0
    if held_out:
        test, train = order[:held_out], order[held_out:]
        rows = np.arange(held_out)
        progress.stage("measuring held-out pairs")
        measures["held out"] = _measure(a[test], b[test], neighbours, rows)
        for method in _MAPS:
            progress.stage(f"fitting and measuring {method}")
            try:
                mapped = fit(method, a[train], b[train])(a[test])
            except InvalidInputError as error:
                measures[method] = Measures(**dict.fromkeys(_MEASURES), reasons=dict.fromkeys(_MEASURES, str(error)))
            else:
                measures[method] = _measure(mapped, b[test], neighbours, rows)
    return Comparison(len(source), held_out, source.width, target.width, neighbours, seed, measures)


def _measure(a: torch.Tensor, b: torch.Tensor, neighbours: int, order: np.ndarray) -> Measures:
    """`order`: the rows in a random order."""
    rows = np.sort(order[:_MAX_PAIRS])
    some_a, some_b = a[rows], b[rows]
    measures: dict[str, Callable[[], float]] = {
        "linear_cka": lambda: linear_cka(a, b),
        "rbf_cka": lambda: rbf_cka(some_a, some_b),
        "svcca": lambda: svcca(a, b),
        "mutual_knn": lambda: mutual_knn(some_a, some_b, neighbours),
        "rsa": lambda: rsa(some_a, some_b),
        "procrustes_distance": lambda: procrustes_distance(a, b),
        "cosine": lambda: matched_cosine(a, b),
        "r2": lambda: _r2(a, b),
    }
    values: dict[str, float | None] = dict.fromkeys(_MEASURES)
    reasons: dict[str, str] = {}
    for name, measure in measures.items():
        try:
            values[name] = measure()
        except InvalidInputError as error:
            reasons[name] = str(error)
    return Measures(**values, reasons=reasons)


def _r2(x: torch.Tensor, y: torch.Tensor) -> float:
    if x.shape[1] != y.shape[1]:
        raise InvalidInputError(f"x and y must be equally wide, found {x.shape[1]} and {y.shape[1]}")
    if bool((y == y[0]).all()):
        raise InvalidInputError(f"y must vary between samples, found {len(y)} equal rows")
    return evaluate_translation(Translation.identity(x.shape[1]), x, y).r2
