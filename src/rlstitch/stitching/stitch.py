"""Join the encoder of one agent to the controller of another.

Direct translation (SAPS, arXiv 2503.01881): `controller_y(T(encoder_x(observation)))` with `T` fitted on paired
latents.
Relative stitching (R3L, arXiv 2404.12917) is the case with no translation, legal between agents of one anchor set.
"""

from __future__ import annotations

import copy
import hashlib
import time
from dataclasses import dataclass, field, replace

from rlstitch.agents import Agent, Controller, Encoder, RelativeEncoder, TranslatedEncoder, parent_card
from rlstitch.envs import cell_world
from rlstitch.errors import IncompatibleError, InvalidInputError, RlstitchError, TooFewPairsError
from rlstitch.latent import Translation
from rlstitch.stitching.choice import Choice
from rlstitch.stitching.methods import BUILT_IN, Method, get_method
from rlstitch.stitching.pairs import LatentPairs
from rlstitch.stitching.report import StitchReport, report_stitch


@dataclass(frozen=True)
class Stitch:
    """A stitched agent and the metrics that are known before any rollout."""

    agent: Agent
    report: StitchReport
    translation: Translation | None = None
    """What was put between encoder and controller; None: nothing."""
    fit_seconds: float = field(default=0.0, compare=False)
    """What it took to fit."""


def stitch_agents(
    encoder: Agent, policy: Agent, pairs: LatentPairs, *, method: str = "affine", name: str | None = None
) -> Stitch:
    """Join `encoder`'s encoder to `policy`'s controller.

    The translation is fitted on `pairs.x` and `pairs.y`, and evaluated on the held-out pairs, which it never sees.

    Args:
        encoder: the agent whose encoder is used.
        policy: the agent whose controller is used.
        pairs: latents of the same views under both.
        method: name of a stitching method, or `module:name` of one, see `rlstitch.stitching.methods`.
        name: of the stitched agent; None: made of its parents' names.

    Raises:
        UnknownNameError: for an unknown method.
        IncompatibleError: where the two have no common world, lack what the method requires, or where the pairs are not
            of their widths.
        InvalidInputError: where the pairs are too few for the method, or the method fits no Translation.
    """
    chosen = check_method(encoder, policy, method)
    world = cell_world(encoder.card.world, policy.card.world)
    _check_pairs(encoder, policy, pairs)
    pairs = replace(pairs, frames=encoder.encoder.frames)
    began = time.perf_counter()
    fitted = _fitted(chosen, pairs, policy.controller)
    seconds = time.perf_counter() - began
    choice = fitted if isinstance(fitted, Choice) else None
    translation = fitted.translation if isinstance(fitted, Choice) else fitted
    if not isinstance(translation, Translation | None):
        raise InvalidInputError(f"method {chosen.name!r}: expected a Translation or None, found {translation!r:.80}")
    used = chosen.name if choice is None else choice.translation.method
    why = "" if choice is None else choice.reason
    report = report_stitch(used, policy.controller, translation, pairs, choice=why)
    base = copy.deepcopy(encoder.encoder)
    joined: Encoder = base if translation is None else TranslatedEncoder(base, translation)
    card = policy.card.model_copy(
        update={
            "name": name or joined_name(encoder.card.name, policy.card.name, chosen.name),
            "world": world,
            "observation_shape": encoder.card.observation_shape,
            "encoder": joined.spec(),
            "controller": policy.controller.spec(),
            "anchors": encoder.card.anchors if chosen.requires == "one anchor set" else None,
            "training": None,
            "method": used,
            "parents": (parent_card(encoder, "encoder"), parent_card(policy, "controller")),
        }
    )
    return Stitch(Agent(joined, copy.deepcopy(policy.controller), card), report, translation, seconds)


def _fitted(method: Method, pairs: LatentPairs, controller: Controller) -> Translation | Choice | None:
    """Fit by a method; what one of a user's own raises is an error of the input."""
    try:
        return method.fit(pairs, controller)
    except TooFewPairsError as error:
        count = len(pairs.x)
        needed = -(-error.minimum * count // error.count) if error.count else error.minimum  # frames are pairs, too
        raise InvalidInputError(f"pairs: {method.name} needs at least {needed}, found {count}") from None
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if method.name in BUILT_IN or isinstance(error, RlstitchError):
            raise
        raise InvalidInputError(f"method {method.name!r}: {type(error).__name__}: {error}") from error


def check_method(encoder: Agent, policy: Agent, method: str) -> Method:
    """Return a method by its name, once it is known that it can join two agents.

    Raises:
        UnknownNameError: for an unknown method.
        IncompatibleError: where the two have no common world, or lack what the method requires.
    """
    chosen = get_method(method)
    cell_world(encoder.card.world, policy.card.world)
    if check := _REQUIREMENTS.get(chosen.requires):
        check(encoder, policy)
    return chosen


def joined_name(encoder: str, policy: str, method: str) -> str:
    """Return a name made of two agents' names and a method; beyond 100 characters it is shortened, with a hash."""
    name = f"{encoder}--{policy}--{method}"
    if len(name) <= 100:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{encoder[:38]}--{policy[:38]}--{method}-{digest}"


def check_relative(encoder: Agent, policy: Agent) -> None:
    """Check that two agents are relative to one anchor set.

    Raises:
        IncompatibleError: naming what each of them is.
    """
    sets = [_anchor_set(encoder), _anchor_set(policy)]
    for agent, anchor_set in zip((encoder, policy), sets, strict=True):
        if anchor_set is None:
            raise IncompatibleError(
                f"agent {agent.card.name!r} is absolute, relative stitching needs both relative to one anchor set "
                "(train them with representation relative, or relativize them)"
            )
    if sets[0] != sets[1]:
        raise IncompatibleError(
            f"the agents are relative to different anchor sets: {encoder.card.name!r} to {sets[0]}, "
            f"{policy.card.name!r} to {sets[1]}"
        )
    ways = [_projection(agent) for agent in (encoder, policy)]
    if ways[0] != ways[1]:
        raise IncompatibleError(
            f"the agents project differently on the same anchors: {encoder.card.name!r} by {ways[0]}, "
            f"{policy.card.name!r} by {ways[1]}"
        )


def check_widths(encoder: Agent, policy: Agent) -> None:
    """Check that the widths of two agents allow a naive stitch.

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


def check_frames(encoder: Agent, policy: Agent) -> None:
    """Check that both agents encode equally many images of a stack each alone.

    Raises:
        IncompatibleError: naming how many each of them does.
    """
    counts = [agent.encoder.frames for agent in (encoder, policy)]
    if counts[0] != counts[1] or counts[0] == 1:
        raise IncompatibleError(
            "a map of each frame needs two encoders that encode as many frames each alone (encoder.frames: separate), "
            f"found {counts[0]} of {encoder.card.name!r} and {counts[1]} of {policy.card.name!r}"
        )


_REQUIREMENTS = {
    "one anchor set": check_relative,
    "equal widths": check_widths,
    "frames encoded alone": check_frames,
}


def _check_pairs(encoder: Agent, policy: Agent, pairs: LatentPairs) -> None:
    """Check that pairs have the widths of two agents."""
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
