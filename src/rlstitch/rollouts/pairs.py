"""From collected views to anchor sets and to pairs: what a relative projection or a translation is made from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.actors import Observations
from rlstitch.rollouts.collection import DOMAIN, HeldActions, ViewCollection, Views, collection_seeds, own_images
from rlstitch.rollouts.episodes import check_seed
from rlstitch.rollouts.evaluation import check_counts

if TYPE_CHECKING:
    from torch import Tensor

    from rlstitch.agents.agent import Agent
    from rlstitch.agents.anchor_set import AnchorSet
    from rlstitch.envs import World

_CHOOSING_TILE = 4


@dataclass(frozen=True)
class ViewSplit:
    """Views to fit on and views to check on; none is in both."""

    fit: Views
    held: Views
    note: str | None
    """What to tell the reader where there were too few distinct views for the numbers asked for; None otherwise."""


def choose_anchor_set(collection: ViewCollection, k: int, *, method: str = "farthest", seed: int = 0) -> AnchorSet:
    """Choose k of the distinct views as an anchor set by `random`, `farthest`, `kmedoids` (see `choose_anchors`).

    All but `random` compare pixels of the standard look (small tiles), so that the choice is the same whatever the
    collection's look.

    Raises:
        InvalidInputError: where k is below 1 or there are fewer distinct views.
        UnknownNameError: for an unknown method.
    """
    from rlstitch.agents.anchor_set import AnchorSet
    from rlstitch.latent import choose_anchors

    check_counts(k=k)
    if k > len(collection):
        raise InvalidInputError(f"k: expected at most {len(collection)}, as there are {collection}; found {k}")
    pixels = collection.render(tile_size=_CHOOSING_TILE).reshape(len(collection), -1)
    points = pixels.astype(np.float32) / np.float32(255.0)
    index = np.asarray(choose_anchors(method, points, k, seed))
    world = collection.world
    return AnchorSet.symbolic(world.environment, collection.views[index], view=world.view)


def split_views(collection: ViewCollection, n_fit: int, n_held: int, *, seed: int = 0) -> ViewSplit:
    """Draw views to fit on and, disjoint from them, views to check on.

    Where there are too few distinct views, they are shared out in the proportion asked for, and the note says so.

    Raises:
        InvalidInputError: for numbers below 1, or a collection of one view.
    """
    check_counts(n_fit=n_fit, n_held=n_held)
    distinct, note = len(collection), None
    if distinct < 2:
        raise InvalidInputError(f"collection: expected at least 2 distinct views to split, found {distinct}")
    if n_fit + n_held > distinct:
        fit = min(max(1, round(distinct * n_fit / (n_fit + n_held))), distinct - 1)
        note = f"{n_fit} + {n_held} views were asked for; there are only {collection}: {fit} + {distinct - fit} used"
        n_fit, n_held = fit, distinct - fit
    order = np.random.default_rng(seed).permutation(distinct)
    return ViewSplit(collection.views[order[:n_fit]], collection.views[order[n_fit : n_fit + n_held]], note)


def latent_pairs(encoder_agent: Agent, policy_agent: Agent, views: Views) -> tuple[Tensor, Tensor]:
    """Encode the same views `(n, h, w, 5)` by two agents, each in its own look.

    Returns:
        x `(n, d_x)` of the agent whose encoder is used, y `(n, d_y)` of the agent whose controller is used.

    Raises:
        InvalidInputError: where the views, drawn with an agent's tiles, are not the size of its images.
    """
    return encode_views_of(encoder_agent, views), encode_views_of(policy_agent, views)


def encode_views_of(agent: Agent, views: Views) -> Tensor:
    """Encode views `(n, h, w, 5)` by an agent in its own look: latents `(n, d)`."""
    return agent.encode(own_images(agent, views))


def collect_paired_images(
    world_x: World, world_y: World, *, count: int, seed: int = 0, num_envs: int = 8
) -> tuple[Observations, Observations]:
    """Collect images of the same states in two worlds by equal seeds and held random actions; for any environment.

    The task is that of x in both, since it decides what an action means. Equal images of x are kept once.

    Returns:
        Two arrays uint8 `(n <= count, H, W, C)`, row by row of the same state. Fewer than `count` where the worlds show
        fewer distinct images in 50 steps an image.

    Raises:
        InvalidInputError: where the worlds do not run alike: their rewards or episode ends differ.
    """
    from rlstitch.envs import make_vec

    check_seed(seed)
    check_counts(count=count, num_envs=num_envs)
    envs = [make_vec(one, num_envs, seed=seed) for one in (world_x, replace(world_y, task=world_x.task))]
    rng = np.random.default_rng((DOMAIN, seed))
    held = HeldActions(rng, envs[0].single_action_space, num_envs)
    found: dict[bytes, tuple[Observations, Observations]] = {}
    try:
        x, y = (env.reset(seed=cast("Any", collection_seeds(seed, num_envs)))[0] for env in envs)
        for _ in range(1 + 50 * count // num_envs):
            for one, other in zip(x, y, strict=True):
                found.setdefault(one.tobytes(), (one.copy(), other.copy()))
            if len(found) >= count:
                break
            actions = held.next()
            (x, *outcome_x, _), (y, *outcome_y, _) = (env.step(actions) for env in envs)
            if not all(np.array_equal(a, b) for a, b in zip(outcome_x, outcome_y, strict=True)):
                raise InvalidInputError(
                    "worlds: expected equal rewards and ends from equal seeds and actions, "
                    f"{world_x} and {world_y} differ"
                )
    finally:
        for env in envs:
            env.close()
    pairs = list(found.values())[:count]
    return np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])
