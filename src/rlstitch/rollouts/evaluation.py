"""How good an agent is in a world: exactly N episodes, the same ones for every agent and on every machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.actors import Actor, RandomAgent
from rlstitch.rollouts.episodes import MAX_EPISODE_STEPS, Played, check_seed, episode_seed, play
from rlstitch.rollouts.statistics import Summary, summarize

if TYPE_CHECKING:
    from rlstitch.envs import World


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

    @property
    def episodes(self) -> int:
        """How many episodes were played."""
        return len(self.returns)

    def summary(self) -> Summary:
        """Return mean and interquartile mean of the returns with intervals, and the success rate."""
        return summarize(self.returns, self.successes, seed=self.seed)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one dictionary an episode, ready for a table."""
        rows: list[dict[str, Any]] = []
        for i in range(self.episodes):
            success = None if self.successes is None else bool(self.successes[i])
            row = {"episode": i, "seed": int(self.seeds[i]), "return": float(self.returns[i])}
            rows.append(row | {"length": int(self.lengths[i]), "success": success})
        return rows


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
) -> Evaluation:
    """Play `episodes` episodes of an agent in a world (None: the agent's own) and return what came of them.

    Every episode that is started is played to its end and counted, so short ones are not favoured. Episode i depends on
    (seed, i) alone: not on `num_envs` or how many episodes there are. (The last bits of the network's
    output do change with the batch and the threads: two actions whose scores agree to seven digits may swap.)

    Args:
        agent: an Agent, or `RandomAgent`.
        world: where to play.
        episodes: how many.
        seed: first half of every key.
        deterministic: greedy actions instead of sampled ones. A greedy agent in a partially seen world can repeat one
            action for ever: look at both.
        num_envs: environments at once.
        device: where the network runs, for the length of the evaluation; None: where its weights are.
        max_episode_steps: an episode that is longer is an error.

    Raises:
        InvalidInputError: for numbers below 1, no world, an endless episode, or non-finite weights or observations.
        IncompatibleError: where the agent's images or actions are not the world's.
    """
    check_seed(seed)
    check_counts(episodes=episodes, num_envs=num_envs, max_episode_steps=max_episode_steps)
    world, start = world_of(agent, world), time.perf_counter()
    played = play_in_world(
        agent,
        world,
        range(episodes),
        seed=seed,
        deterministic=deterministic,
        num_envs=num_envs,
        device=device,
        max_episode_steps=max_episode_steps,
    )
    return assemble(world, seed, deterministic, played, time.perf_counter() - start)


def play_in_world(
    agent: Actor,
    world: World,
    episodes: Sequence[int],
    *,
    seed: int,
    deterministic: bool,
    num_envs: int,
    device: str | None = None,
    max_episode_steps: int = MAX_EPISODE_STEPS,
) -> Played:
    """Make the environments of a world, play the listed episodes in them, and close them."""
    from rlstitch.envs import make_vec

    # As many slots as make rounds of equal size: 100 episodes in at most 64 slots are two rounds of 50.
    rounds = -(-len(episodes) // num_envs)
    env = make_vec(world, -(-len(episodes) // rounds), seed=seed, autoreset="disabled")
    home = getattr(agent, "device", None) if device is not None else None
    try:
        if home is not None:
            agent.to(device)  # type: ignore[attr-defined]
        return play(agent, env, episodes, seed=seed, deterministic=deterministic, max_episode_steps=max_episode_steps)
    finally:
        if home is not None:
            agent.to(home)  # type: ignore[attr-defined]
        env.close()


def assemble(world: World, seed: int, deterministic: bool, played: Played, seconds: float) -> Evaluation:
    """Return the evaluation that episodes 0 ... N-1 make up."""
    seeds = np.array([episode_seed(seed, i) for i in range(len(played.returns))], dtype=np.int64)
    return Evaluation(world, seed, deterministic, seeds, played.returns, played.lengths, played.successes, seconds)


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
    found: World = card.world.to_world()
    return found


def check_counts(**counts: int) -> None:
    """Raise InvalidInputError for a count below 1, naming it."""
    for name, count in counts.items():
        if count < 1:
            raise InvalidInputError(f"{name}: expected at least 1, found {count}")
