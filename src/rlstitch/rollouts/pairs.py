"""From collected views to anchor sets and to pairs: what a relative projection or a translation is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.collection import ViewCollection, Views, own_images
from rlstitch.rollouts.evaluation import check_counts

if TYPE_CHECKING:
    from torch import Tensor

    from rlstitch.agents.agent import Agent
    from rlstitch.agents.anchor_set import AnchorSet

Rows = npt.NDArray[np.int64]
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
    note = None
    fit, held = split_rows(len(collection), n_fit, n_held, seed=seed)
    if n_fit + n_held > len(collection):
        note = f"{n_fit} + {n_held} views were asked for; there are only {collection}: {len(fit)} + {len(held)} used"
    return ViewSplit(collection.views[fit], collection.views[held], note)


def split_rows(distinct: int, n_fit: int, n_held: int, *, seed: int = 0) -> tuple[Rows, Rows]:
    """Draw row numbers to fit on and, disjoint from them, row numbers to check on; too few are shared out.

    Raises:
        InvalidInputError: for numbers below 1, or fewer than two rows.
    """
    check_counts(n_fit=n_fit, n_held=n_held)
    if distinct < 2:
        raise InvalidInputError(f"collection: expected at least 2 distinct views to split, found {distinct}")
    if n_fit + n_held > distinct:
        n_fit = min(max(1, round(distinct * n_fit / (n_fit + n_held))), distinct - 1)
        n_held = distinct - n_fit
    order = np.random.default_rng(seed).permutation(distinct)
    return order[:n_fit], order[n_fit : n_fit + n_held]


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
