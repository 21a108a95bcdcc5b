"""Refinement: the map of a stitched agent is fitted again on the states that this agent meets.

The pairs of a first collection come from the parents and from random actions. Where the map is not exact, the stitched
agent leaves their states, and errs most where nothing was fitted. Both sides can observe those states too: no reward is
needed. This is DAgger (Ross et al. 2011, arXiv 1011.0686) with the controller's own latents in place of an expert.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from rlstitch.agents.agent import Agent
from rlstitch.errors import InvalidInputError
from rlstitch.jobs.progress import OnProgress, part, silent
from rlstitch.stitching.actions import compare_actions
from rlstitch.stitching.methods import fits_map
from rlstitch.stitching.pairs import LatentPairs, gather_images
from rlstitch.stitching.stitch import Stitch, stitch_agents

_DOMAIN = 0x72666E65
_NEAR = 1e-5
"""Distance, in lengths of latents, within which two of them are of one view: their last bits depend on the batch."""


def split_rounds(name: str) -> tuple[str, int]:
    """Return a method and its rounds of refinement: `affine-refined-2` is `affine` with 2, `affine` itself has 0.

    Raises:
        InvalidInputError: for rounds of a method that fits no map.
        UnknownNameError: for rounds of an unknown method.
    """
    parts = re.fullmatch(r"(.+)-refined-([1-9]\d?)", name)
    if parts is None:
        return name, 0
    if not fits_map(parts[1]):
        raise InvalidInputError(f"method: expected one that fits a map before -refined, found {name!r}")
    return parts[1], int(parts[2])


def check_rounds(rounds: int, method: str) -> None:
    """Raise InvalidInputError for fewer than 0 rounds, or rounds of a method that fits no map."""
    if rounds < 0:
        raise InvalidInputError(f"refine: expected 0 rounds or more, found {rounds}")
    if rounds and not fits_map(method):
        raise InvalidInputError(f"refine: expected a method that fits a map, found {method!r}")


def refine_stitch(
    encoder: Agent,
    policy: Agent,
    pairs: LatentPairs,
    *,
    rounds: int,
    method: str = "affine",
    seed: int = 0,
    name: str | None = None,
    on_progress: OnProgress = silent,
) -> list[Stitch]:
    """Join two agents, and fit the map again in rounds on the states that the stitched agent meets.

    In each round the stitched agent plays, with random actions beside it as in the first collection. As many states as
    there were pairs at first are added, seen by both sides, and the method is fitted on all pairs. A state that is met
    again counts again; those whose views are held out are not fitted on, so that the reports compare.

    Args:
        encoder, policy: the agents whose encoder and controller are joined.
        pairs: of the first fit.
        rounds: 0 or more.
        method: name of a stitching method that fits a map.
        seed: of the rollouts.
        name: of the stitched agent, see `stitch_agents`.
        on_progress: called with how much of the collection of all rounds is done, and with all of it.

    Returns:
        The first stitch, and that of each round.

    Raises:
        InvalidInputError: for fewer than 0 rounds, or a method that fits nothing, and as `gather_pairs`.
        UnknownNameError, IncompatibleError: as `stitch_agents`.
    """
    check_rounds(rounds, method)
    stitches = [stitch_agents(encoder, policy, pairs, method=method, name=name)]
    count = len(pairs.x)
    for number in range(rounds):
        driver = stitches[-1].agent
        images = gather_images(
            encoder,
            policy,
            count=count,
            seed=int(np.random.SeedSequence((_DOMAIN, seed, number)).generate_state(1)[0]),
            drivers=[driver],
            on_progress=part(on_progress, number, rounds),
        )
        x, y = (agent.encode(seen) for agent, seen in zip((encoder, policy), images, strict=True))
        controller = policy.controller
        acted = controller.action_parameters(driver.encode(images[0]))
        changes = compare_actions(controller, acted, controller.action_parameters(y))
        new = _apart(x, pairs.x_held)
        pairs = replace(
            pairs,
            x=torch.cat([pairs.x, x[new]]),
            y=torch.cat([pairs.y, y[new]]),
            distinct_views=pairs.distinct_views + int(_apart(x, torch.cat([pairs.x, pairs.x_held])).sum()),
        )
        joined = stitch_agents(encoder, policy, pairs, method=method, name=name)
        report = replace(
            joined.report, round=number + 1, met=len(x), met_agreement=changes.agreement, met_kl=changes.mean_kl
        )
        stitches.append(replace(joined, report=report))
    return stitches


def _apart(x: Tensor, others: Tensor) -> Tensor:
    """Return which latents `(n,)` are of another view than each of the others."""
    distances = torch.cdist(x, others, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1)
    apart: Tensor = distances > _NEAR * torch.linalg.vector_norm(x, dim=1)
    return apart
