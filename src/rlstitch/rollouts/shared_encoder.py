"""Many agents of one encoder, evaluated at once: one batch of environments, each distinct view encoded once for all.

What `evaluate` does for one agent after the other: episode i of every agent has the seed and the noise that it has
there, so that the results are the same (but for two actions whose scores agree to seven digits, which may swap).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rlstitch.agents.agent import Agent
from rlstitch.agents.controller import Controller
from rlstitch.agents.specs import BoxActions
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.latent import Translation
from rlstitch.rollouts.actors import NoiseStreams, noise_width
from rlstitch.rollouts.episodes import MAX_EPISODE_STEPS, Played, Slots, check_seed
from rlstitch.rollouts.evaluation import Evaluation, assemble, check_counts

if TYPE_CHECKING:
    from rlstitch.envs import World

_MEMORY = 2_000_000
"""Views times heads that are remembered: some 60 MB of scores."""


@dataclass(frozen=True)
class Head:
    """What follows a shared encoder."""

    translation: Translation | None
    """Between the encoder and the controller; None: nothing."""
    controller: Controller
    name: str = ""
    """For error messages."""

    @torch.no_grad()
    def scores(self, latents: Tensor) -> npt.NDArray[np.float32]:
        """Return logits `(n, A)` of the encoder's latents `(n, d)`.

        Raises:
            InvalidInputError: where they are not finite.
        """
        mapped = latents if self.translation is None else self.translation(latents)
        scores: npt.NDArray[np.float32] = self.controller.action_parameters(mapped).cpu().numpy()
        if not np.isfinite(scores).all():
            raise InvalidInputError(f"agent {self.name!r}: its action parameters are not finite (NaN in the weights?)")
        return scores


def can_share(world: World) -> bool:
    """Return whether a world has symbolic views, so that each distinct state is encoded once."""
    from rlstitch.envs import family_of

    return family_of(world).symbolic


def evaluate_together(
    encoder: Agent,
    heads: Sequence[Head],
    world: World,
    *,
    episodes: int = 100,
    seed: int = 0,
    deterministic: bool = False,
    num_envs: int = 64,
    max_episode_steps: int = MAX_EPISODE_STEPS,
) -> Iterator[tuple[int, Evaluation]]:
    """Evaluate the heads behind one encoder; yield each head's number and evaluation when its last episode is over.

    Args:
        encoder: the agent whose encoder is used.
        heads: what follows it.
        world: where to play (see `can_share`).
        episodes, seed, deterministic: of each head, as in `evaluate`.
        num_envs: environments at once, over all heads.
        max_episode_steps: an episode that is longer is an error.

    Raises:
        InvalidInputError: for numbers below 1, an endless episode, a world without symbolic views, or weights that are
            not finite.
        IncompatibleError: where images or actions are not the world's.
    """
    from rlstitch.envs import make_vec, symbolic_views

    check_seed(seed)
    check_counts(episodes=episodes, num_envs=num_envs, max_episode_steps=max_episode_steps, heads=len(heads))
    if not can_share(world):
        raise InvalidInputError(f"world: expected an environment with symbolic views, found {world.environment}")
    total, begun = episodes * len(heads), time.perf_counter()
    rounds = -(-total // num_envs)
    env = make_vec(world, -(-total // rounds), seed=seed, autoreset="disabled")
    try:
        space = env.single_action_space
        scores_of, width = _Scores(encoder, heads, noise_width(space)), noise_width(space)
        noise = NoiseStreams(seed, env.num_envs, width, "gumbel")
        slots = Slots(env, [*range(episodes)] * len(heads), seed, noise)
        actions, told = np.zeros(env.num_envs, dtype=np.int64), np.zeros(len(heads), dtype=np.bool_)
        while (live := slots.live()).size:
            views = symbolic_views(env)[live]
            scores = scores_of(slots.observations[live], views, slots.running[live] // episodes)
            actions[live] = (scores if deterministic else scores + noise.take(live)).argmax(axis=1)
            slots.step(actions)
            if slots.longest() > max_episode_steps:
                raise InvalidInputError(f"max_episode_steps: an episode has not ended after {max_episode_steps} steps")
            played = slots.played()
            over = (played.lengths.reshape(len(heads), episodes) > 0).all(axis=1) & ~told
            for number in np.flatnonzero(over).tolist():
                told[number] = True
                now = time.perf_counter()
                yield number, assemble(world, seed, deterministic, _part(played, number, episodes), now - begun)
                begun = now
    finally:
        env.close()


def _part(played: Played, number: int, episodes: int) -> Played:
    rows = slice(number * episodes, (number + 1) * episodes)
    successes = None if played.successes is None else played.successes[rows].copy()
    return Played(played.returns[rows].copy(), played.lengths[rows].copy(), successes)


class _Scores:
    """Action scores of every head in every view that was met."""

    def __init__(self, encoder: Agent, heads: Sequence[Head], width: int) -> None:
        for head in heads:
            if isinstance(head.controller.actions, BoxActions) or head.controller.actions.width != width:
                raise IncompatibleError(
                    f"agent {head.name!r} gives {head.controller.actions.width} actions, the environment takes {width}"
                )
        self._encoder, self._heads = encoder, heads
        self._rows: dict[bytes, int] = {}
        self._table = np.empty((256, len(heads), width), dtype=np.float32)

    def __call__(
        self, observations: npt.NDArray[np.uint8], views: npt.NDArray[np.uint8], heads: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Return the scores `(n, A)` of one head `(n,)` a view."""
        flat = np.ascontiguousarray(views).reshape(len(views), -1)
        keys: list[Any] = flat.view(np.dtype((np.void, flat.shape[1]))).ravel().tolist()
        new = {key: i for i, key in enumerate(keys) if key not in self._rows}
        if (len(self._rows) + len(new)) * len(self._heads) > _MEMORY:
            self._rows.clear()
            new = {key: i for i, key in enumerate(keys)}
        if new:
            self._add(list(new), observations[list(new.values())])
        return self._table[[self._rows[key] for key in keys], heads]

    def _add(self, keys: Sequence[bytes], observations: npt.NDArray[np.uint8]) -> None:
        first = len(self._rows)
        while first + len(keys) > len(self._table):
            self._table = np.concatenate([self._table, np.empty_like(self._table)])
        latents = self._encoder.encode(observations)
        for number, head in enumerate(self._heads):
            self._table[first : first + len(keys), number] = head.scores(latents)
        self._rows.update({key: first + i for i, key in enumerate(keys)})
