"""The states that a controller's own agent meets, as both agents see them: where a stitched agent will have to act.

The controller's agent plays in its own world; the stitched cell is not entered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rlstitch.agents.agent import Agent
from rlstitch.envs import World, cell_world, family_of, make_vec, symbolic_views
from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.actors import Policy
from rlstitch.rollouts.evaluation import check_counts
from rlstitch.rollouts.recording import Images, collect_recording, paired_images
from rlstitch.rollouts.views import own_images

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
    """`(n,)` visits while the agent played alone."""
    strays: npt.NDArray[np.int64]
    """`(n,)` visits while some of the actions, or all, were random: what lies one mistake beside its path."""

    def __post_init__(self) -> None:
        counts = {len(self.x), len(self.y), len(self.visits), len(self.strays)}
        if len(counts) != 1:
            raise InvalidInputError(f"own states: expected equally many rows, found {sorted(counts)}")
        if not self.visits.sum():
            raise InvalidInputError("own states: expected a visit or more of the agent alone, found none")


def own_states(encoder: Agent, policy: Agent, *, steps: int = 6_400, seed: int = 0) -> OwnStates:
    """Let the controller's agent play in its own world and keep each distinct state as both agents see it.

    In half of the episodes it samples its policy alone. In the others some of its actions are random. A MiniGrid is
    seen by its symbolic views, any other environment plays its recorded episodes again under both looks.

    Args:
        encoder, policy: the agents whose encoder and controller are to be joined.
        steps: environment steps, at most.
        seed: of environments and actions.

    Raises:
        IncompatibleError: where the two have no common world.
        InvalidInputError: for fewer than one step, or an environment that is no MiniGrid and not deterministic.
    """
    check_counts(steps=steps)
    own = policy.card.world
    cell = cell_world(encoder.card.world, own)
    if family_of(own).symbolic:
        return _of_tiles(encoder, policy, own, steps, seed)
    return _of_recording(policy, own, cell, steps, seed)


def _of_tiles(encoder: Agent, policy: Agent, own: World, steps: int, seed: int) -> OwnStates:
    met = _Met()
    for views, strayed in _walk(policy, own, steps, seed):
        met.add(list(views), strayed)
    views = np.stack(met.found)
    return OwnStates(own_images(encoder, views), own_images(policy, views), *met.counts())


def _walk(
    policy: Agent, own: World, steps: int, seed: int
) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]]:
    """Yield the symbolic views `(slots, h, w, 5)` of each step, and which slots stray `(slots,)`."""
    slots = min(_SLOTS, steps)
    env = make_vec(own, slots, seed=seed)
    try:
        space = env.single_action_space
        actor = Policy(policy, space)
        rng = np.random.default_rng((_DOMAIN, seed))
        # Even slots play alone; in the odd ones random actions are more and more frequent.
        chance = np.where(np.arange(slots) % 2 == 0, 0.0, np.linspace(0.0, 1.0, slots))
        seeds: Any = [int(word) >> 1 for word in np.random.SeedSequence((_DOMAIN, seed)).generate_state(slots)]
        observations, _ = env.reset(seed=seeds)
        for _ in range(-(-steps // slots)):
            views = symbolic_views(env)
            yield views, chance > 0
            noise = rng.gumbel(size=(slots, policy.controller.actions.width))
            actions = actor.act(observations, noise=noise, views=views)
            random = rng.integers(policy.controller.actions.width, size=slots)
            observations, *_ = env.step(np.where(rng.random(slots) < chance, random, actions))
    finally:
        env.close()


def _of_recording(policy: Agent, own: World, cell: World, steps: int, seed: int) -> OwnStates:
    # Images of some environments are large: a few episodes, cut short.
    longest = max(1, min(200, steps // (4 * _ROUNDS)))
    recording = collect_recording(own, episodes=4 * _ROUNDS, seed=seed, max_steps=longest, agents=[policy])
    met = _Met()
    for number, episode in enumerate(recording.episodes):
        x, y = paired_images(replace(recording, episodes=(episode,)), cell, own)
        strayed = np.full(len(x), number % _ROUNDS != _ROUNDS - 1)
        met.add(list(zip(x, y, strict=True)), strayed)
    seen = met.found
    return OwnStates(np.stack([x for x, _ in seen]), np.stack([y for _, y in seen]), *met.counts())


class _Met:
    """Distinct states in the order of their first meeting, counted apart by who was playing."""

    def __init__(self) -> None:
        self._place: dict[bytes, int] = {}
        self._counts: list[list[int]] = []
        self.found: list[Any] = []

    def add(self, states: list[Any], strayed: npt.NDArray[np.bool_]) -> None:
        """Take in arrays, or pairs of them."""
        for state, astray in zip(states, strayed.tolist(), strict=True):
            parts = state if isinstance(state, tuple) else (state,)
            key = b"".join(part.tobytes() for part in parts)
            place = self._place.setdefault(key, len(self.found))
            if place == len(self.found):
                self.found.append(tuple(part.copy() for part in parts) if len(parts) > 1 else state.copy())
                self._counts.append([0, 0])
            self._counts[place][astray] += 1

    def counts(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return visits alone and astray, `(n,)` each."""
        both = np.array(self._counts, dtype=np.int64)
        return both[:, 0], both[:, 1]
