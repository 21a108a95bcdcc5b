"""Join the encoder of one agent to the controller of another.

Direct translation (SAPS, arXiv 2503.01881): `controller_y(T(encoder_x(observation)))` with `T` fitted on paired
latents.
Relative stitching (R3L, arXiv 2404.12917) is the case with no translation, legal between agents of one anchor set.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from typing import Literal

import torch

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import weights_sha256
from rlstitch.agents.card import ParentCard
from rlstitch.agents.encoder import Encoder, RelativeEncoder, TranslatedEncoder
from rlstitch.envs import cell_world
from rlstitch.errors import IncompatibleError, InvalidInputError, UnknownNameError
from rlstitch.latent import Translation
from rlstitch.stitching.diagnosis.held_out import StitchReport, diagnose
from rlstitch.stitching.maps import CANDIDATES, TRANSLATIONS, fit_map
from rlstitch.stitching.pairs import LatentPairs

METHODS = ("naive", "relative", *TRANSLATIONS, "auto")


@dataclass(frozen=True)
class Stitch:
    """A stitched agent and what was known about it before any rollout."""

    agent: Agent
    report: StitchReport


def stitch_agents(
    encoder: Agent, policy: Agent, pairs: LatentPairs, *, method: str = "affine", name: str | None = None
) -> Stitch:
    """Join `encoder`'s encoder to `policy`'s controller.

    Args:
        encoder: the agent whose encoder is used.
        policy: the agent whose controller is used.
        pairs: latents of the same views under both.
        method: `naive` (nothing in between), `relative` (both relative to one anchor set), one of `TRANSLATIONS` (a
            map fitted on the pairs; `robust` where some may be wrong; `task_matched` by what the controller makes of
            them) or `auto` (of `CANDIDATES`, the map that changes the controller's action distribution least, judged on
            one half of the held-out pairs; the report comes from the other half).
        name: of the stitched agent; made of its parents' names where it is not given.

    Raises:
        UnknownNameError: for another method.
        IncompatibleError: where the two have no common world, or (naive, relative) no common latent space, or where
            the pairs are not of their widths.
        InvalidInputError: where the pairs are too few for the method.
    """
    check_method(method)
    world = cell_world(encoder.card.world, policy.card.world)
    _check_pairs(encoder, policy, pairs)
    wanted = method
    translation, held = None, (pairs.x_held, pairs.y_held)
    if method == "relative":
        check_relative(encoder, policy)
    elif method == "naive":
        check_widths(encoder, policy)
    elif method == "auto":
        method, translation = _least_change(policy, pairs)
        half = len(pairs.x_held) // 2
        held = (pairs.x_held[half:], pairs.y_held[half:])
    else:
        translation = fit_map(method, pairs.x, pairs.y, policy.controller)
    refitted = translation is not None and pairs.exhausted
    report = diagnose(
        method,
        policy.controller,
        translation,
        *held,
        pairs=0 if translation is None else len(pairs.x),
        distinct_views=pairs.distinct_views,
        refitted=refitted,
    )
    if refitted:
        # Judged on views that it did not see; now it may see them: there are no others in this world.
        x, y = torch.cat([pairs.x, pairs.x_held]), torch.cat([pairs.y, pairs.y_held])
        translation = fit_map(method, x, y, policy.controller)
    base = copy.deepcopy(encoder.encoder)
    joined: Encoder = base if translation is None else TranslatedEncoder(base, translation)
    card = policy.card.model_copy(
        update={
            "name": name or default_name(encoder, policy, wanted),
            "world": world,
            "observation_shape": encoder.card.observation_shape,
            "encoder": joined.spec(),
            "controller": policy.controller.spec(),
            "anchors": encoder.card.anchors if method == "relative" else None,
            "training": None,
            "method": method,
            "parents": (_parent(encoder, "encoder"), _parent(policy, "controller")),
        }
    )
    return Stitch(Agent(joined, copy.deepcopy(policy.controller), card), report)


def check_method(method: str) -> None:
    """Raise UnknownNameError for a method that is not among `METHODS`; the message offers the nearest."""
    if method not in METHODS:
        raise UnknownNameError("stitching method", method, METHODS)


def default_name(encoder: Agent, policy: Agent, method: str) -> str:
    """Return the name of a stitched agent, as `joined_name` makes it."""
    return joined_name(encoder.card.name, policy.card.name, method)


def joined_name(encoder: str, policy: str, method: str) -> str:
    """Return a name made of those of two agents and a method; shortened, with a hash, past 100 characters."""
    name = f"{encoder}--{policy}--{method}"
    if len(name) <= 100:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{encoder[:38]}--{policy[:38]}--{method}-{digest}"


def check_relative(encoder: Agent, policy: Agent) -> None:
    """Refuse two agents that are not relative to one anchor set.

    Raises:
        IncompatibleError: naming what each of them is.
    """
    found = [_anchor_set(encoder), _anchor_set(policy)]
    for agent, anchor_set in zip((encoder, policy), found, strict=True):
        if anchor_set is None:
            raise IncompatibleError(
                f"agent {agent.card.name!r} is absolute, relative stitching needs both relative to one anchor set "
                "(train with --representation relative, or use rlstitch relativize)"
            )
    if found[0] != found[1]:
        raise IncompatibleError(
            f"the agents are relative to different anchor sets: {encoder.card.name!r} to {found[0]}, "
            f"{policy.card.name!r} to {found[1]}"
        )
    ways = [_projection(agent) for agent in (encoder, policy)]
    if ways[0] != ways[1]:
        raise IncompatibleError(
            f"the agents project differently on the same anchors: {encoder.card.name!r} by {ways[0]}, "
            f"{policy.card.name!r} by {ways[1]}"
        )


def check_widths(encoder: Agent, policy: Agent) -> None:
    """Refuse a naive stitch of latents that do not fit.

    Raises:
        IncompatibleError: naming both widths, and whether one agent is relative and the other absolute.
    """
    if (_anchor_set(encoder) is None) != (_anchor_set(policy) is None):
        relative, absolute = (policy, encoder) if _anchor_set(encoder) is None else (encoder, policy)
        raise IncompatibleError(
            f"agent {relative.card.name!r} is relative and {absolute.card.name!r} is absolute: "
            "their latents mean different things (join them by a translation: orthogonal, linear, affine)"
        )
    if encoder.encoder.latent_dim != policy.controller.latent_dim:
        raise IncompatibleError(
            f"the encoder of {encoder.card.name!r} gives latents of width {encoder.encoder.latent_dim}, the controller "
            f"of {policy.card.name!r} takes {policy.controller.latent_dim} "
            "(join them by a translation: orthogonal, linear, affine)"
        )


def _check_pairs(encoder: Agent, policy: Agent, pairs: LatentPairs) -> None:
    """Refuse pairs of other agents, as far as the widths tell."""
    for side, agent, latents in (("x", encoder, pairs.x), ("y", policy, pairs.y)):
        if latents.shape[1] != agent.encoder.latent_dim:
            raise IncompatibleError(
                f"pairs: {side} holds latents of width {latents.shape[1]}, agent {agent.card.name!r} gives "
                f"{agent.encoder.latent_dim}; gather the pairs of these two agents"
            )


def _anchor_set(agent: Agent) -> str | None:
    return agent.encoder.anchor_set if isinstance(agent.encoder, RelativeEncoder) else None


def _projection(agent: Agent) -> str:
    spec = agent.encoder.spec()
    return f"{spec.get('similarity')} after {spec.get('normalization')}"


def _least_change(policy: Agent, pairs: LatentPairs) -> tuple[str, Translation]:
    half = len(pairs.x_held) // 2
    if half < 1:
        raise InvalidInputError(
            f"auto: needs 2 held-out pairs or more to choose and to report, found {len(pairs.x_held)}"
        )
    candidates = {method: fit_map(method, pairs.x, pairs.y) for method in CANDIDATES}
    changes = {
        method: diagnose(
            method,
            policy.controller,
            candidate,
            pairs.x_held[:half],
            pairs.y_held[:half],
            pairs=len(pairs.x),
            distinct_views=pairs.distinct_views,
        ).kl
        for method, candidate in candidates.items()
    }
    best = min(changes, key=lambda method: changes[method])
    return best, candidates[best]


def _parent(agent: Agent, role: Literal["encoder", "controller"]) -> ParentCard:
    part = agent.encoder if role == "encoder" else agent.controller
    return ParentCard(name=agent.card.name, role=role, sha256=weights_sha256(part))
