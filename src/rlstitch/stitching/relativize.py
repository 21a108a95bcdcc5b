"""Make a trained agent relative after training: keep its encoder, distil its controller on to similarities to anchors.

Agents that are *trained through* a relative projection often cross badly; an agent made relative afterwards keeps the
features that it learned absolutely, and only its controller is fitted anew, by cross-entropy on its own action
distribution over its own states. That takes seconds. Tables call it post-hoc. What was trained through a projection
is mended in the same way: its projection and controller make room for new ones.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rlstitch.agents.agent import Agent
from rlstitch.agents.card import AgentCard, AnchorsCard
from rlstitch.agents.controller import Controller, build_controller
from rlstitch.agents.encoder import Encoder, RelativeEncoder
from rlstitch.agents.specs import BoxActions, RelativeSpec
from rlstitch.envs import make_vec
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.rollouts.distinct import identities
from rlstitch.stitching.actions import compare_actions

KERNEL_ANCHORS = 256
"""From so many anchors on Gaussian kernels join agents better than cosines; among fewer they leave gaps."""


@dataclass(frozen=True)
class Relativized:
    """A relativized agent, and how well its controller carries to views that it was not distilled on.

    The controller is distilled on all `distinct_views`. Agreement and KL (nats) are those of a second one, distilled in
    the same way without the `judged_views` (a tenth of all, none of them an anchor), on these: what the first will do
    on a view that is new to it. NaN where nothing was judged, as where every view is an anchor.
    """

    agent: Agent
    action_agreement: float
    kl: float
    distinct_views: int
    judged_views: int


def relativize_agent(
    agent: Agent,
    anchor_images: NDArray[np.uint8],
    states: NDArray[np.uint8],
    *,
    anchor_set: str,
    similarity: str | None = None,
    normalization: str = "whiten",
    shrinkage: float = 0.05,
    steps: int = 3000,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    noise: float = 0.3,
    standardize: bool | None = None,
    seed: int = 0,
    judge: bool = True,
    name: str | None = None,
) -> Relativized:
    """Give an agent a relative encoder and a controller that acts as its own did.

    Args:
        agent: a trained agent; of one that was trained through a projection the encoder before it is kept.
        anchor_images: uint8 `(k, H, W, C)`, the anchor set under the agent's look.
        states: uint8 `(n, H, W, C)`, observations that the agent meets in its own world. Anchors are distilled on too:
            another encoder may lead to what the agent never meets.
        anchor_set: identity of the anchor set.
        similarity: of the relative projection; several are joined by `+`. None: `gaussian` on `KERNEL_ANCHORS` anchors
            or more, `cosine` on fewer.
        normalization, shrinkage: of the relative projection.
        steps, batch_size, learning_rate, seed: of the distillation (Adam).
        noise: standard deviation of the noise that the similarities are distilled under, in units of their own: the
            controller will be driven by other encoders, whose similarities differ a little.
        standardize: distil from similarities about their mean, in units of their deviation: in fewer steps, but
            a controller of cosines then bears other encoders a little worse. None: for all but cosines alone.
        judge: distil a second controller too, for agreement and KL (NaN without it, in half the time and from other
            random draws).
        name: of the new agent; the agent's name with `-relativized` where it is not given.

    Raises:
        IncompatibleError: where the agent was relativized already.
        InvalidInputError: where there are too few anchors or states.
    """
    _check(agent, anchor_images, states)
    if similarity is None:
        similarity = "gaussian" if len(anchor_images) >= KERNEL_ANCHORS else "cosine"
    base = copy.deepcopy(agent.encoder.base if isinstance(agent.encoder, RelativeEncoder) else agent.encoder)
    spec = RelativeSpec(
        base=base.spec(),  # type: ignore[arg-type]
        anchors=len(anchor_images),
        similarity=similarity,
        normalization=normalization,
        shrinkage=shrinkage,
        anchor_set=anchor_set,
    )
    draft = _draft(agent, base, anchor_images, spec, seed)
    generator = torch.Generator().manual_seed(seed)
    seen = np.concatenate([states, anchor_images])
    rows, which = np.unique(identities(seen), return_inverse=True)
    if len(rows) < 2:
        raise InvalidInputError("states: expected 2 or more distinct views to distil on, found 1")
    views, visits = seen[rows], torch.from_numpy(which)
    features, latents = draft.encode(views), agent.encode(views)
    aside = _set_aside(len(views), which[len(states) :], generator)
    trial, agreement, kl = copy.deepcopy(draft.controller), math.nan, math.nan
    teach = partial(
        _distil,
        agent.controller,
        latents=latents,
        features=features,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        noise=noise,
        standardize=similarity != "cosine" if standardize is None else standardize,
        generator=generator,
    )
    if judge and aside.any():
        teach(trial, visits=visits[~aside[visits]])
        agreement, kl = _compare(agent.controller, trial, latents[aside], features[aside])
    teach(draft.controller, visits=visits)
    draft.card = _card(draft, name or f"{agent.card.name}-relativized", spec)
    return Relativized(draft, agreement, kl, len(views), int(aside.sum()) if judge else 0)


def _set_aside(views: int, anchors: NDArray[np.intp], generator: torch.Generator) -> Tensor:
    """Mark a tenth of the views, none of them an anchor, and at most half of those that are none."""
    aside = torch.zeros(views, dtype=torch.bool)
    others = torch.from_numpy(np.setdiff1d(np.arange(views), anchors))
    aside[others[torch.randperm(len(others), generator=generator)[: min(views // 10, len(others) // 2)]]] = True
    return aside


def _check(agent: Agent, anchor_images: NDArray[np.uint8], states: NDArray[np.uint8]) -> None:
    if isinstance(agent.encoder, RelativeEncoder) and agent.card.method == "relativized":
        raise IncompatibleError(
            f"agent {agent.card.name!r} is relative already, to anchor set {agent.encoder.anchor_set}"
        )
    if len(anchor_images) < 2:
        raise InvalidInputError(f"anchors: expected 2 or more, found {len(anchor_images)}")
    if len(states) < 20:
        raise InvalidInputError(f"states: expected 20 or more to distil on, found {len(states)}")


def _card(draft: Agent, name: str, spec: RelativeSpec) -> AgentCard:
    """The card of the agent that it was, with what has changed."""
    anchors = AnchorsCard(
        identity=spec.anchor_set,
        count=spec.anchors,
        similarity=spec.similarity,
        normalization=spec.normalization,
    )
    changed = {"encoder": draft.encoder.spec(), "controller": draft.controller.spec(), "anchors": anchors}
    return draft.card.model_copy(update={"name": name, "method": "relativized", **changed})


@torch.no_grad()
def _draft(agent: Agent, base: Encoder, anchor_images: NDArray[np.uint8], spec: RelativeSpec, seed: int) -> Agent:
    """The relative agent before anything is distilled."""
    encoder = RelativeEncoder(base, spec).to(agent.device)
    encoder.set_anchors(torch.cat([base(images) for images in agent.images(anchor_images).split(1024)]))
    return Agent(encoder, _resized(agent.controller, spec.width, seed).to(agent.device), agent.card)


def _resized(controller: Controller, latent_dim: int, seed: int) -> Controller:
    """A fresh controller of the same kind for latents of another width; its weights follow from the seed."""
    spec = controller.spec()
    # R3L's norm comes with a ReLU on the latents; similarities below zero would be lost to it. A temperature would
    # only scale what is learned here.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build_controller({**spec, "latent_dim": latent_dim, "norm": "none", "value": "head", "temperature": 1.0})


def _distil(
    teacher: Controller,
    student: Controller,
    latents: Tensor,
    features: Tensor,
    visits: Tensor,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    noise: float,
    standardize: bool,
    generator: torch.Generator,
) -> None:
    """Teach the student how the teacher acts; `visits (n,)` names the view, a row of the features, met at each step.

    Half of a batch are visits, half are distinct views, all alike: what is met often counts more, and what is met
    seldom counts too, for one wrong step next to lava is the last one. Mean and unit of standardized features go into
    the student's first weights at the end.
    """
    with torch.no_grad():
        wanted, values = teacher(latents)
    met = visits.unique()
    if teacher.log_std is not None and student.log_std is not None:
        student.log_std.data.copy_(teacher.log_std.data)
    continuous = isinstance(teacher.actions, BoxActions)
    targets = wanted if continuous else wanted.softmax(dim=1)
    scale = values.std().clamp_min(1e-3)
    middle, unit = torch.zeros_like(features[0]), torch.ones_like(features[0, 0])
    if standardize:
        middle = features.mean(dim=0)
        unit = (features - middle).std().clamp_min(1e-6)
    spread = noise * ((features - middle) / unit).std()
    student.train()
    parameters = [p for p in student.parameters() if p is not student.log_std]
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        half = (batch_size // 2,)
        drawn = [rows[torch.randint(len(rows), half, generator=generator)] for rows in (visits, met)]
        batch = torch.cat(drawn).to(features.device)
        similarities = (features[batch] - middle) / unit
        jitter = torch.randn(similarities.shape, generator=generator).to(similarities)
        found, found_values = student(similarities + spread * jitter)
        if continuous:
            loss = functional.mse_loss(found, targets[batch])
        else:
            loss = functional.cross_entropy(found, targets[batch])
        # The value head is kept usable too (it is not needed to act), at a weight that does not compete.
        loss = loss + 0.1 * functional.mse_loss(found_values / scale, values[batch] / scale)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    for layer in _entries(student):
        layer.weight.data.div_(unit)
        layer.bias.data.sub_(layer.weight.data @ middle)
    student.eval()


def _entries(controller: Controller) -> list[nn.Linear]:
    """The layers that take the latents: those of the actions and, where it has a trunk of its own, of the value."""
    trunk = controller.trunk if controller.value_trunk is None else controller.value_trunk
    ways = ([*controller.trunk, controller.action_head], [*trunk, controller.value_head])
    first = [next(layer for layer in way if isinstance(layer, nn.Linear)) for way in ways]
    return first[:1] if first[0] is first[1] else first


@torch.no_grad()
def _compare(teacher: Controller, student: Controller, latents: Tensor, features: Tensor) -> tuple[float, float]:
    """Greedy agreement and KL of teacher and student, each on its own input."""
    changes = compare_actions(teacher, student.action_parameters(features), teacher.action_parameters(latents))
    return changes.agreement, changes.mean_kl


def visited_states(agent: Agent, *, count: int = 12_800, num_envs: int = 64, seed: int = 0) -> NDArray[np.uint8]:
    """Return the first `count` observations uint8 `(count, H, W, C)` that an agent meets in its own world.

    In half of the environments it samples its policy. In the others each action is random with a probability that rises
    from environment to environment up to 1: a trained agent sees few states, and a controller that is distilled on
    those alone does not know what to do one mistake away from them.
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
        if agent.noise_kind == "gumbel":
            noise = generator.gumbel(size=(num_envs, width))
        else:
            noise = generator.standard_normal((num_envs, width))
        actions: Any = agent.act(observations, noise=noise)
        for index in np.flatnonzero(generator.random(num_envs) < stray):
            actions[index] = space.sample()
        observations, *_ = environments.step(actions)
    environments.close()
    return np.concatenate(visited)[:count]
