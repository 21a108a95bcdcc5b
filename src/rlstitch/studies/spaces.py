"""Two stored latent spaces, paired by their keys: how alike they are, and a map from one to the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.latent import (
    FitReport,
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
    translation_methods,
)
from rlstitch.latent.space import LatentSpace
from rlstitch.storage import load_space, save_translation

_MOST = 2000
"""Pairs that the measures look at which are quadratic in their number."""
_CHOSEN_ON = 5000
"""Pairs that `auto` looks at."""
_FOLDS = 5
_RIGID = ("orthogonal", "scaled_orthogonal", "l_orthogonal")
"""Maps with the least to overfit with: of equals, `auto` takes the first of these."""
_MAPS = ("orthogonal", "affine")
"""What `compare_spaces` brings the spaces together by."""


@dataclass(frozen=True)
class Measures:
    """How alike paired vectors are; the docstrings of the measures say what each means, `r2` is that of `FitReport`.

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
    """How alike two spaces are on their common keys, before and after a map from the first to the second.

    `measures`: of `all pairs` as they are; and of the `held_out` ones, a half drawn by `seed`: `held out` as they are,
    `orthogonal` and `affine` after these maps, fitted on the other half. Below 8 pairs, of all pairs alone.
    `neighbours` is the k of `mutual_knn`.
    """

    pairs: int
    held_out: int
    width_x: int
    width_y: int
    neighbours: int
    seed: int
    measures: Mapping[str, Measures]

    def __str__(self) -> str:
        held = (
            f"{self.held_out} of them held out of the maps (seed {self.seed})" if self.held_out else "too few for maps"
        )
        head = [f"pairs       {self.pairs}, {held}", f"widths      {self.width_x} and {self.width_y}"]
        names = {name: f"after {name}" if name in _MAPS else name for name in self.measures}
        lines = [["", *names.values()]]
        for field in fields(Measures):
            values = [getattr(measures, field.name) for measures in self.measures.values()]
            lines.append([field.name.replace("_", " "), *("–" if v is None else f"{v:.4f}" for v in values)])
        widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
        table = [
            "  ".join(text.rjust(width) if at else text.ljust(width) for at, (text, width) in enumerate(cells))
            for cells in (list(zip(line, widths, strict=True)) for line in lines)
        ]
        return "\n".join([*head, f"neighbours  {self.neighbours}", "", *table])


@dataclass(frozen=True)
class Candidate:
    """A method that `auto` tried: `residual` and `cosine` on pairs that no fit had seen, or why there are none."""

    method: str
    residual: float | None
    cosine: float | None
    problem: str = ""

    def __str__(self) -> str:
        if self.residual is None:
            return f"{self.method:<18} {self.problem}"
        return f"{self.method:<18} residual {self.residual:.4g}, cosine {self.cosine:.4f}"


@dataclass(frozen=True)
class TranslationOutcome:
    """Where a map was written, and how it did on pairs that it had not seen before it was fitted again on all.

    `ranking`: what `auto` chose from, the chosen one first.
    """

    path: Path
    method: str
    pairs: int
    held_out: FitReport
    ranking: tuple[Candidate, ...] = ()

    def __str__(self) -> str:
        found = self.held_out
        line = (
            f"{self.path}: {self.method}, fitted on {self.pairs} pairs; on {found.n_pairs} pairs held out before: "
            f"R² {found.r2:.4f}, cosine {found.mean_cosine:.4f}, residual {found.residual:.4g}"
        )
        if not self.ranking:
            return line
        return "\n".join([line, "chosen from, by cross-validation on the other pairs:", *map(str, self.ranking)])


def compare_spaces(x: Path | str, y: Path | str, *, neighbours: int = 10, seed: int = 0) -> Comparison:
    """Compare two stored spaces (`.safetensors` or `.npz`), as they are and after maps fitted on half of the pairs.

    Raises:
        InvalidInputError: for too few common keys, `neighbours` not in [1, pairs - 1], or a space that does not vary.
        IncompatibleError: where the spaces have no key in common.
        ArtefactError: where a file is missing, damaged, or holds no latent space.
    """
    source, target = _paired(x, y)
    if len(source) < 4:
        raise InvalidInputError(f"at least 4 keys must be common to both spaces, found {len(source)}")
    a, b = source.vectors, target.vectors
    order = np.random.default_rng(seed).permutation(len(source))
    measures = {"all pairs": _measures(a, b, neighbours, order, strict=True)}
    judged = len(source) // 2 if len(source) >= 8 else 0
    if judged:
        judges, kept = order[:judged], order[judged:]
        held = np.arange(judged)
        measures["held out"] = _measures(a[judges], b[judges], neighbours, held)
        for method in _MAPS:
            mapped = fit(method, a[kept], b[kept])(a[judges])
            measures[method] = _measures(mapped, b[judges], neighbours, held)
    return Comparison(len(source), judged, source.width, target.width, neighbours, seed, measures)


