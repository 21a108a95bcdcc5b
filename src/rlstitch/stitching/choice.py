"""The choice among maps: by cross-validation of what they do to the controller's actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from rlstitch.agents.controller import Controller
from rlstitch.errors import TooFewPairsError
from rlstitch.latent import Translation
from rlstitch.rollouts.statistics import Floats, bootstrap_interval
from rlstitch.stitching.actions import compare_actions
from rlstitch.stitching.pairs import LatentPairs

FOLDS = 4
SUFFICIENT, ALIKE = 1024, 1e-3
"""Pairs from which on intervals decide what is a tie; with fewer, differences below `ALIKE`."""

Fit = Callable[[LatentPairs, Controller], Translation]


@dataclass(frozen=True)
class Choice:
    """The map that was chosen; its `method` names it."""

    translation: Translation
    reason: str
    """What was compared, and how each did."""


def choose_map(fits: Mapping[str, Fit], pairs: LatentPairs, controller: Controller) -> Choice:
    """Choose the map under which the fewest sampled actions change, judged on all pairs by cross-validation.

    Each pair is judged by a map that was fitted on the other folds. A candidate ties with the best where the 95 %
    interval of their difference, over `SUFFICIENT` pairs or more, contains 0 (over fewer: where they differ by less
    than `ALIKE`); of those that tie, the one with the smallest condition number is taken: it amplifies least what the
    pairs did not show. The held-out pairs are not looked at.

    Args:
        fits: the candidates by name.
        pairs: to fit on and to choose by, 4 or more.
        controller: of the target agent.

    Raises:
        InvalidInputError: where the pairs are too few for a candidate.
    """
    if len(pairs.x) < FOLDS:
        raise TooFewPairsError(f"{FOLDS}-fold cross-validation", FOLDS, len(pairs.x))
    changed = {name: _changed(fit, pairs, controller) for name, fit in fits.items()}
    best = min(changed, key=lambda name: float(changed[name].mean()))
    tied = [name for name in fits if is_tie(changed[name] - changed[best])]
    maps = {name: fits[name](pairs, controller) for name in tied}
    conditions = {name: report.condition_number for name, map_ in maps.items() if (report := map_.report) is not None}
    chosen = min(tied, key=lambda name: (conditions[name], float(changed[name].mean())))
    texts = {name: _share(values) for name, values in changed.items()}
    ties = [f"{name} {texts[name]}, condition number {conditions[name]:.3g}" for name in tied if name != chosen]
    others = [f"{name} {texts[name]}" for name in fits if name not in tied]
    reason = (
        f"chose {chosen}: {texts[chosen]} of sampled actions change in {FOLDS}-fold cross-validation over "
        f"{len(pairs.x):,} pairs, condition number {conditions[chosen]:.3g}"
    )
    reason += f"; ties with {', '.join(ties)}" if ties else ""
    return Choice(maps[chosen], reason + (f"; more change by {', '.join(others)}" if others else ""))


@torch.no_grad()
def _changed(fit: Fit, pairs: LatentPairs, controller: Controller) -> Floats:
    """Return the share of sampled actions `(n,)` that change at each pair, by a map fitted without its fold."""
    count = len(pairs.x)
    folds = torch.from_numpy(np.random.default_rng(0).permutation(count) % FOLDS).to(pairs.x.device)
    true = controller.action_parameters(pairs.y)
    mapped = torch.empty_like(pairs.y)
    for fold in range(FOLDS):
        aside = folds == fold
        with torch.enable_grad():  # a map can be found by gradients
            translation = fit(replace(pairs, x=pairs.x[~aside], y=pairs.y[~aside]), controller)
        mapped[aside] = translation(pairs.x[aside])
    overlap = compare_actions(controller, controller.action_parameters(mapped), true).overlap
    return 1.0 - overlap.double().cpu().numpy()


def is_tie(differences: Floats) -> bool:
    """Return whether a candidate ties with the best, by how many more actions it changes at each pair, `(n,)`."""
    if len(differences) < SUFFICIENT:
        return float(differences.mean()) < ALIKE
    return bootstrap_interval(differences).low <= 0


def _share(changed: Floats) -> str:
    interval = bootstrap_interval(changed)
    return f"{interval.estimate:.1%} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
