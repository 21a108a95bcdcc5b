"""The verdict on a stitch before any rollout, with its reasons in words.

The score is fitted on indicators and recoveries of the shipped agents, and evaluated on environments that it was not
fitted on: `benchmarks/diagnosis.py`, docs/results/diagnosis.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from rlstitch.stitching.diagnosis.indicators import Indicators, OwnStateMetrics

Label = Literal["will carry", "doubtful", "will fail"]

CARRIES, FAILS = 0.9, 0.5
"""Scores from which the verdict is `will carry`, and below which it is `will fail`."""
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
    """The most important one first."""


def judge(indicators: Indicators) -> Verdict:
    """Return the verdict on a stitch, with its reasons."""
    score = expected_recovery(indicators)
    label = label_of(score)
    return Verdict(label, score, tuple(_reasons(indicators, label)))


def label_of(score: float) -> Label:
    """Return the label of a score in [0, 1]."""
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


def _reasons(indicators: Indicators, label: Label) -> list[str]:
    own = indicators.own
    reasons = [_on_held_out(indicators)] if own is None else [_on_own_states(own), *_coverage(indicators, own)]
    reasons += [*_refitted(indicators), *_dimensions(indicators), *_spaces(indicators, label)]
    if indicators.same_seed:
        reasons.append("both agents began from the same weights (one seed), which flatters every method")
    return reasons


def _on_own_states(own: OwnStateMetrics) -> str:
    return (
        f"on the {own.states} states that the controller's own agent meets, a sampled action stays the same with a "
        f"probability of {own.overlap:.1%}, the greedy one in {own.agreement:.1%} of visits"
    )


def _on_held_out(indicators: Indicators) -> str:
    held = indicators.held
    return (
        f"the controller's own states cannot be seen by both agents; on {held.held_out} held-out pairs the greedy "
        f"action stays the same in {held.action_agreement:.1%}, with a KL of {held.kl:.3f} nats"
    )


def _coverage(indicators: Indicators, own: OwnStateMetrics) -> list[str]:
    if indicators.held.rank is None:  # nothing was fitted on pairs
        return []
    if own.covered >= 0.99:
        return ["all of these states are among the pairs, so that the metrics hold there"]
    where = "near them" if own.distance < 0.1 else "far from them"
    return [
        f"{own.covered:.0%} of these visits are among the pairs; the others are {where} "
        f"(mean distance {own.distance:.2f} of the spread)"
    ]


def _refitted(indicators: Indicators) -> list[str]:
    held, own = indicators.held, indicators.own
    if not held.refitted:
        return []
    world = f"the world shows only {held.distinct_views} views, and the map was then fitted on all of them"
    if own is not None and own.agreement <= held.action_agreement + 0.02:
        return [f"{world}; on these states it is no better than on held-out pairs before"]
    return [f"the held-out R² of {held.r2:.2f} is too low: {world}"]


def _dimensions(indicators: Indicators) -> list[str]:
    rank, used = indicators.held.rank, indicators.effective_rank_x
    if rank is None or rank >= FEW_DIMENSIONS * used:
        return []
    return [f"the map has rank {rank}, the encoder's latents use {used:.0f} dimensions: more pairs needed"]


def _spaces(indicators: Indicators, label: Label) -> list[str]:
    held, alike, chance = indicators.held, indicators.mutual_knn, indicators.knn_chance
    reasons = []
    if held.rank is None and held.method == "naive":
        reasons.append(f"nothing is between the two spaces; their latents have a cosine of {held.mean_cosine:.2f}")
    if label != "will carry" and alike is not None and chance is not None:
        share = f"{alike:.0%} of nearest neighbours, by chance {chance:.0%}"
        if alike < 3 * chance:
            reasons.append(f"the two spaces hardly agree on what is similar ({share}): no map will join them well")
        else:
            remedy = "a map" if held.rank is None else "another map, or more pairs,"
            reasons.append(f"the two spaces agree on what is similar ({share}): {remedy} may do")
    return reasons
