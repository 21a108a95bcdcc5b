"""Evaluation of agents in a world: exactly N episodes, the same ones for every agent and on every machine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from rlstitch.agents import Agent, Controller, DiscreteActions
from rlstitch.envs import World, family_of, make_vec
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.jobs.progress import OnProgress, silent
from rlstitch.latent import Translation
from rlstitch.rollouts.actors import Actor, RandomAgent, Scores, ScoreTable, noise_width
from rlstitch.rollouts.episodes import (
    MAX_EPISODE_STEPS,
    EpisodeRun,
    Outcomes,
    Step,
    check_seed,
    episode_seed,
    play,
)
from rlstitch.rollouts.statistics import Summary, summarize
from rlstitch.storage import limits


@dataclass(frozen=True)
class Evaluation:
    """One row an episode, in the order of the episodes."""

    world: World
    seed: int
    deterministic: bool
    """True: greedy actions. False: actions sampled from the policy."""
    seeds: npt.NDArray[np.int64]
    """`(N,)` environment seeds."""
    returns: npt.NDArray[np.float64]
    """`(N,)`"""
    lengths: npt.NDArray[np.int64]
    """`(N,)` steps."""
    successes: npt.NDArray[np.bool_] | None
    """`(N,)`; None where the environment reported none in any of the episodes."""
    seconds: float
    """Wall time, environments included."""

    @classmethod
    def from_outcomes(
        cls, world: World, seed: int, deterministic: bool, outcomes: Outcomes, seconds: float
    ) -> Evaluation:
        """Return the evaluation whose episodes 0 ... N-1 had these results."""
        seeds = np.array([episode_seed(seed, i) for i in range(len(outcomes.returns))], dtype=np.int64)
        returns, lengths, successes = outcomes.returns, outcomes.lengths, outcomes.successes
        return cls(world, seed, deterministic, seeds, returns, lengths, successes, seconds)

    @property
    def episodes(self) -> int:
        """How many episodes were played."""
        return len(self.returns)

    def summary(self) -> Summary:
        """Return mean and interquartile mean of the returns with intervals, and the success rate."""
        return summarize(self.returns, self.successes, seed=self.seed)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one dictionary an episode, ready for a table."""
        successes = [None] * self.episodes if self.successes is None else self.successes.tolist()
        columns = zip(self.seeds.tolist(), self.returns.tolist(), self.lengths.tolist(), successes, strict=True)
        names = ("seed", "return", "length", "success")
        return [{"episode": i, **dict(zip(names, row, strict=True))} for i, row in enumerate(columns)]


def evaluate(
    agent: Actor,
    world: World | None = None,
    *,
    episodes: int = 100,
    seed: int = 0,
    deterministic: bool = False,
    num_envs: int = 64,
    device: str | None = None,
    max_episode_steps: int = MAX_EPISODE_STEPS,
    on_progress: OnProgress = silent,
) -> Evaluation:
    """Play `episodes` episodes of an agent in a world (None: the agent's own) and return their results.

    Every episode that is started is played to its end and counted, so short ones are not favoured. Episode i depends on
    (seed, i) alone: not on `num_envs` or how many episodes there are. (The last bits of the network's output do change
    with the batch and the threads: two actions whose scores agree to seven digits may swap.)

    Args:
        agent: an Agent, or `RandomAgent`.
        world: where to play.
        episodes: how many.
        seed: first half of the seed (seed, i) of episode i.
        deterministic: greedy actions instead of sampled ones. A greedy agent in a partially seen world can repeat one
            action for ever: look at both.
        num_envs: environments at once.
        device: where the network runs, for the length of the evaluation; None: where its weights are.
        max_episode_steps: an episode that is longer is an error.
        on_progress: called with the episodes that have ended and those in all.

    Raises:
        InvalidInputError: for numbers below 1, no world, an endless episode, or non-finite weights or observations.
        IncompatibleError: where the agent's images or actions are not the world's.
    """
    check_seed(seed)
    check_counts(episodes=episodes, num_envs=num_envs, max_episode_steps=max_episode_steps)
    world, start = world_of(agent, world), time.perf_counter()
    home = getattr(agent, "device", None) if device is not None else None
    try:
        if home is not None:
            agent.to(device)  # type: ignore[attr-defined]
        with environments(world, episodes, num_envs, seed) as env:
            outcomes = play(
                agent,
                env,
                range(episodes),
                seed=seed,
                deterministic=deterministic,
                max_episode_steps=max_episode_steps,
                on_progress=on_progress,
            )
    finally:
        if home is not None:
            agent.to(home)  # type: ignore[attr-defined]
    return Evaluation.from_outcomes(world, seed, deterministic, outcomes, time.perf_counter() - start)


