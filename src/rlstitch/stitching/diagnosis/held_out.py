"""What can be known about a stitch before any rollout, from held-out pairs alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rlstitch.agents.controller import Controller
from rlstitch.agents.specs import BoxActions
from rlstitch.latent import Translation, evaluate_translation


@dataclass(frozen=True)
class StitchReport:
    """Figures of one stitch on held-out pairs (on views that the fit never saw)."""

    method: str
    pairs: int
    """Pairs that the judged map was fitted on."""
    held_out: int
    """Pairs that the figures below come from."""
    distinct_views: int
    """Distinct views that were found in all."""
    residual: float
    """Root of the mean squared distance of mapped and true latents."""
    r2: float
    mean_cosine: float
    condition_number: float | None
    """Of the map's matrix; None where there is no map."""
    rank: int | None
    """Of the map's matrix: fewer pairs than dimensions leave directions that it sends to nothing. None likewise."""
    action_agreement: float
    """Share of views for which the controller's greedy action stays the same (continuous: within 0.1 of the range)."""
    kl: float
    """Mean KL divergence, in nats, of the controller's action distribution on true from that on mapped latents."""
    refitted: bool = False
    """Whether the agent's map was, after it had been judged, fitted again on all pairs, the held-out ones too."""

    def to_dict(self) -> dict[str, float | int | str | None]:
        """Return the figures by name."""
        return asdict(self)


@torch.no_grad()
def diagnose(
    method: str,
    controller: Controller,
    translation: Translation | None,
    x: Tensor,
    y: Tensor,
    *,
    pairs: int,
    distinct_views: int,
    refitted: bool = False,
) -> StitchReport:
    """Judge a map by held-out pairs.

    Args:
        method: its name, for the report.
        controller: the controller that will be driven.
        translation: the map; None stands for none (naive and relative stitching).
        x, y: held-out latents `(n, d_x)` and `(n, d_y)`.
        pairs, distinct_views: how many the map was fitted on, and were found.
        refitted: whether the map will be fitted again on all pairs; for the report.
    """
    mapped = x if translation is None else translation(x)
    identity = Translation.identity(x.shape[1]).to(x)
    fit = evaluate_translation(translation if translation is not None else identity, x, y)
    agreement, kl = action_change(controller, controller.action_parameters(mapped), controller.action_parameters(y))
    return StitchReport(
        method=method,
        pairs=pairs,
        held_out=len(x),
        distinct_views=distinct_views,
        residual=fit.residual,
        r2=fit.r2,
        mean_cosine=fit.mean_cosine,
        condition_number=None if translation is None else fit.condition_number,
        rank=None if translation is None else int(torch.linalg.matrix_rank(translation.matrix)),
        action_agreement=agreement,
        kl=kl,
        refitted=refitted,
    )


@torch.no_grad()
def action_change(controller: Controller, found: Tensor, wanted: Tensor) -> tuple[float, float]:
    """Compare two sets of action parameters `(n, A)` of one kind of controller.

    Returns:
        Agreement of the greedy actions in [0, 1] (continuous: every dimension within a tenth of its range), and the
        mean KL divergence, in nats, of the distribution that is wanted from the one that was found.
    """
    changes = action_changes(controller, found, wanted)
    return float(changes.same.mean()), float(changes.kl.mean())


@dataclass(frozen=True)
class ActionChanges:
    """How each row's action differs between two sets of action parameters, `(n,)` each."""

    same: Tensor
    """1.0 where the greedy action is the same (continuous: every dimension within a tenth of its range), else 0.0."""
    kl: Tensor
    """KL divergence, in nats, of the distribution that is wanted from the one that was found."""
    overlap: Tensor
    """What the two distributions share, 1 - their total variation, in [0, 1]: a drawn action can stay so often."""


@torch.no_grad()
def action_changes(controller: Controller, found: Tensor, wanted: Tensor) -> ActionChanges:
    """Compare action parameters `(n, A)` of one kind of controller, row by row."""
    actions = controller.actions
    divergence = action_divergence(controller, found, wanted)
    if isinstance(actions, BoxActions):
        low, high = (torch.tensor(bound, device=found.device) for bound in (actions.low, actions.high))
        gap = (found.clamp(low, high) - wanted.clamp(low, high)).abs() / (high - low)
        # Of two normal distributions of one covariance: twice the tail beyond half their Mahalanobis distance.
        overlap = 2 * torch.special.ndtr(-(2 * divergence).sqrt() / 2)
        return ActionChanges((gap.amax(dim=1) < 0.1).float(), divergence, overlap)
    p, q = (functional.softmax(z, dim=1) for z in (wanted, found))
    overlap = torch.minimum(p, q).sum(dim=1).clamp(max=1.0)
    return ActionChanges((found.argmax(dim=1) == wanted.argmax(dim=1)).float(), divergence.clamp(min=0.0), overlap)


def action_divergence(controller: Controller, found: Tensor, wanted: Tensor) -> Tensor:
    """KL divergence `(n,)`, in nats, of the action distribution that is wanted from the one that was found, row by row.

    Both are action parameters `(n, A)` of one controller; gradients flow through them.
    """
    if isinstance(controller.actions, BoxActions):
        variance = torch.exp(2 * controller.log_std) if controller.log_std is not None else torch.ones_like(found[0])
        return ((found - wanted) ** 2 / variance).sum(dim=1) / 2
    p, q = (functional.log_softmax(z, dim=1) for z in (wanted, found))
    return functional.kl_div(q, p, log_target=True, reduction="none").sum(dim=1)
