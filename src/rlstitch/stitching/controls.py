"""Controls of a stitching method: what it gives where there is nothing to stitch, and where nothing was lost.

Powerful maps make anything look stitched. A method counts only above what it earns on shuffled pairs and with an
encoder that was never trained; with the controller's own encoder it shows what the map itself costs. The control of a
method is named after it: `affine-shuffled`, `affine-untrained`, `affine-self`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import torch

from rlstitch.agents.agent import Agent
from rlstitch.errors import InvalidInputError
from rlstitch.jobs.progress import OnProgress, silent
from rlstitch.stitching.methods import fits_map
from rlstitch.stitching.pairs import LatentPairs
from rlstitch.stitching.refine import refine_stitch, split_rounds
from rlstitch.stitching.stitch import Stitch

CONTROLS: MappingProxyType[str, str] = MappingProxyType(
    {
        "shuffled": "the map is fitted on pairs of unrelated states",
        "untrained": "the encoder has fresh weights",
        "self": "the controller's own encoder, through a map of its latents to themselves",
    }
)
_SEED = 0x6374726C


def split_control(name: str) -> tuple[str, str]:
    """Return a method and its control; of a name without one, the name and an empty text."""
    method, _, control = name.rpartition("-")
    return (method, control) if method and control in CONTROLS else (name, "")


def split_name(name: str) -> tuple[str, int, str]:
    """Return a method, its rounds of refinement and its control: `affine-refined-2-untrained` is `affine`, 2 and
    `untrained`.

    Raises:
        InvalidInputError: for shuffled pairs of a refined method, and for rounds of one that fits no map.
        UnknownNameError: for rounds of an unknown method.
    """
    method, control = split_control(name)
    base, rounds = split_rounds(method)
    if rounds and control == "shuffled":
        raise InvalidInputError(f"{name}: rounds of refinement add pairs of the same states, which are not shuffled")
    return base, rounds, control


def chance_controls(method: str) -> list[str]:
    """Return the names of the controls that a method has to be above.

    Those of a refined method, `affine-refined-2` or the row `affine, round 2`, are those of the method itself, and an
    untrained encoder that is refined as often.
    """
    name, _, number = method.partition(", round ")
    base, rounds = (name, int(number)) if number else split_rounds(name)
    refined = [f"{base}-refined-{rounds}-untrained"] if rounds else []
    return [f"{base}-shuffled", f"{base}-untrained", *refined]


def with_controls(methods: Sequence[str]) -> list[str]:
    """Return methods, each that fits a map followed by its controls."""
    names = []
    for method in methods:
        base, _ = split_rounds(method)
        controls = [*chance_controls(method), f"{base}-self"]
        names += [method, *(controls if not split_control(method)[1] and fits_map(base) else [])]
    return names


def stitch_control(
    encoder: Agent,
    policy: Agent,
    pairs: LatentPairs,
    name: str,
    untrained: LatentPairs | None = None,
    *,
    seed: int = 0,
    on_progress: OnProgress = silent,
) -> Stitch:
    """Join two agents by a method, refined or not, or by the control of one; see `stitch_agents`.

    Args:
        encoder, policy: the agents whose encoder and controller are joined.
        pairs: latents of the same views under both.
        name: of a method, of one with rounds of refinement (`split_rounds`), or of a control.
        untrained: of the same views, with `untrained_agent(encoder)` in the place of `encoder`; its control needs them.
        seed: of the states that a refinement collects.
        on_progress: called with how much of these is collected, and with all of it.

    Raises:
        InvalidInputError: for an untrained encoder without its pairs, and for shuffled pairs of a refined method.
    """
    method, rounds, control = split_name(name)
    if control == "shuffled":
        pairs = replace(pairs, y=pairs.y[np.random.default_rng(_SEED).permutation(len(pairs.y))])
    elif control == "untrained":
        if untrained is None:
            raise InvalidInputError(f"{name}: expected pairs of the untrained encoder, found none")
        encoder, pairs = untrained_agent(encoder), untrained
    elif control == "self":
        encoder, pairs = policy, replace(pairs, x=pairs.y, x_held=pairs.y_held)
    return refine_stitch(encoder, policy, pairs, rounds=rounds, method=method, seed=seed, on_progress=on_progress)[-1]


def untrained_agent(agent: Agent) -> Agent:
    """Return a copy of an agent whose encoder's layers have fresh weights; statistics of its inputs stay."""
    encoder = copy.deepcopy(agent.encoder)
    with torch.random.fork_rng():
        torch.manual_seed(_SEED)
        for layer in encoder.modules():
            if callable(reset := getattr(layer, "reset_parameters", None)):
                reset()
    return Agent(encoder, agent.controller, agent.card)
