"""Make a trained agent relative after training: keep its encoder, and give its controller similarities to anchors.

Agents that are *trained through* a relative projection often stitch badly; an agent made relative afterwards (post-hoc)
keeps the features that it learned. By `kernel_ridge`, weights of the anchors, it keeps its controller too: the weights
times the anchors' own latents are the latents that it takes. For any other similarity a controller is fitted anew, by
cross-entropy on the old one's action distribution over the agent's own states, in seconds. Of an agent that was trained
through a projection, the projection is replaced.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rlstitch.agents import (
    Agent,
    AgentCard,
    AnchorsCard,
    BoxActions,
    Controller,
    Encoder,
    RelativeEncoder,
    RelativeSpec,
    build_controller,
    draw_noise,
)
from rlstitch.envs import make_vec
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.jobs.progress import OnProgress, part, silent
from rlstitch.latent import unit_norm
from rlstitch.rollouts.distinct import identities
from rlstitch.stitching.actions import choices, compare_actions
from rlstitch.storage import limits

KERNEL_ANCHORS = 256
"""With this number of anchors or more, Gaussian kernels join agents better than cosines do."""
WEIGHTS = "kernel_ridge"
"""The similarity with which a controller is kept."""
WEIGHTS_ANCHORS = 2048
"""With this number of anchors or more, weights join agents better than Gaussian kernels do."""


@dataclass(frozen=True)
class Distillation:
    """How a controller is distilled from another, by Adam.

    Args:
        steps: of the optimizer.
        batch_size: of a step.
        learning_rate: at the first step; it decays to 0 by a cosine.
        noise: standard deviation of the noise on the inputs, in units of their own: other encoders give the controller
            similarities that differ a little.
        standardize: use similarities minus their mean, in units of their standard deviation: fewer steps are needed,
            but a controller of cosines then tolerates other encoders a little less. None: for all but cosines alone.
        seed: random seed of the new weights and the batches.
        on_progress: called with the steps done and those in all.
    """

    steps: int = 3000
    batch_size: int = 256
    learning_rate: float = 1e-3
    noise: float = 0.3
    standardize: bool | None = None
    seed: int = 0
    on_progress: OnProgress = field(default=silent, repr=False, compare=False)


@dataclass(frozen=True)
class Relativized:
    """A relativized agent, and how its controller acts on views that it was not distilled on.

    Agreement and KL (nats) are those on `judged_views` (a tenth of the `distinct_views`, none of them an anchor); where
    the controller is distilled, on all `distinct_views`, they are those of a second one, distilled in the same way
    without the judged ones. NaN where nothing was judged, as where every view is an anchor.
    """

    agent: Agent
    action_agreement: float
    kl: float
    distinct_views: int
    judged_views: int


def relativize_agent(
    agent: Agent,
    anchor_images: NDArray[Any],
    states: NDArray[Any],
    *,
    anchor_set: str,
    similarity: str | None = None,
    normalization: str | None = None,
    shrinkage: float = 0.05,
    distillation: Distillation | None = None,
    judge: bool = True,
    name: str | None = None,
) -> Relativized:
    """Give an agent a relative encoder, and a controller that acts on it as its own did.

    Args:
        agent: a trained agent; of one that was trained through a projection, the encoder before it is kept.
        anchor_images: uint8 `(k, H, W, C)`, the anchor set under the agent's look.
        states: uint8 `(n, H, W, C)`, observations that the agent meets in its own world. The anchors are distilled on,
            too: another encoder may lead to states that the agent never meets.
        anchor_set: identity of the anchor set.
        similarity: of the relative projection; several are joined by `+`. By `kernel_ridge` alone nothing is distilled.
            None: `kernel_ridge` on `WEIGHTS_ANCHORS` anchors or more, `gaussian` on `KERNEL_ANCHORS` or more, `cosine`
            on fewer.
        normalization: of the relative projection; None: `identity` of `kernel_ridge`, `whiten` of any other.
        shrinkage: of the relative projection.
        distillation: how the controller is distilled; None: the defaults.
        judge: distil a second controller, too, for agreement and KL (else NaN, in half the time and from other random
            numbers).
        name: of the new agent; None: the agent's name with `-relativized`.

    Raises:
        IncompatibleError: where the agent was relativized already.
        InvalidInputError: where there are too few anchors or states.
    """
    _check(agent, anchor_images, states)
    how = distillation or Distillation()
    if similarity is None:
        similarity = _default_similarity(len(anchor_images))
    if how.standardize is None:
        how = replace(how, standardize=similarity != "cosine")
    base = copy.deepcopy(agent.encoder.base if isinstance(agent.encoder, RelativeEncoder) else agent.encoder)
    spec = RelativeSpec(
        base=base.spec(),  # type: ignore[arg-type]
        anchors=len(anchor_images),
        similarity=similarity,
        normalization=normalization or ("identity" if similarity == WEIGHTS else "whiten"),
        shrinkage=shrinkage,
        anchor_set=anchor_set,
    )
    encoder = _relative(agent, base, anchor_images, spec)
    generator = torch.Generator().manual_seed(how.seed)
    seen = np.concatenate([states, anchor_images])
    rows, which = np.unique(identities(seen), return_inverse=True)
    if len(rows) < 2:
        raise InvalidInputError("states: expected 2 or more distinct views to distil on, found 1")
    views = seen[rows]
    aside = _set_aside(len(views), which[len(states) :], generator)
    judged = aside if judge else torch.zeros_like(aside)
    if similarity == WEIGHTS:
        latents = agent.encode(anchor_images)
        if isinstance(next(agent.controller.trunk.children(), None), nn.LayerNorm):
            # The norm takes lengths away: of short latents, an error of the same size would change actions more.
            latents = unit_norm(latents) * torch.linalg.vector_norm(latents, dim=1).median()
        middle = latents.mean(dim=0)
        made = Agent(encoder, agent.controller.after(latents - middle, middle), agent.card)
        changes = _changes(agent, made, views[judged.numpy()])
    else:
        made = Agent(encoder, _resized(agent.controller, spec.width, how.seed).to(agent.device), agent.card)
        changes = _distilled(agent, made, views, torch.from_numpy(which), judged, how, generator)
    made.card = _card(made, name or f"{agent.card.name}-relativized", spec)
    return Relativized(made, *changes, len(views), int(aside.sum()) if judge else 0)


def _default_similarity(anchors: int) -> str:
    """Return the similarity that joined agents best on so many anchors."""
    if WEIGHTS_ANCHORS <= anchors <= limits.KERNEL_ANCHORS:
        return WEIGHTS
    return "gaussian" if anchors >= KERNEL_ANCHORS else "cosine"


def _changes(agent: Agent, made: Agent, views: NDArray[Any]) -> tuple[float, float]:
    """Return agreement and KL of two agents on views; NaN where there are none."""
    if len(views) == 0:
        return math.nan, math.nan
    changes = compare_actions(agent.controller, *(one.action_parameters(views) for one in (made, agent)))
    return changes.agreement, changes.mean_kl


def _distilled(
    agent: Agent,
    draft: Agent,
    views: NDArray[Any],
    visits: Tensor,
    judged: Tensor,
    how: Distillation,
    generator: torch.Generator,
) -> tuple[float, float]:
    """Distil the agent's controller on to the draft's; return agreement and KL of one that knows no judged views."""
    samples = _Samples(draft.encode(views), agent.encode(views), visits)
    agreement, kl = math.nan, math.nan
    trials = int(judged.any())
    reports = [replace(how, on_progress=part(how.on_progress, number, trials + 1)) for number in range(trials + 1)]
    if trials:
        trial, teacher = copy.deepcopy(draft.controller), agent.controller
        _distil(teacher, trial, replace(samples, visits=visits[~judged[visits]]), reports[0], generator)
        sides = (trial, samples.features), (teacher, samples.latents)
        changes = compare_actions(teacher, *(controller.action_parameters(x[judged]) for controller, x in sides))
        agreement, kl = changes.agreement, changes.mean_kl
    _distil(agent.controller, draft.controller, samples, reports[-1], generator)
    return agreement, kl


def _set_aside(views: int, anchors: NDArray[np.intp], generator: torch.Generator) -> Tensor:
    """Mark a tenth of the views, none of them an anchor, and at most half of those that are none."""
    aside = torch.zeros(views, dtype=torch.bool)
    others = torch.from_numpy(np.setdiff1d(np.arange(views), anchors))
    aside[others[torch.randperm(len(others), generator=generator)[: min(views // 10, len(others) // 2)]]] = True
    return aside


def _check(agent: Agent, anchor_images: NDArray[Any], states: NDArray[Any]) -> None:
    if isinstance(agent.encoder, RelativeEncoder) and agent.card.method == "relativized":
        raise IncompatibleError(
            f"agent {agent.card.name!r} is relative already, to anchor set {agent.encoder.anchor_set}"
        )
    if len(anchor_images) < 2:
        raise InvalidInputError(f"anchors: expected 2 or more, found {len(anchor_images)}")
    if len(states) < 20:
        raise InvalidInputError(f"states: expected 20 or more to distil on, found {len(states)}")


def _card(draft: Agent, name: str, spec: RelativeSpec) -> AgentCard:
    """Return the card of the relative agent."""
    anchors = AnchorsCard(
        identity=spec.anchor_set,
        count=spec.anchors,
        similarity=spec.similarity,
        normalization=spec.normalization,
    )
    changed = {"encoder": draft.encoder.spec(), "controller": draft.controller.spec(), "anchors": anchors}
    return draft.card.model_copy(update={"name": name, "method": "relativized", **changed})


@torch.no_grad()
def _relative(agent: Agent, base: Encoder, anchor_images: NDArray[Any], spec: RelativeSpec) -> RelativeEncoder:
    """Return the relative encoder."""
    encoder = RelativeEncoder(base, spec).to(agent.device)
    encoder.set_anchors(torch.cat([base(images) for images in agent.inputs(anchor_images).split(1024)]))
    return encoder


def _resized(controller: Controller, latent_dim: int, seed: int) -> Controller:
    """Return a fresh controller of the same kind for latents of another width; its weights depend on the seed."""
    spec = controller.spec()
    # R3L's norm comes with a ReLU on the latents; similarities below zero would be lost to it. A temperature would
    # only scale what is learned here.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build_controller({**spec, "latent_dim": latent_dim, "norm": "none", "value": "head", "temperature": 1.0})


@dataclass(frozen=True)
class _Samples:
    """What a controller is distilled on."""

    features: Tensor
    """`(v, k)` similarities of the distinct views, the student's input."""
    latents: Tensor
    """`(v, d)` latents of the same views, the teacher's input."""
    visits: Tensor
    """`(n,)` which view was met at each step."""


