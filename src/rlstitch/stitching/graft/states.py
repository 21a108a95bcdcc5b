"""States of episodes as a new encoder observes them, and what the controller's own agent makes of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from rlstitch.agents import Agent
from rlstitch.envs import Observations, World
from rlstitch.envs.replay import Action, Episode, Player, Recording, first_action, replay_episodes
from rlstitch.errors import InvalidInputError
from rlstitch.jobs.progress import OnProgress, silent
from rlstitch.rollouts.drivers import DOMAIN, HeldActions, collection_seeds

LONGEST = 200
"""Steps after which an episode with random actions is left."""
STRAY_FIRST, STRAY_LATER = (0.1, 0.3, 0.0, 1.0), (0.0, 0.1, 0.0, 0.3)
"""Shares of random actions, episode by episode: in the first round, in which the controller's own agent plays, and in
later ones, in which the new encoder drives the controller."""
_HELD_OUT = 10
"""One episode in so many is held out."""


@dataclass(frozen=True)
class Played:
    """A recorded episode, and its observations by the sensor that it was played with."""

    episode: Episode
    observations: Observations
    """`(T + 1, ...)`"""
    stray: float
    """Share of random actions."""


def play_states(
    actor: Agent, count: int, *, strays: Sequence[float], seed: int, first: int, on_progress: OnProgress = silent
) -> Iterator[Played]:
    """Play two or more episodes in an actor's own world, until they have `count` steps; each depends on its number.

    Episodes without random actions are played to their end, so that their returns are those of the actor.

    Args:
        actor: samples its actions.
        count: steps in all.
        strays: shares of random actions, each held for some steps, by turns.
        seed: of environments and actions.
        first: number of the first episode.
        on_progress: called with the steps done and `count`.
    """
    player, done, number = Player(actor.card.world), 0, first
    with closing(player.environment):
        while done < count or number - first < 2:  # one is held out
            stray = strays[(number - first) % len(strays)]
            rng = np.random.default_rng((DOMAIN, seed, number))
            episode, observations = _play(player, actor, collection_seeds(seed, number + 1)[-1], rng, stray)
            yield Played(episode, observations, stray)
            done, number = done + len(episode.actions), number + 1
            on_progress(min(done, count), count)


def _play(
    player: Player, actor: Agent, seed: int, rng: np.random.Generator, stray: float
) -> tuple[Episode, Observations]:
    held = HeldActions(rng, player.environment.single_action_space, 1)
    draw, width = rng.gumbel if actor.noise_kind == "gumbel" else rng.normal, actor.controller.actions.width

    def choose(observations: Observations, step: int) -> Action | None:
        if stray and step >= LONGEST:
            return None
        noise, random = np.asarray(draw(size=(1, width))), held.next()
        return first_action(random if rng.random() < stray else actor.act(observations, noise=noise))

    return player.play(seed, choose)


@dataclass(frozen=True)
class States:
    """States by two sensors, or under two looks. What is not stacked is kept once: a stack repeats every image."""

    shown: Tensor
    """Single images uint8 `(m, C, H, W)` or vectors `(m, D)`, as the new encoder observes them."""
    stacks: Tensor
    """`(n, k)` which of them an observation holds, the oldest first; -1: zeros."""
    own: Tensor
    """`(n, D)` the newest vectors, as the controller's own agent observes them; `(n, 0)` where these are images."""
    latents: Tensor
    """`(n, d)` of the controller's own agent."""
    actions: Tensor
    """`(n, A)` its action parameters."""
    held: Tensor
    """`(n,)` what is held out, by whole episodes."""

    def __len__(self) -> int:
        return len(self.stacks)

    def inputs(self, rows: Tensor) -> Tensor:
        """Return what the new encoder takes: float images `(len(rows), C * k, H, W)` in [0, 1], or vectors."""
        stacks = self.stacks[rows]
        stacked = self.shown[stacks]
        stacked[stacks < 0] = 0
        inputs = stacked.flatten(1, 2)
        if inputs.dtype != torch.uint8:
            return inputs
        # Convolutions are faster where the channels of a pixel lie side by side.
        return inputs.to(torch.float32, memory_format=torch.channels_last).div_(255.0)

    @torch.no_grad()
    def seen_by(self, read: Callable[[Tensor], Tensor]) -> States:
        """Return these states with vectors `(m, D)` that are read of single images `(m, C, H, W)` in [0, 1]."""
        zeros = torch.zeros_like(self.shown[:1])  # the image that no image of an episode is
        shown = torch.cat([read(part.float() / 255.0) for part in (*self.shown.split(256), zeros)])
        return replace(self, shown=shown, stacks=self.stacks.where(self.stacks >= 0, len(self.shown)))

    @classmethod
    def joined(cls, parts: Sequence[States]) -> States:
        """Return the states of one or more parts, in this order."""
        values = {item.name: [getattr(part, item.name) for part in parts] for item in fields(cls)}
        starts = [0, *itertools.accumulate(len(part.shown) for part in parts)]
        values["stacks"] = [
            torch.where(stacks < 0, -1, stacks + start) for stacks, start in zip(values["stacks"], starts, strict=False)
        ]
        return cls(**{name: torch.cat(tensors) for name, tensors in values.items()})


