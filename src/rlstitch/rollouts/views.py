"""Walking through a world and keeping every distinct view: symbolic, so that it means the same under every look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import gymnasium
import numpy as np
import numpy.typing as npt

from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.rollouts.actors import noise_width
from rlstitch.rollouts.drivers import DOMAIN, Driver, HeldActions, collection_seeds
from rlstitch.rollouts.episodes import check_seed
from rlstitch.rollouts.evaluation import check_counts

if TYPE_CHECKING:
    from rlstitch.agents.agent import Agent
    from rlstitch.envs import World

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
    """Whether as many distinct views were found as were asked for (False: the steps ran out)."""

    def __len__(self) -> int:
        return len(self.views)

    def __str__(self) -> str:
        return f"{len(self)} distinct views among {self.total} of {self.world.environment} ({self.world.view} view)"

    def render(self, variation: str = "standard", tile_size: int = 8) -> npt.NDArray[np.uint8]:
        """Draw all views under a look: uint8 `(n, H, W, 3)`."""
        from rlstitch.envs import family_of

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
) -> ViewCollection:
    """Walk through a MiniGrid world and keep every distinct view on which an agent would have acted.

    The environments are dealt out in turn to random play, play with held random actions, and each of the agents, which
    sees the same state in its own look and samples its actions (see `rlstitch.rollouts.drivers` where its task is
    another one). The result is a function of the arguments.

    Args:
        world: where to walk; its variation has no effect.
        count: stop at so many distinct views; None: use all steps. Small worlds have some 50 to 160 views in all.
        max_steps: environment steps, over all environments.
        seed: of environments and actions.
        agents: who else walks.
        num_envs: environments at once; at least two more than there are agents, so that each way of playing has one.

    Raises:
        InvalidInputError: for numbers below 1, or a world without symbolic views.
        IncompatibleError: where an agent has another view than the world, or no action in common with it.
    """
    from rlstitch.envs import family_of, make_vec, symbolic_views

    check_seed(seed)
    check_counts(count=1 if count is None else count, max_steps=max_steps, num_envs=num_envs)
    if num_envs < 2 + len(agents):
        raise InvalidInputError(
            f"num_envs: expected at least {2 + len(agents)}, one a way of playing, found {num_envs}"
        )
    if not family_of(world).symbolic:
        raise InvalidInputError(f"world: expected an environment with symbolic views, found {world.environment}")
    env = make_vec(world, num_envs, seed=seed)
    try:
        walkers = _Walkers(world, env.single_action_space, agents, num_envs, seed)
        met = _Met(count)
        env.reset(seed=cast("Any", collection_seeds(seed, num_envs)))
        views = symbolic_views(env)
        met.add(views)
        taken = 0
        while not met.enough and taken < max_steps:
            env.step(walkers.actions(views))
            views = symbolic_views(env)
            met.add(views)
            taken += num_envs
    finally:
        env.close()
    return met.collection(world)


class _Walkers:
    """Who acts in which environment of a collection."""

    def __init__(
        self, world: World, space: gymnasium.Space[Any], agents: Sequence[Agent], slots: int, seed: int
    ) -> None:
        for agent in agents:
            if agent.card.world.view != world.view:
                raise IncompatibleError(
                    f"agent {agent.card.name!r} takes the {agent.card.world.view} view, the world gives {world.view}"
                )
        self._rng = np.random.default_rng((DOMAIN, seed))
        self._width = noise_width(space)
        self._held = HeldActions(self._rng, space, slots)
        self._agents = [(agent, Driver(agent, world, space)) for agent in agents]
        self._role = np.arange(slots) % (2 + len(agents))

    def actions(self, views: Views) -> npt.NDArray[np.int64]:
        """Return the actions `(slots,)` in the states that these views show."""
        random = self._rng.integers(self._width, size=len(views))
        actions = np.where(self._role == 0, random, self._held.next())
        for i, (agent, driver) in enumerate(self._agents):
            mine = np.flatnonzero(self._role == 2 + i)
            seen = views[mine]
            actions[mine] = driver.sample(cast("Any", _Unseen(agent, seen)), self._rng, seen)
        return actions


class _Unseen:
    """Views `(n, h, w, 5)` as an agent sees them, drawn when asked for: a policy asks for none that it knows."""

    dtype = np.dtype(np.uint8)

    def __init__(self, agent: Agent, views: Views) -> None:
        self._agent, self._views = agent, views

    def __len__(self) -> int:
        return len(self._views)

    def __getitem__(self, rows: list[int]) -> npt.NDArray[np.uint8]:
        return own_images(self._agent, self._views[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return own_images(self._agent, self._views).astype(dtype or np.uint8, copy=False)


class _Met:
    """Distinct views in the order of their first meeting."""

    def __init__(self, count: int | None) -> None:
        self._count = count
        self._index: dict[bytes, int] = {}
        self._views: list[Views] = []
        self._counts: list[int] = []
        self._total = 0

    @property
    def enough(self) -> bool:
        """Whether no more views are needed."""
        return self._count is not None and len(self._views) >= self._count

    def add(self, views: Views) -> None:
        """Take in a batch of views."""
        for view in views:
            if self.enough:
                return
            place = self._index.setdefault(view.tobytes(), len(self._views))
            if place == len(self._views):
                self._views.append(view.copy())
                self._counts.append(0)
            self._counts[place] += 1
            self._total += 1

    def collection(self, world: World) -> ViewCollection:
        """Return what was met."""
        complete = self._count is None or self.enough
        counts = np.array(self._counts, dtype=np.int64)
        return ViewCollection(world, np.stack(self._views), counts, self._total, complete)


def own_images(agent: Agent, views: Views) -> npt.NDArray[np.uint8]:
    """Draw views `(n, h, w, 5)` in an agent's own look: uint8 `(n, H, W, 3)`."""
    from rlstitch.envs import family_of

    own = agent.card.world
    return family_of(own).render_views(views, own)