def _measures(
    a: torch.Tensor, b: torch.Tensor, neighbours: int, order: np.ndarray, *, strict: bool = False
) -> Measures:
    """`order`: the rows in a random order. `strict`: what cannot be measured is an error, else None."""
    rows = np.sort(order[:_MOST])
    some_a, some_b = a[rows], b[rows]
    same = a.shape[1] == b.shape[1]

    def measured(measure: Callable[[], float]) -> float | None:
        try:
            return measure()
        except InvalidInputError:
            if strict:
                raise
            return None

    return Measures(
        linear_cka=measured(lambda: linear_cka(a, b)),
        rbf_cka=measured(lambda: rbf_cka(some_a, some_b)),
        svcca=measured(lambda: svcca(a, b)),
        mutual_knn=measured(lambda: mutual_knn(some_a, some_b, neighbours)),
        rsa=measured(lambda: rsa(some_a, some_b)),
        procrustes_distance=measured(lambda: procrustes_distance(a, b)),
        cosine=measured(lambda: matched_cosine(a, b)) if same else None,
        r2=evaluate_translation(Translation.identity(a.shape[1]), a, b).r2 if same else None,
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

    A share `held_out` of the pairs, drawn by `seed`, judges the map; then it is fitted again on all. Method `auto`: the
    one that `rank_translations` finds best on the pairs that are not held out.

    Raises:
        UnknownNameError: for another method than `auto` and `translation_methods()`.
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
    if method not in (known := ["auto", *translation_methods()]):
        raise UnknownNameError("translation method", method, known)
    x, y = _paired(source, target)
    order = np.random.default_rng(seed).permutation(len(x))
    judged = max(1, round(held_out * len(x)))
    if len(x) - judged < 3:
        raise InvalidInputError(f"at least 3 pairs must be left to fit on, found {len(x)} pairs, {judged} held out")
    kept, judges = order[judged:], order[:judged]
    ranking: tuple[Candidate, ...] = ()
    if method == "auto":
        chosen = kept[:_CHOSEN_ON]
        ranking = rank_translations(x.vectors[chosen], y.vectors[chosen])
        method = ranking[0].method
    trial = fit(method, x.vectors[kept], y.vectors[kept])
    report = evaluate_translation(trial, x.vectors[judges], y.vectors[judges])
    final = fit(method, x.vectors, y.vectors)
    save_translation(final, out)
    return TranslationOutcome(out, method, len(x), report, ranking)


def rank_translations(x: torch.Tensor, y: torch.Tensor) -> tuple[Candidate, ...]:
    """Every method of `translation_methods()` on pairs x (n, d_x), y (n, d_y) in a random order, best first, by
    cross-validation in five folds (Stone 1974); n >= 3. Those that so few pairs do not allow come last.

    The residual decides, as lengths and offsets count for whatever reads the target's vectors, and the cosine is blind
    to lengths. Where an orthogonal map is within 1 % of the best, or both are exact but for rounding, it comes first.

    Raises:
        InvalidInputError: where no method can be fitted.
    """
    found = [_cross_validated(method, x, y) for method in translation_methods()]
    ranked = sorted((each for each in found if each.residual is not None), key=lambda each: each.residual or 0.0)
    if not ranked:
        raise InvalidInputError(f"auto: no translation can be fitted on these {len(x)} pairs: {found[0].problem}")
    rounding = 64 * torch.finfo(y.dtype).eps * float(y.square().sum(1).mean().sqrt())
    bound = 1.01 * (ranked[0].residual or 0.0) + rounding
    near = {each.method: each for each in ranked if (each.residual or 0.0) <= bound}
    first = next((near[method] for method in _RIGID if method in near), ranked[0])
    rest = [each for each in ranked if each is not first]
    return (first, *rest, *(each for each in found if each.residual is None))


def _cross_validated(method: str, x: torch.Tensor, y: torch.Tensor) -> Candidate:
    fold = np.arange(len(x)) % _FOLDS
    squared = cosine = 0.0
    for held in range(min(_FOLDS, len(x))):
        try:
            trial = fit(method, x[fold != held], y[fold != held])
        except InvalidInputError as error:
            return Candidate(method, None, None, str(error))
        report = evaluate_translation(trial, x[fold == held], y[fold == held])
        squared += report.n_pairs * report.residual**2
        cosine += report.n_pairs * report.mean_cosine
    return Candidate(method, float(np.sqrt(squared / len(x))), cosine / len(x))


def _paired(x: Path | str, y: Path | str) -> tuple[LatentSpace[torch.Tensor], LatentSpace[torch.Tensor]]:
    """Both spaces as torch tensors of one dtype, cut to their common keys."""
    spaces: list[LatentSpace[torch.Tensor]] = [load_space(path).map(torch.as_tensor) for path in (x, y)]
    dtype = torch.promote_types(spaces[0].vectors.dtype, spaces[1].vectors.dtype)
    wide = dtype if dtype == torch.float64 else torch.float32
    first, second = (space.map(lambda vectors: vectors.to(wide)) for space in spaces)
    return first.pair(second)
