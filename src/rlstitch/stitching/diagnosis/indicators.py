"""Indicators of a stitch before any rollout: of the two spaces, the map, and the actions.

A `StitchReport` evaluates a map on held-out pairs. Here the two spaces are compared, too, and the finished map is
evaluated on the states that the controller's own agent meets.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from rlstitch.agents.agent import Agent
from rlstitch.agents.controller import Controller
from rlstitch.errors import InvalidInputError
from rlstitch.latent import linear_cka, mutual_knn, nearest
from rlstitch.stitching.actions import ActionChanges, compare_actions
from rlstitch.stitching.diagnosis.states import OwnStates
from rlstitch.stitching.pairs import LatentPairs
from rlstitch.stitching.report import StitchReport
from rlstitch.stitching.stitch import Stitch

NEIGHBOURS = 10
"""Of the mutual nearest neighbours, at most; a tenth of the pairs where there are few."""
DRAWS = 4096
"""Pairs of rows that are drawn to see what agrees by chance."""
_SAME_VIEW = 5e-3
"""Distance, in units of the latents' spread, within which two latents are of one view: distances have rounding."""


@dataclass(frozen=True)
class OwnStateMetrics:
    """A finished map on the states of the controller's own agent. Shares are in [0, 1]; visits are the weights."""

    states: int
    """Distinct states that were met."""
    covered: float
    """Share of the visits whose state is among the pairs that the map was fitted on (naive, relative: all pairs)."""
    distance: float
    """Mean distance of a state from the nearest of these pairs in the controller's space; 1: the states' spread."""
    agreement: float
    """Greedy actions that stay the same."""
    overlap: float
    """Sampled actions that can stay the same: what the two distributions share."""
    chance: float
    """`overlap` where the controller gets the mapped latent of another of these visits: what needs no map."""
    kl: float
    """Of the action distributions, in nats."""
    stray_overlap: float
    """`overlap` on states one mistake away from the path, where some actions were random."""


@dataclass(frozen=True)
class Indicators:
    """The indicators of a stitch; None where one is not defined."""

    held: StitchReport
    """On held-out pairs: residual, R², mean cosine, action agreement, KL; condition number and rank of the map."""
    mutual_knn: float | None
    """Share of nearest neighbours that the two spaces have in common (arXiv 2405.07987)."""
    knn_chance: float | None
    """What unrelated spaces would have in common."""
    cka: float | None
    """Linear, debiased (arXiv 1905.00414)."""
    effective_rank_x: float
    """Dimensions that the encoder's latents use, of `width_x` (see `effective_rank`)."""
    effective_rank_y: float
    """Dimensions that the latents of the controller's agent use, of `width_y`."""
    width_x: int
    width_y: int
    dependence: float
    """How much the controller's actions depend on what its agent sees: 1 - overlap of the distributions at two of the
    own visits (without them: two of the pairs), drawn at random. 0: the input does not matter."""
    held_chance: float
    """Greedy actions that stay the same where the controller gets the mapped latent of another held-out pair."""
    same_seed: bool
    """Whether both agents began from the same weights."""
    own: OwnStateMetrics | None
    """None where there are no states that both agents can see."""

    def to_dict(self) -> dict[str, float | int | str | bool | None]:
        """Return the metrics by name, flat: those of `held` as `held_...`, of `own` as `own_...`."""
        metrics: dict[str, Any] = {f"held_{name}": value for name, value in self.held.to_dict().items()}
        metrics |= {name: value for name, value in asdict(self).items() if name not in ("held", "own")}
        metrics |= {} if self.own is None else {f"own_{name}": value for name, value in asdict(self.own).items()}
        return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in metrics.items()}


