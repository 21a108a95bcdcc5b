"""A map between two stored latent spaces that are paired by their keys: chosen, fitted, judged and stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rlstitch.api.spaces.compare_spaces import load_pair
from rlstitch.errors import InvalidInputError, require_known
from rlstitch.jobs.progress import OnProgress, ProgressReporter, silent
from rlstitch.jobs.resources import torch_threads
from rlstitch.latent import FitReport, evaluate_translation, fit, translation_methods
from rlstitch.storage import require_new_file, save_translation

_MAX_RANKED = 5000
"""Of pairs that `auto` ranks methods on."""
_FOLDS = 5
_RIGID = ("orthogonal", "scaled_orthogonal", "l_orthogonal")
"""Maps that overfit least: of equals, `auto` takes the first of these."""


@dataclass(frozen=True)
class Candidate:
    """A method that `auto` tried: `residual` and `cosine` in cross-validation, or why it could not be fitted."""

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
    """A stored map: its file and method, the number of pairs, its fit on held-out pairs, and what `auto` chose from."""

    path: Path
    method: str
    pairs: int
    held_out: FitReport
    ranking: tuple[Candidate, ...] = ()

    def __str__(self) -> str:
        report = self.held_out
        line = (
            f"{self.path}: {self.method}, fitted on {self.pairs} pairs; on {report.n_pairs} pairs held out before: "
            f"R² {report.r2:.4f}, cosine {report.mean_cosine:.4f}, residual {report.residual:.4g}"
        )
        if not self.ranking:
            return line
        return "\n".join([line, "chosen from, by cross-validation on the other pairs:", *map(str, self.ranking)])


@torch_threads()
def translate_spaces(
    source: Path | str,
    target: Path | str,
    out: Path | str,
    *,
    method: str = "affine",
    held_out: float = 0.2,
    seed: int = 0,
    force: bool = False,
    progress: ProgressReporter | None = None,
) -> TranslationOutcome:
    """Fit a map between two stored spaces on their common keys, and write it as `.safetensors`.

    Args:
        source: file of the space that is mapped.
        target: file of the space that it is mapped to.
        out: file to write.
        method: one of `translation_methods()`, or `auto`: the best by `rank_translations` on pairs not held out.
        held_out: share of the pairs that the map is judged on, before it is fitted again on all.
        seed: chooses these.
        force: replace an existing file.
        progress: shows how far each stage of the work is; None: nothing is shown.

    Raises:
        UnknownNameError: for another method.
        InvalidInputError: for too few pairs, a share outside (0, 1), another suffix, or an existing file.
        IncompatibleError, ArtefactError: as for `load_pair`.
    """
    out = Path(out)
    require_new_file(out, ".safetensors", force=force)
    if not 0 < held_out < 1:
        raise InvalidInputError(f"held_out must lie between 0 and 1, found {held_out}")
    require_known("translation method", method, ["auto", *translation_methods()])
    progress = progress or ProgressReporter(style="none")
    progress.stage("reading the spaces")
    x, y = load_pair(source, target)
    order = np.random.default_rng(seed).permutation(len(x))
    count = max(1, round(held_out * len(x)))
    if len(x) - count < 3:
        raise InvalidInputError(f"at least 3 pairs must be left to fit on, found {len(x)} pairs, {count} held out")
    train, test = order[count:], order[:count]
    ranking: tuple[Candidate, ...] = ()
    if method == "auto":
        some = train[:_MAX_RANKED]
        ranking = rank_translations(
            x.vectors[some], y.vectors[some], on_progress=progress.stage("comparing methods", "methods")
        )
        method = ranking[0].method
    progress.stage(f"fitting {method}")
    trial = fit(method, x.vectors[train], y.vectors[train])
    report = evaluate_translation(trial, x.vectors[test], y.vectors[test])
    save_translation(fit(method, x.vectors, y.vectors), out)
    return TranslationOutcome(out, method, len(x), report, ranking)


def rank_translations(x: torch.Tensor, y: torch.Tensor, *, on_progress: OnProgress = silent) -> tuple[Candidate, ...]:
    """Rank all translation methods by cross-validation in five folds (Stone 1974).

    The residual decides, as lengths and offsets matter for whatever reads the target's vectors, and the cosine ignores
    lengths. Where an orthogonal map is within 1 % of the best, or both are exact but for rounding, it comes first.

    Args:
        x: source vectors (n, d_x) in a random order; n >= 3.
        y: target vectors (n, d_y).
        on_progress: called with the methods done and those in all.

    Returns:
        All methods, best first; those that so few pairs do not allow are last.

    Raises:
        InvalidInputError: where no method can be fitted.
    """
    methods = translation_methods()
    candidates: list[Candidate] = []
    for method in methods:
        on_progress(len(candidates), len(methods))
        candidates.append(_cross_validate(method, x, y))
    ranked = sorted((each for each in candidates if each.residual is not None), key=lambda each: each.residual or 0.0)
    if not ranked:
        raise InvalidInputError(f"auto: no translation can be fitted on these {len(x)} pairs: {candidates[0].problem}")
    rounding = 64 * torch.finfo(y.dtype).eps * float(y.square().sum(1).mean().sqrt())
    bound = 1.01 * (ranked[0].residual or 0.0) + rounding
    near = {each.method: each for each in ranked if (each.residual or 0.0) <= bound}
    first = next((near[method] for method in _RIGID if method in near), ranked[0])
    rest = [each for each in ranked if each is not first]
    return (first, *rest, *(each for each in candidates if each.residual is None))


def _cross_validate(method: str, x: torch.Tensor, y: torch.Tensor) -> Candidate:
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
