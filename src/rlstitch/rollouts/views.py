"""Collections of the distinct symbolic views of a world, which mean the same under every look."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from rlstitch.agents.agent import Agent
from rlstitch.envs import World, family_of, make_vec, symbolic_views
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.jobs.progress import OnProgress, silent
from rlstitch.rollouts.coverage import Coverage
from rlstitch.rollouts.drivers import DOMAIN, Driver, Drivers, HeldActions, collection_seeds, draw_actions
from rlstitch.rollouts.episodes import check_seed
from rlstitch.rollouts.evaluation import check_counts

Views = npt.NDArray[np.uint8]
"""Symbolic views `(n, h, w, 5)`: free of looks."""


@dataclass(frozen=True)
class ViewCollection:
    """Distinct views of a world in the order in which they were first met."""

    world: World
    views: Views
    """`(n, h, w, 5)`, no two equal."""
    counts: npt.NDArray[np.int64]
    """`(n,)` how often each was met."""
    total: int
    """Views met, repeats included: environment steps, and one at each environment's start."""
    complete: bool
    """Whether as many distinct views were met as were asked for (False: the steps ran out)."""
    episodes: int = 0
    """Episodes that were begun."""

    def __len__(self) -> int:
        return len(self.views)

    def __str__(self) -> str:
        return f"{len(self)} distinct views among {self.total} of {self.world.environment} ({self.world.view} view)"

    @property
    def coverage(self) -> Coverage:
        """How much of the world's views was met."""
        return Coverage(len(self), self.total, int((self.counts == 1).sum()), self.episodes)

    def render(self, variation: str = "standard", tile_size: int = 8) -> npt.NDArray[np.uint8]:
        """Draw all views under a look: uint8 `(n, H, W, 3)`."""
        world = replace(self.world, look=variation, tile_size=tile_size)
        return family_of(world).render_views(self.views, world)


def collect_views(
    world: World,
    *,
    count: int | None = None,
    max_steps: int = 20_000,
    seed: int = 0,
    agents: Sequence[Agent] = (),
    num_envs: int = 16,
    on_progress: OnProgress = silent,
    known: Views | None = None,
) -> ViewCollection:
    """Play in a world with symbolic views (MiniGrid) and keep every distinct view on which an agent would have acted.

    The environments are shared out in turn to random actions, held random actions, and each of the agents, which
    observes the same state in its own look and samples its actions (see `rlstitch.rollouts.drivers.Driver` where its
    task is another one). The result is a function of the arguments.

    Args:
        world: where to play; its look has no effect.
        count: stop at so many distinct views; None: use all steps.
        max_steps: environment steps, over all environments.
        seed: of environments and actions.
        agents: that play too.
        num_envs: environments at once; at least two more than there are agents, so that each way of playing has one.
        on_progress: called with the environment steps done and those in all; at `count` views the rest is left out.
        known: `(k, h, w, 5)` distinct views that are left out of the result and of `count`.

    Raises:
        InvalidInputError: for numbers below 1, or a world without symbolic views.
        IncompatibleError: where an agent has another view than the world, or no action in common with it.
    """
    check_seed(seed)
    check_counts(count=1 if count is None else count, max_steps=max_steps, num_envs=num_envs)
    kinds = 2 + len(agents)
    if num_envs < kinds:
        raise InvalidInputError(f"num_envs: expected at least {kinds}, one a way of playing, found {num_envs}")
    _check_views(world, agents)
    counts: dict[bytes, int] = {} if known is None else {view.tobytes(): 0 for view in known}
    left_out = len(counts)
    limit = None if count is None else count + left_out
    rng = np.random.default_rng((DOMAIN, seed))
    with closing(make_vec(world, num_envs, seed=seed)) as env:
        space = env.single_action_space
        random = (lambda: draw_actions(rng, space, num_envs), HeldActions(rng, space, num_envs).next)
        drivers = Drivers(random, [Driver(agent, world, space) for agent in agents], np.arange(num_envs) % kinds, rng)

        def observe(number: int, rows: npt.NDArray[np.intp]) -> tuple[_LazyImages, Views]:
            return _LazyImages(agents[number], views[rows]), views[rows]

        env.reset(seed=cast("Any", collection_seeds(seed, num_envs)))
        views = symbolic_views(env)
        _count(views, counts, limit)
        episodes, rounds = num_envs, -(-max_steps // num_envs)
        for number in range(rounds):
            on_progress(number * num_envs, rounds * num_envs)
            if len(counts) == limit:
                break
            _, _, terminated, truncated, _ = env.step(drivers.actions(observe))
            episodes += int((terminated | truncated).sum())
            views = symbolic_views(env)
            _count(views, counts, limit)
    distinct = np.frombuffer(b"".join(counts), dtype=np.uint8).reshape(-1, *views.shape[1:])[left_out:]
    numbers = np.array(list(counts.values()), dtype=np.int64)
    complete = limit in (None, len(counts))
    return ViewCollection(world, distinct.copy(), numbers[left_out:], int(numbers.sum()), complete, episodes)


def _check_views(world: World, agents: Sequence[Agent]) -> None:
    """Raise where a world has no symbolic views, or an agent takes another view than it gives."""
    if not family_of(world).has_views(world):
        raise InvalidInputError(f"world: expected an environment with symbolic views, found {world.environment}")
    for agent in agents:
        if agent.card.world.view != world.view:
            raise IncompatibleError(
                f"agent {agent.card.name!r} takes the {agent.card.world.view} view, the world gives {world.view}"
            )


def _count(views: Views, counts: dict[bytes, int], limit: int | None) -> None:
    """Count views in the order of their first appearance, until there are `limit` distinct ones."""
    for view in views:
        if len(counts) == limit:
            return
        key = view.tobytes()
        counts[key] = counts.get(key, 0) + 1


class _LazyImages:
    """Views `(n, h, w, 5)` in an agent's look, drawn when they are indexed: a policy asks for those it has not met."""

    dtype = np.dtype(np.uint8)

    def __init__(self, agent: Agent, views: Views) -> None:
        self._agent, self._views = agent, views

    def __len__(self) -> int:
        return len(self._views)

    def __getitem__(self, rows: list[int]) -> npt.NDArray[np.uint8]:
        return own_images(self._agent, self._views[rows])


def own_images(agent: Agent, views: Views) -> npt.NDArray[np.uint8]:
    """Draw views `(n, h, w, 5)` in an agent's own look: uint8 `(n, H, W, 3)`."""
    own = agent.card.world
    return family_of(own).render_views(views, own)
