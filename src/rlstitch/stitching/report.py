"""Metrics of a stitch on held-out pairs, before any rollout."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from rlstitch.agents.controller import Controller
from rlstitch.latent import Translation, evaluate_translation
from rlstitch.rollouts.statistics import Interval, wilson_interval
from rlstitch.stitching.actions import compare_actions
from rlstitch.stitching.pairs import LatentPairs


@dataclass(frozen=True)
class StitchReport:
    """Metrics of one stitch on held-out pairs, whose views the fit did not see."""

    method: str
    pairs: int
    """Pairs that the map was fitted on."""
    held_out: int
    """Held-out pairs."""
    distinct_views: int
    """Distinct views in all."""
    residual: float
    """Root mean squared distance of mapped and true latents."""
    r2: float
    mean_cosine: float
    condition_number: float | None
    """Of the map's matrix; None where nothing was fitted."""
    rank: int | None
    """Of the map's matrix (low where there are fewer pairs than dimensions); None where nothing was fitted."""
    action_agreement: float
    """Share of views for which the controller's greedy action stays the same (continuous: within 0.1 of the range)."""
    kl: float
    """Mean KL divergence, in nats, of the controller's action distribution on true from that on mapped latents."""
    met_later: int = 0
    """Held-out pairs whose views were met only in further steps, after the collection of those to fit on."""
    observations: int | None = None
    """Of the collection that the pairs to fit on come from, repeats included; None where the pairs were given."""
    episodes: int | None = None
    unseen: float | None = None
    """Estimated share of observations whose view is not in that collection (see `Coverage.unseen`)."""
    choice: str = ""
    """What a method that chooses among others has chosen, and why."""
    round: int | None = None
    """Of refinement, from 1, see `refine_stitch`; None before the first."""
    met: int | None = None
    """States that the agent of the round before met."""
    met_agreement: float | None = None
    """`action_agreement` of that agent on these states, which its map was not fitted on."""
    met_kl: float | None = None

    @property
    def agreement(self) -> Interval:
        """`action_agreement` with its 95 % interval (Wilson)."""
        return wilson_interval(round(self.action_agreement * self.held_out), self.held_out)

    def to_dict(self) -> dict[str, float | int | str | None]:
        """Return the metrics by name."""
        return asdict(self)


@torch.no_grad()
def report_stitch(
    method: str, controller: Controller, translation: Translation | None, pairs: LatentPairs, *, choice: str = ""
) -> StitchReport:
    """Evaluate a translation on held-out pairs.

    Args:
        method: its name, for the report.
        controller: the controller that will act on the mapped latents.
        translation: fitted on `pairs.x` and `pairs.y`; None: nothing is between encoder and controller.
        pairs: whose held-out side the metrics come from.
        choice: why the method was chosen, for the report.
    """
    x, y = pairs.x_held, pairs.y_held
    used = Translation.identity(x.shape[1]).to(x) if translation is None else translation
    mapped = x if translation is None else translation(x)
    fit = evaluate_translation(used, x, y)
    changes = compare_actions(controller, controller.action_parameters(mapped), controller.action_parameters(y))
    return StitchReport(
        method=method,
        pairs=0 if translation is None else len(pairs.x),
        held_out=len(x),
        distinct_views=pairs.distinct_views,
        residual=fit.residual,
        r2=fit.r2,
        mean_cosine=fit.mean_cosine,
        condition_number=None if translation is None else fit.condition_number,
        rank=None if translation is None else int(torch.linalg.matrix_rank(translation.matrix)),
        action_agreement=changes.agreement,
        kl=changes.mean_kl,
        met_later=pairs.met_later,
        observations=None if pairs.coverage is None else pairs.coverage.observations,
        episodes=None if pairs.coverage is None else pairs.coverage.episodes,
        unseen=None if pairs.coverage is None else pairs.coverage.unseen,
        choice=choice,
    )