def examine(encoder: Agent, policy: Agent, stitch: Stitch, pairs: LatentPairs, states: OwnStates | None) -> Indicators:
    """Compute the indicators of a finished stitch.

    Args:
        encoder: the agent whose encoder is used.
        policy: the agent whose controller is used.
        stitch: the result of `stitch_agents`.
        pairs: what it was fitted on.
        states: of `own_states`; None where there are none.

    Raises:
        InvalidInputError: for latents that hold NaN or infinity.
    """
    x, y = torch.cat([pairs.x, pairs.x_held]), torch.cat([pairs.y, pairs.y_held])
    alike, chance = _neighbours(x, y)
    own = None if states is None else _own(policy, stitch, pairs, states)
    visited, weights = (y, torch.ones(len(y))) if states is None else (policy.encode(states.y), _visits(states))
    mapped = pairs.x_held if stitch.translation is None else stitch.translation(pairs.x_held)
    return Indicators(
        held=stitch.report,
        mutual_knn=alike,
        knn_chance=chance,
        cka=_cka(x, y),
        effective_rank_x=effective_rank(x),
        effective_rank_y=effective_rank(y),
        width_x=x.shape[1],
        width_y=y.shape[1],
        dependence=1.0 - float(_shuffled(policy.controller, visited, visited, weights).overlap.mean()),
        held_chance=_shuffled(policy.controller, mapped, pairs.y_held, torch.ones(len(mapped))).agreement,
        same_seed=encoder.card.seed == policy.card.seed,
        own=own,
    )


@torch.no_grad()
def _shuffled(controller: Controller, latents: Tensor, true: Tensor, weights: Tensor) -> ActionChanges:
    """Compare actions on latents `(n, d)` with those on true ones `(n, d)` of other rows, drawn by weight `(n,)`."""
    one, other = torch.multinomial(
        weights.double(), 2 * DRAWS, replacement=True, generator=torch.Generator().manual_seed(0)
    ).split(DRAWS)
    parameters, expected = controller.action_parameters(latents), controller.action_parameters(true)
    return compare_actions(controller, parameters[one.to(parameters.device)], expected[other.to(expected.device)])


def _visits(states: OwnStates) -> Tensor:
    return torch.from_numpy(states.visits)


def effective_rank(points: Tensor) -> float:
    """Return how many dimensions points `(n, d)` use, 1 to min(n, d): exp of the entropy of their singular values.

    Roy and Vetterli 2007 ("The effective rank"), of the centred points. 0 where they are all equal.
    """
    centred = (points - points.mean(0)).double()
    values = torch.linalg.svdvals(centred)
    if float(values.sum()) <= 1e-12 * float(points.double().norm()):
        return 0.0
    shares = values / values.sum()
    return float(torch.exp(torch.special.entr(shares).sum()))


def _neighbours(x: Tensor, y: Tensor) -> tuple[float | None, float | None]:
    n = len(x)
    if n < 3:
        return None, None
    k = max(1, min(NEIGHBOURS, n // 10))
    try:
        return mutual_knn(x, y, k), k / (n - 1)
    except InvalidInputError:
        return None, None  # not defined for a constant space


def _cka(x: Tensor, y: Tensor) -> float | None:
    if len(x) < 4:
        return None
    try:
        return float(linear_cka(x, y, debiased=True))
    except InvalidInputError:
        return None  # not defined for a constant space


@torch.no_grad()
def _own(policy: Agent, stitch: Stitch, pairs: LatentPairs, states: OwnStates) -> OwnStateMetrics:
    """Compare the controller's actions on stitched latents of its own states with those on the true ones."""
    true, mapped = policy.encode(states.y), stitch.agent.encode(states.x)
    controller = policy.controller
    changes = compare_actions(controller, controller.action_parameters(mapped), controller.action_parameters(true))
    alone, astray = (torch.from_numpy(counts).to(true) for counts in (states.visits, states.strays))
    known = torch.cat([pairs.y, pairs.y_held]) if stitch.translation is None else pairs.y
    near = -nearest(true, known, 1, metric="euclidean").scores[:, 0]
    spread = (true - true.mean(0)).square().sum(1).mean().sqrt().clamp_min(1e-30)
    met = alone > 0
    return OwnStateMetrics(
        states=int(met.sum()),
        covered=_mean((near <= _SAME_VIEW * spread).to(true), alone),
        distance=_mean(near / spread, alone),
        agreement=_mean(changes.same, alone),
        overlap=_mean(changes.overlap, alone),
        chance=float(_shuffled(controller, mapped, true, _visits(states)).overlap.mean()),
        kl=_mean(changes.kl, alone),
        stray_overlap=_mean(changes.overlap, astray if bool(astray.any()) else alone),
    )


def _mean(values: Tensor, weights: Tensor) -> float:
    return float((values * weights).sum() / weights.sum())