def pair_states(
    policy: Agent,
    world: World,
    episodes: Sequence[Episode],
    seen: Sequence[Observations],
    *,
    by: World,
    first: int,
    on_progress: OnProgress = silent,
) -> States:
    """Return the states of recorded episodes, which are played again in the world that they were not played in.

    Args:
        policy: the controller's own agent.
        world: of the new encoder.
        episodes: as they were played in `by`.
        seen: their observations there; empty where these are to be played again, too.
        by: `world` or the policy's own.
        first: number of the first episode, which decides what is held out.
        on_progress: called with the episodes done and those in all.

    Raises:
        InvalidInputError: where the environment is not deterministic, or there is no episode.
    """
    if not episodes:
        raise InvalidInputError("episodes: expected one or more, found none")
    recording, own_world = Recording(by, tuple(episodes)), policy.card.world
    sides = (seen if seen and place == by else replay_episodes(recording, place) for place in (world, own_world))
    parts = []
    for number, (shown, own) in enumerate(zip(*sides, strict=True)):
        parts.append(_states_of(policy, world, shown, own, held=(first + number) % _HELD_OUT == 1))
        on_progress(number + 1, len(episodes))
    return States.joined(parts)


def _states_of(policy: Agent, world: World, shown: Observations, own: Observations, *, held: bool) -> States:
    """Return the states of one episode; its last, in which nothing is done, is left out."""
    steps, stack = len(shown) - 1, world.frame_stack
    stacks = torch.arange(steps)[:, None] + torch.arange(1 - stack, 1)
    with torch.no_grad():
        latents = policy.encode(own[:-1])
        actions = policy.controller.action_parameters(latents)
    newest, numbers = (_newest(*side) for side in ((shown[:-1], stack), (own[:-1], policy.card.world.frame_stack)))
    return States(
        newest.movedim(-1, 1).contiguous() if newest.ndim == 4 else newest,
        torch.where(stacks < 0, -1 if world.padding == "zeros" else 0, stacks),
        numbers if numbers.ndim == 2 else torch.zeros(steps, 0),
        latents,
        actions,
        torch.full((steps,), held),
    )


def _newest(observations: Observations, stack: int) -> Tensor:
    """Return the newest image or vector of each stack."""
    width = observations.shape[-1]
    return torch.from_numpy(observations[..., width - width // stack :].copy())


def mean_return(played: Sequence[Played]) -> tuple[float, int]:
    """Return the mean return of the episodes without random actions, and their number: the first is one."""
    returns = [sum(one.episode.rewards) for one in played if not one.stray]
    return sum(returns) / len(returns), len(returns)