def _distil(
    teacher: Controller, student: Controller, samples: _Samples, how: Distillation, generator: torch.Generator
) -> None:
    """Train the student to act as the teacher does.

    Half of a batch are visits, half are distinct views, equally often: frequent views matter more, and rare ones matter
    too, for one wrong step next to lava is the last one. Mean and unit of standardized features become part of the
    student's first weights at the end.
    """
    features, visits = samples.features, samples.visits
    with torch.no_grad():
        actions, values = teacher(samples.latents)
    met = visits.unique()
    if teacher.log_std is not None and student.log_std is not None:
        student.log_std.data.copy_(teacher.log_std.data)
    continuous = isinstance(teacher.actions, BoxActions)
    targets = [actions] if continuous else [part.softmax(dim=1) for part in choices(teacher.actions, actions)]
    scale = values.std().clamp_min(1e-3)
    middle, unit = torch.zeros_like(features[0]), torch.ones_like(features[0, 0])
    if how.standardize:
        middle = features.mean(dim=0)
        unit = (features - middle).std().clamp_min(1e-6)
    spread = how.noise * ((features - middle) / unit).std()
    student.train()
    parameters = [p for p in student.parameters() if p is not student.log_std]
    optimizer = torch.optim.Adam(parameters, lr=how.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how.steps)
    half = (how.batch_size // 2,)
    for step in range(how.steps):
        how.on_progress(step, how.steps)
        halves = [rows[torch.randint(len(rows), half, generator=generator)] for rows in (visits, met)]
        batch = torch.cat(halves).to(features.device)
        similarities = (features[batch] - middle) / unit
        jitter = torch.randn(similarities.shape, generator=generator).to(similarities)
        predicted, predicted_values = student(similarities + spread * jitter)
        if continuous:
            loss = functional.mse_loss(predicted, targets[0][batch])
        else:
            parts = zip(choices(teacher.actions, predicted), targets, strict=True)
            loss = torch.stack([functional.cross_entropy(part, target[batch]) for part, target in parts]).sum()
        # The value head is kept usable too (it is not needed to act), at a weight that does not compete.
        loss = loss + 0.1 * functional.mse_loss(predicted_values / scale, values[batch] / scale)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    for layer in _entries(student):
        layer.weight.data.div_(unit)
        layer.bias.data.sub_(layer.weight.data @ middle)
    student.eval()


def _entries(controller: Controller) -> list[nn.Linear]:
    """Return the layers that take the latents: of the actions and, where it has a trunk of its own, of the value."""
    trunk = controller.trunk if controller.value_trunk is None else controller.value_trunk
    ways = ([*controller.trunk, controller.action_head], [*trunk, controller.value_head])
    first = [next(layer for layer in way if isinstance(layer, nn.Linear)) for way in ways]
    return first[:1] if first[0] is first[1] else first


def visited_states(agent: Agent, *, count: int = 12_800, num_envs: int = 64, seed: int = 0) -> NDArray[Any]:
    """Return the first `count` observations uint8 `(count, H, W, C)` that an agent meets in its own world.

    In half of the environments it samples its policy. In the others each action is random with a probability that rises
    from environment to environment up to 1: a trained agent sees few states, and a controller that is distilled on
    those alone would not know what to do after one mistake.
    """
    environments = make_vec(agent.card.world, num_envs, seed=seed)
    generator = np.random.default_rng(seed)
    stray = np.concatenate([np.zeros(num_envs // 2), np.linspace(0.0, 1.0, num_envs - num_envs // 2)])
    space = environments.single_action_space
    space.seed(seed)
    observations, _ = environments.reset(seed=seed)
    width = agent.controller.actions.width
    visited = []
    for _ in range(-(-count // num_envs)):
        visited.append(observations.copy())
        noise = draw_noise(generator, agent.noise_kind, (num_envs, width))
        actions: Any = agent.act(observations, noise=noise)
        for index in np.flatnonzero(generator.random(num_envs) < stray):
            actions[index] = space.sample()
        observations, *_ = environments.step(actions)
    environments.close()
    return np.concatenate(visited)[:count]
