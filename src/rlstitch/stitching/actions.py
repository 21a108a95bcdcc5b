"""How much a controller's actions change where it gets other latents."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rlstitch.agents import AnyActions, BoxActions, Controller, MultiBinaryActions, MultiDiscreteActions


@dataclass(frozen=True)
class ActionChanges:
    """How each row's action differs between two sets of action parameters, `(n,)` each."""

    same: Tensor
    """1.0 where the greedy action is the same, all of its parts (continuous: each within a tenth of its range)."""
    kl: Tensor
    """KL divergence, in nats, of the true action distribution from the other."""
    overlap: Tensor
    """1 - total variation of the two distributions, in [0, 1]: the probability that sampled actions can agree.
    Of several independent choices, the product over these."""

    @property
    def agreement(self) -> float:
        """Share of rows whose greedy action is the same."""
        return float(self.same.mean())

    @property
    def mean_kl(self) -> float:
        """Mean KL divergence in nats."""
        return float(self.kl.mean())


@torch.no_grad()
def compare_actions(controller: Controller, parameters: Tensor, true: Tensor) -> ActionChanges:
    """Compare action parameters `(n, A)` of a controller with the true ones `(n, A)`, row by row."""
    actions = controller.actions
    divergence = action_divergence(controller, parameters, true)
    if isinstance(actions, BoxActions):
        low, high = (torch.tensor(bound, device=true.device) for bound in (actions.low, actions.high))
        ours, theirs = (controller.bound(controller.normal(z)[0]) for z in (parameters, true))
        gap = (ours - theirs).abs() / (high - low)
        # Of two normal distributions of one covariance: twice the tail beyond half their Mahalanobis distance. Where
        # the covariance depends on the state, that of two of one covariance that diverge as far. Squashing changes
        # neither: it is one to one.
        overlap = 2 * torch.special.ndtr(-(2 * divergence).sqrt() / 2)
        return ActionChanges((gap.amax(dim=1) < 0.1).float(), divergence, overlap)
    same, overlap = torch.ones(len(true), dtype=torch.bool, device=true.device), torch.ones_like(true[:, 0])
    for ours, theirs in zip(choices(actions, parameters), choices(actions, true), strict=True):
        p, q = (functional.softmax(z, dim=1) for z in (theirs, ours))
        overlap = overlap * torch.minimum(p, q).sum(dim=1).clamp(max=1.0)
        same &= ours.argmax(dim=1) == theirs.argmax(dim=1)
    return ActionChanges(same.float(), divergence.clamp(min=0.0), overlap)


def action_divergence(controller: Controller, parameters: Tensor, true: Tensor) -> Tensor:
    """Return the KL divergence `(n,)`, in nats, of the true action distribution from another, row by row.

    Both are action parameters `(n, A)` of one controller; gradients flow through them.
    """
    if isinstance(controller.actions, BoxActions):
        (means, log_std), (true_means, true_log_std) = (controller.normal(z) for z in (parameters, true))
        if log_std is None or true_log_std is None:  # deterministic: as of normal distributions of variance 1
            return ((means - true_means) ** 2).sum(dim=1) / 2
        variance = torch.exp(2 * log_std)
        divergence = ((means - true_means) ** 2 / variance).sum(dim=1) / 2
        if controller.log_std is None:  # variances that differ
            ratio = 2 * (true_log_std - log_std)
            divergence = divergence + ((ratio.exp() - 1 - ratio) / 2).sum(dim=1)
        return divergence
    divergence = torch.zeros_like(true[:, 0])
    for ours, theirs in zip(choices(controller.actions, parameters), choices(controller.actions, true), strict=True):
        p, q = (functional.log_softmax(z, dim=1) for z in (theirs, ours))
        divergence = divergence + functional.kl_div(q, p, log_target=True, reduction="none").sum(dim=1)
    return divergence


def choices(actions: AnyActions, parameters: Tensor) -> list[Tensor]:
    """Return the logits `(n, options)` of each choice that a discrete action consists of, from `(n, A)` parameters."""
    if isinstance(actions, MultiDiscreteActions):
        return list(parameters.split(list(actions.nvec), dim=1))
    if isinstance(actions, MultiBinaryActions):  # off and on
        return [torch.stack([torch.zeros_like(odds), odds], dim=1) for odds in parameters.unbind(dim=1)]
    return [parameters]
