"""One verdict on a stitch before it plays, with its reasons in words.

The score is fitted on the indicators and recoveries of ready-trained agents and judged on environments that it was not
fitted on: `benchmarks/diagnosis.py`, docs/results/diagnosis.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from rlstitch.stitching.diagnosis.indicators import Indicators, OwnFigures

Label = Literal["will carry", "doubtful", "will fail"]

CARRIES, FAILS = 0.9, 0.5
"""Scores from which a stitch is expected to carry, and below which it is expected to fail."""
OWN_WEIGHTS = (-1.55, 2.0)
"""a and b of the score from the controller's own states, fitted on all environments of the benchmark."""
HELD_WEIGHTS = (-0.9, 2.0)
"""a and b of the score from held-out pairs alone."""
FEW_DIMENSIONS = 0.5
"""A map whose rank is below this share of the encoder's effective rank leaves out directions that are in use."""


@dataclass(frozen=True)
class Verdict:
    """What is expected of a stitch."""

    label: Label
    score: float
    """Share of the native controller's gain over random actions that is expected, in [0, 1]."""
    reasons: tuple[str, ...]
    """The weightiest first."""


def judge(indicators: Indicators) -> Verdict:
    """Weigh the indicators."""
    score = expected_recovery(indicators)
    label = label_of(score)
    return Verdict(label, score, tuple(_reasons(indicators, label)))


def label_of(score: float) -> Label:
    """Return what a score in [0, 1] stands for."""
    return "will carry" if score >= CARRIES else "will fail" if score < FAILS else "doubtful"


def expected_recovery(indicators: Indicators) -> float:
    """Return the expected recovery in [0, 1], sigmoid(a + b log_odds(p)).

    p is the share of sampled actions that stay the same on the controller's own states; where these are not to be had,
    the share of greedy actions that stay the same on held-out pairs, which says much less.
    """
    own = indicators.own
    return _score(HELD_WEIGHTS, indicators.held.action_agreement) if own is None else own_score(own.overlap)


def own_score(overlap: float) -> float:
    """Return the expected recovery in [0, 1] from the overlap on the controller's own states alone."""
    return _score(OWN_WEIGHTS, overlap)


def _score(weights: tuple[float, float], share: float) -> float:
    return 1 / (1 + math.exp(-(weights[0] + weights[1] * log_odds(share))))


def log_odds(share: float) -> float:
    """Return log(p / (1 - p)) of a share in [0, 1], which is kept a thousandth away from both ends."""
    p = min(max(share, 1e-3), 1 - 1e-3)
    return math.log(p / (1 - p))


def _reasons(found: Indicators, label: Label) -> list[str]:
    reasons = [_on_own_states(found.own), *_coverage(found)] if found.own is not None else [_on_held_out(found)]
    reasons += [*_refitted(found), *_dimensions(found), *_spaces(found, label)]
    if found.same_seed:
        reasons.append("both agents began from the same weights (one seed), which flatters every method")
    return reasons


def _on_own_states(own: OwnFigures) -> str:
    return (
        f"on the {own.states} states that the controller's own agent meets, a sampled action stays the same with a "
        f"probability of {own.overlap:.1%}, the greedy one in {own.agreement:.1%} of visits"
    )


def _on_held_out(found: Indicators) -> str:
    held = found.held
    return (
        f"the controller's own states cannot be seen by both agents; on {held.held_out} held-out pairs the greedy "
        f"action stays the same in {held.action_agreement:.1%}, with a KL of {held.kl:.3f} nats"
    )


def _coverage(found: Indicators) -> list[str]:
    own = found.own
    if own is None or found.held.rank is None:  # no map, no pairs that it was fitted on
        return []
    if own.covered >= 0.99:
        return ["all of these states are among the pairs, so that the figures hold there"]
    away = "near them" if own.distance < 0.1 else "far from them"
    return [
        f"{own.covered:.0%} of these visits are among the pairs; the others are {away} "
        f"(mean distance {own.distance:.2f} of the spread)"
    ]


def _refitted(found: Indicators) -> list[str]:
    held, own = found.held, found.own
    if not held.refitted:
        return []
    world = f"the world shows only {held.distinct_views} views, and the map was then fitted on all of them"
    if own is not None and own.agreement <= held.action_agreement + 0.02:
        return [f"{world}; it does no better for that on these states than on held-out pairs before"]
    return [f"the held-out R² of {held.r2:.2f} is too dark: {world}"]


def _dimensions(found: Indicators) -> list[str]:
    rank = found.held.rank
    if rank is None or rank >= FEW_DIMENSIONS * found.effective_rank_x:
        return []
    return [
        f"the map has rank {rank}, the encoder's latents use {found.effective_rank_x:.0f} dimensions: more pairs needed"
    ]


def _spaces(found: Indicators, label: Label) -> list[str]:
    reasons = []
    if found.held.rank is None and found.held.method == "naive":
        reasons.append(
            f"nothing stands between the two spaces; their latents have a cosine of {found.held.mean_cosine:.2f}"
        )
    if label != "will carry" and found.mutual_knn is not None and found.knn_chance is not None:
        share = f"{found.mutual_knn:.0%} of nearest neighbours, by chance {found.knn_chance:.0%}"
        if found.mutual_knn < 3 * found.knn_chance:
            reasons.append(f"the two spaces hardly agree on what is alike ({share}): no map will join them well")
        else:
            remedy = "a map" if found.held.rank is None else "another map, or more pairs,"
            reasons.append(f"the two spaces agree on what is alike ({share}): {remedy} may do")
    return reasons