@dataclass(frozen=True)
class Head:
    """What follows a shared encoder: a translation (None: nothing) and a controller."""

    translation: Translation | None
    controller: Controller
    name: str = ""
    """For error messages."""

    @torch.no_grad()
    def scores(self, latents: Tensor) -> Scores:
        """Return logits `(n, A)` of the encoder's latents `(n, d)`.

        Raises:
            InvalidInputError: where they are not finite.
        """
        mapped = latents if self.translation is None else self.translation(latents)
        scores: Scores = self.controller.action_parameters(mapped).cpu().numpy()
        if not np.isfinite(scores).all():
            raise InvalidInputError(f"agent {self.name!r}: its action parameters are not finite (NaN in the weights?)")
        return scores


def can_share(world: World) -> bool:
    """Return whether a world has symbolic views, so that each distinct state is encoded once."""
    return family_of(world).has_views(world)


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

    All of them play in one batch of environments, and each distinct view is encoded once for all. Episode i of every
    head has the seed and the noise that it has in `evaluate`, so that the results are the same (but for two actions
    whose scores agree to seven digits, which may swap).

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
    check_seed(seed)
    check_counts(episodes=episodes, num_envs=num_envs, max_episode_steps=max_episode_steps, heads=len(heads))
    if not can_share(world):
        raise InvalidInputError(f"world: expected an environment with symbolic views, found {world.environment}")
    start, pending = time.perf_counter(), np.ones(len(heads), dtype=np.bool_)
    with environments(world, episodes * len(heads), num_envs, seed) as env:
        width = noise_width(env.single_action_space)
        for head in heads:
            actions = head.controller.actions
            if not isinstance(actions, DiscreteActions) or actions.width != width:
                raise IncompatibleError(
                    f"agent {head.name!r} gives {actions.width} actions, the environment takes {width}"
                )
        table = ScoreTable(lambda observations: _scores_of_heads(encoder, heads, observations), len(heads), width)

        def choose(step: Step) -> npt.NDArray[Any]:
            scores = table(step.observations, step.views, step.episodes // episodes)  # type: ignore[arg-type]
            return (scores if step.noise is None else scores + step.noise).argmax(axis=1)

        run = EpisodeRun(env, [*range(episodes)] * len(heads), seed, None if deterministic else "gumbel")
        for _ in run.steps(choose, max_episode_steps):
            outcomes = run.outcomes()
            ended = (outcomes.lengths.reshape(len(heads), episodes) > 0).all(axis=1)
            for number in np.flatnonzero(ended & pending).tolist():
                pending[number] = False
                own, now = outcomes[number * episodes : (number + 1) * episodes], time.perf_counter()
                yield number, Evaluation.from_outcomes(world, seed, deterministic, own, now - start)
                start = now


def _scores_of_heads(encoder: Agent, heads: Sequence[Head], observations: npt.NDArray[np.uint8]) -> Scores:
    """Return the scores `(n, heads, A)` of all heads."""
    latents = encoder.encode(observations)
    return np.stack([head.scores(latents) for head in heads], axis=1)


@contextmanager
def environments(world: World, episodes: int, num_envs: int, seed: int) -> Iterator[VectorEnv[Any, Any, Any]]:
    """Make environments of a world for a number of episodes, at most `num_envs`, and close them.

    There are as many as make rounds of equal size: 100 episodes in at most 64 environments are two rounds of 50.
    """
    rounds = -(-episodes // num_envs)
    env = make_vec(world, -(-episodes // rounds), seed=seed, autoreset="disabled")
    try:
        yield env
    finally:
        env.close()


def world_of(agent: Actor, world: World | None) -> World:
    """Return the world, or where it is None the one on the agent's card.

    Raises:
        InvalidInputError: where there is neither.
    """
    if world is not None:
        return world
    card = getattr(agent, "card", None)
    if card is None:
        kind = "a random agent" if isinstance(agent, RandomAgent) else f"a {type(agent).__name__}"
        raise InvalidInputError(f"world: expected one ({kind} carries none), found None")
    return card.world


def check_counts(**counts: int) -> None:
    """Raise InvalidInputError for a count below 1, or one that no computer holds, naming it."""
    for name, count in counts.items():
        if count > limits.COUNT:
            raise InvalidInputError(f"{name}: expected at most {limits.COUNT:,}, found {count:,}")
        if count < 1:
            raise InvalidInputError(f"{name}: expected at least 1, found {count}")
