"""The verdict on a stitch before any rollout, with its reasons in words.

The score is fitted on indicators and recoveries of the shipped agents, and evaluated on worlds that it was not
fitted on: `benchmarks/diagnosis.py`, docs/results/diagnosis.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from rlstitch.stitching.diagnosis.indicators import Indicators, OwnStateMetrics

Label = Literal["will carry", "doubtful", "will fail", "not judged"]

CARRIES, FAILS = 0.9, 0.5
"""Scores from which the verdict is `will carry`, and below which it is `will fail`."""
OWN_WEIGHTS = (0.75, 1.6)
"""a and b of the score from the controller's own states, fitted on all worlds of the benchmark."""
HELD_WEIGHTS = (0.8, 1.65)
"""a and b of the score from held-out pairs alone."""
INDIFFERENT = 0.05
"""`Indicators.dependence` below which a controller ignores its input, so that it would keep its actions anyhow."""
GOOD_FIT, BAD_FIT = 0.8, 0.5
"""Held-out R² from which a map looks good, and below which it looks bad: a verdict against it is explained."""
FEW_DIMENSIONS = 0.5
"""A map whose rank is below this share of the encoder's effective rank leaves out directions that are in use."""


@dataclass(frozen=True)
class Verdict:
    """What is expected of a stitch."""

    label: Label
    score: float | None
    """Share of the native controller's gain over random actions that is expected, in [0, 1]; None: not judged."""
    reasons: tuple[str, ...]
    """The most important one first."""


def judge(indicators: Indicators, why_not: str = "") -> Verdict:
    """Return the verdict on a stitch, with its reasons.

    Args:
        indicators: of the stitch.
        why_not: why there is nothing to judge, such as a native agent that is no better than random actions.
    """
    if not why_not and indicators.dependence < INDIFFERENT:
        why_not = (
            "the controller acts nearly the same whatever its agent sees: sampled actions in two of its states agree "
            f"in {1 - indicators.dependence:.1%}, so that it keeps them under any map"
        )
    if why_not:
        return Verdict("not judged", None, (why_not,))
    score = expected_recovery(indicators)
    label = label_of(score)
    return Verdict(label, score, tuple(_reasons(indicators, label)))


def label_of(score: float) -> Label:
    """Return the label of a score in [0, 1]."""
    return "will carry" if score >= CARRIES else "will fail" if score < FAILS else "doubtful"


def expected_recovery(indicators: Indicators) -> float:
    """Return the expected recovery in [0, 1], sigmoid(a + b log_odds(p)).

    p is the share of sampled actions that stay the same on the controller's own states, above chance; where these are
    not to be had, the share of greedy actions that stay the same on held-out pairs, which says much less.
    """
    own = indicators.own
    if own is None:
        return _score(HELD_WEIGHTS, above_chance(indicators.held.action_agreement, indicators.held_chance))
    return own_score(above_chance(own.overlap, own.chance))


def above_chance(share: float, chance: float) -> float:
    """Return how much of what chance leaves open is kept, (share - chance) / (1 - chance), cut to [0, 1].

    Cohen's kappa (1960): 0 for a controller that gets the latents of other states, or always the same one.
    """
    return min(1.0, max(0.0, (share - chance) / max(1.0 - chance, 1e-6)))


def own_score(share: float) -> float:
    """Return the expected recovery in [0, 1] from the share above chance on the controller's own states alone."""
    return _score(OWN_WEIGHTS, share)


def _score(weights: tuple[float, float], share: float) -> float:
    return 1 / (1 + math.exp(-(weights[0] + weights[1] * log_odds(share))))


def log_odds(share: float) -> float:
    """Return log(p / (1 - p)) of a share in [0, 1], which is kept a thousandth away from both ends."""
    p = min(max(share, 1e-3), 1 - 1e-3)
    return math.log(p / (1 - p))


def _reasons(indicators: Indicators, label: Label) -> list[str]:
    own = indicators.own
    reasons = [_on_held_out(indicators)] if own is None else [_on_own_states(own), *_coverage(indicators, own)]
    reasons += [*_contradicted(indicators, label), *_dimensions(indicators), *_spaces(indicators, label)]
    if indicators.same_seed:
        reasons.append("both agents began from the same weights (one seed), which flatters every method")
    return reasons


def _on_own_states(own: OwnStateMetrics) -> str:
    return (
        f"on the {own.states} states that the controller's own agent meets, {own.overlap:.1%} of sampled actions stay "
        f"the same (by chance {own.chance:.1%}), and {own.agreement:.1%} of greedy ones"
    )


def _on_held_out(indicators: Indicators) -> str:
    held = indicators.held
    return (
        f"the controller's own states cannot be seen by both agents; on {held.held_out} held-out pairs the greedy "
        f"action stays the same in {held.action_agreement:.1%} (by chance {indicators.held_chance:.1%}), with a KL of "
        f"{held.kl:.3f} nats"
    )


def _coverage(indicators: Indicators, own: OwnStateMetrics) -> list[str]:
    if indicators.held.rank is None:  # nothing was fitted on pairs
        return []
    if own.covered >= 0.99:
        return [f"{own.covered:.0%} of these visits are to states that the map was fitted on: it is judged on them"]
    where = "near them" if own.distance < 0.1 else "far from them"
    return [
        f"{own.covered:.0%} of these visits are to states that the map was fitted on; the others are {where} "
        f"(mean distance {own.distance:.2f} of the spread)"
    ]


def _contradicted(indicators: Indicators, label: Label) -> list[str]:
    """Explain a verdict that the figures on held-out pairs speak against."""
    held, own = indicators.held, indicators.own
    figures = f"R² {held.r2:.2f} and {held.action_agreement:.0%} of greedy actions on {held.held_out} held-out pairs"
    kept = above_chance(held.action_agreement, indicators.held_chance)
    if label == "will carry" and (held.r2 < BAD_FIT or kept < BAD_FIT):
        if kept >= BAD_FIT:
            why = "R² counts every direction of the latents alike, the controller uses few of them"
        elif own is not None and own.covered > BAD_FIT:
            why = (
                "the map does worse in states that it was not fitted on, and the verdict holds as long as the stitched "
            )
            why += "agent keeps to the others"
        else:
            why = "held-out pairs show states that the controller's own agent hardly meets"
        return [f"{figures} speak against this: {why}"]
    if label == "will fail" and held.r2 >= GOOD_FIT:
        return [f"{figures} look better than this: the controller reacts to what the map leaves"]
    return []


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
