"""The states that a controller's own agent meets, as both agents see them.

The controller's agent plays in its own world; the stitched agent does not play.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rlstitch.agents.agent import Agent
from rlstitch.envs import World, cell_world, family_of, make_vec, symbolic_views
from rlstitch.errors import InvalidInputError
from rlstitch.jobs.progress import OnProgress, silent
from rlstitch.rollouts.actors import Policy
from rlstitch.rollouts.evaluation import check_counts
from rlstitch.rollouts.recording import Images, collect_recording, paired_images
from rlstitch.rollouts.views import own_images

Batch = tuple[tuple[Images, ...], npt.NDArray[np.bool_]]
"""Arrays `(n, ...)` of states, as one or two agents see them, and which of the states are strays `(n,)`."""
_DOMAIN = 0x6F776E73
_ROUNDS = 3  # of a recording: held actions, random actions, the agent's own, in turn
_SLOTS = 64


@dataclass(frozen=True)
class OwnStates:
    """Distinct states `(n, ...)` that a controller's agent meets in its own world, and how often."""

    x: Images
    """As the encoder's agent sees them."""
    y: Images
    """As the controller's agent sees them."""
    visits: npt.NDArray[np.int64]
    """`(n,)` visits while every action was the agent's."""
    strays: npt.NDArray[np.int64]
    """`(n,)` visits while some of the actions, or all, were random: states one mistake away from its path."""

    def __post_init__(self) -> None:
        counts = {len(self.x), len(self.y), len(self.visits), len(self.strays)}
        if len(counts) != 1:
            raise InvalidInputError(f"own states: expected equally many rows, found {sorted(counts)}")
        if not self.visits.sum():
            raise InvalidInputError("own states: expected a visit or more of the agent alone, found none")


def own_states(
    encoder: Agent, policy: Agent, *, steps: int = 6_400, seed: int = 0, on_progress: OnProgress = silent
) -> OwnStates:
    """Let the controller's agent play in its own world and keep each distinct state as both agents see it.

    In half of the episodes it samples its policy alone; in the others some of its actions are random. In a world with
    symbolic views the states are these; else recorded episodes are played again under both looks.

    Args:
        encoder: the agent whose encoder is used.
        policy: the agent whose controller is used.
        steps: environment steps, at most.
        seed: random seed of environments and actions.
        on_progress: called with the states met so far, and those in all, at most.

    Raises:
        IncompatibleError: where the two have no common world.
        InvalidInputError: for fewer than one step, or an environment without symbolic views that is not deterministic.
    """
    check_counts(steps=steps)
    own = policy.card.world
    cell = cell_world(encoder.card.world, own)
    if not all(family_of(world).has_views(world) for world in (own, cell)):
        (x, y), visits, strays = _distinct(_replayed(policy, own, cell, steps, seed), steps, on_progress)
        return OwnStates(x, y, visits, strays)
    (views,), visits, strays = _distinct(_symbolic(policy, own, steps, seed), steps, on_progress)
    return OwnStates(own_images(encoder, views), own_images(policy, views), visits, strays)


def _symbolic(policy: Agent, own: World, steps: int, seed: int) -> Iterator[Batch]:
    """Yield the symbolic views `(slots, h, w, 5)` of each step."""
    slots = min(_SLOTS, steps)
    env = make_vec(own, slots, seed=seed)
    try:
        space = env.single_action_space
        actor = Policy(policy, space)
        rng = np.random.default_rng((_DOMAIN, seed))
        # Even slots follow the policy; in the odd ones random actions are more and more frequent.
        chance = np.where(np.arange(slots) % 2 == 0, 0.0, np.linspace(0.0, 1.0, slots))
        seeds: Any = [int(word) >> 1 for word in np.random.SeedSequence((_DOMAIN, seed)).generate_state(slots)]
        observations, _ = env.reset(seed=seeds)
        for _ in range(-(-steps // slots)):
            views = symbolic_views(env)
            yield (views,), chance > 0
            noise = rng.gumbel(size=(slots, policy.controller.actions.width))
            actions = actor.act(observations, noise=noise, views=views)
            random = rng.integers(policy.controller.actions.width, size=slots)
            observations, *_ = env.step(np.where(rng.random(slots) < chance, random, actions))
    finally:
        env.close()


def _replayed(policy: Agent, own: World, cell: World, steps: int, seed: int) -> Iterator[Batch]:
    """Yield the images of each recorded episode in both worlds."""
    # Images of some environments are large: a few episodes, cut short.
    longest = max(1, min(200, steps // (4 * _ROUNDS)))
    recording = collect_recording(own, episodes=4 * _ROUNDS, seed=seed, max_steps=longest, agents=[policy])
    for number, episode in enumerate(recording.episodes):
        x, y = paired_images(replace(recording, episodes=(episode,)), cell, own)
        yield (x, y), np.full(len(x), number % _ROUNDS != _ROUNDS - 1)


def _distinct(
    batches: Iterable[Batch], steps: int, on_progress: OnProgress
) -> tuple[list[Images], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the distinct states in the order of their first visit, the visits by policy, and those with strays."""
    states: dict[bytes, tuple[Images, ...]] = {}
    counts: dict[bytes, list[int]] = {}
    met = 0
    for parts, strayed in batches:
        met += len(strayed)
        on_progress(min(met, steps), steps)
        for *state, stray in zip(*parts, strayed.tolist(), strict=True):
            key = b"".join(part.tobytes() for part in state)
            if key not in states:
                states[key], counts[key] = tuple(part.copy() for part in state), [0, 0]
            counts[key][stray] += 1
    alone, astray = np.array(list(counts.values()), dtype=np.int64).T
    return [np.stack(column) for column in zip(*states.values(), strict=True)], alone, astray
