"""Recorded episodes, and the same episodes played again under another look or with another sensor.

Where an environment is deterministic, its seed and the actions say everything about an episode: played again under
another look, each frame shows the same state. That is the general way to paired observations. Each replay checks it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from rlstitch.envs.family import family_of, with_sensor
from rlstitch.envs.make import make_vec
from rlstitch.envs.observation import Observations
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError

Action = int | tuple[float, ...]
"""A discrete action, or the numbers of one of several (each exact in float32)."""


@dataclass(frozen=True)
class Episode:
    """One recorded episode of T steps.

    `actions` are the controller's (before the task), `rewards` and they have T entries; `terminated` and `truncated`
    say how it ended, and are both false where the recording stopped first. `states` is the sha256 of what the
    environment showed before any look, at all T + 1 times.
    """

    seed: int
    actions: tuple[Action, ...]
    rewards: tuple[float, ...]
    terminated: bool
    truncated: bool
    states: str
    drawn: tuple[str, ...] = ()
    """The sensor, the keys, and what else decides how states are drawn: `states` of other episodes are comparable where
    it is equal."""


@dataclass(frozen=True)
class Recording:
    """Episodes of one world, in order."""

    world: World
    episodes: tuple[Episode, ...]


def _read_action(value: Any) -> Action:
    """An action of an array.

    Raises:
        InvalidInputError: for anything but a number or a row of numbers.
    """
    if isinstance(value, (list, tuple, np.ndarray)) and np.ndim(value) == 1:
        return tuple(float(np.float32(number)) for number in value)
    try:
        return index(value)
    except TypeError:
        raise InvalidInputError(
            f"action: expected a whole number, or a row of numbers, found {str(value)[:40]!r}"
        ) from None


class Player:
    """Plays episodes of a world one at a time, and records them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.environment = make_vec(world, 1, seed=None, autoreset="disabled")
        made = [f"{name}={world.make_kwargs.get(name)}" for name in world.look_kwargs]
        self._drawn = (str(with_sensor(world).sensor), *world.keys, *made, *family_of(world).drawn_as(world))
        self._type = self.environment.single_action_space.dtype

    @property
    def view(self) -> str:
        """Which view was recorded, where the family has symbolic views; empty where it has none."""
        return self.world.view if family_of(self.world).symbolic else ""

    def play(self, seed: int, choose: Callable[[Observations, int], Action | None]) -> tuple[Episode, Observations]:
        """Play until the episode ends or `choose(observations, step)` gives None; the observations `(T + 1, ...)`."""
        observations, _ = self.environment.reset(seed=seed)
        frames, actions, rewards = [observations[0]], list[Action](), list[float]()
        states = hashlib.sha256(self.environment.underlying.tobytes())
        terminated = truncated = False
        while not (terminated or truncated):
            action = choose(observations, len(actions))
            if action is None:
                break
            observations, reward, ended, cut, _ = self.environment.step(np.array([action], dtype=self._type))
            terminated, truncated = bool(ended[0]), bool(cut[0])
            actions.append(action)
            rewards.append(float(reward[0]))
            frames.append(observations[0])
            states.update(self.environment.underlying.tobytes())
        episode = Episode(seed, tuple(actions), tuple(rewards), terminated, truncated, states.hexdigest(), self._drawn)
        return episode, np.stack(frames)


def first_action(actions: npt.ArrayLike) -> Action:
    """Return the only action of a batch `(1,)` or `(1, A)`."""
    batch = np.asarray(actions)
    if len(batch) != 1:
        raise InvalidInputError(f"policy: expected one action for one observation, found {batch.shape}")
    return _read_action(batch[0])


def record_actions(world: World, seeds: Sequence[int], actions: Sequence[npt.ArrayLike]) -> Recording:
    """Play given actions, `(t,)` or `(t, A)` for each seed, until they run out or the episode ends, and record it.

    Raises:
        InvalidInputError: for actions that the world does not take, and as `make_vec`.
    """
    player = Player(world)
    try:
        return Recording(
            world,
            tuple(
                player.play(int(seed), _given([_read_action(action) for action in np.asarray(row)]))[0]
                for seed, row in zip(seeds, actions, strict=True)
            ),
        )
    finally:
        player.environment.close()


def replay_episodes(recording: Recording, world: World | None = None) -> Iterator[Observations]:
    """Yield the observations `(T + 1, ...)` of each recorded episode, played again under another look or sensor.

    Rewards and ends are compared with the recorded ones, and so are the states where both looks render them alike.

    Args:
        recording: what is played.
        world: may differ from the recording's in sensor, look and in what shapes an observation (view, tile size,
            frames).

    Raises:
        InvalidInputError: where the worlds differ in environment, task, backend or actions, or where the replay does
            not repeat the recording: the environment is then not deterministic, and its frames are no pairs.
    """
    world = recording.world if world is None else world
    rules = replace(world, **recording.world.kwargs_in(world))  # seen as it was recorded
    for name in ("environment", "task", "backend", "actions", "action_repeat", "make_kwargs"):
        if getattr(rules, name) != getattr(recording.world, name):
            raise InvalidInputError(
                f"world: expected {_played(recording.world, name)}, as recorded; found {_played(world, name)}"
            )
    player = Player(world)
    try:
        for recorded in recording.episodes:
            repeated, frames = player.play(recorded.seed, _given(recorded.actions))
            _check_same(recorded, repeated, world)
            yield frames
    finally:
        player.environment.close()


def _played(world: World, name: str) -> str:
    """A world in words, as far as `name` of it matters."""
    if name in ("environment", "task"):
        return f"{world.environment} with task {world.task}"
    return f"{world.environment} with {name} {getattr(world, name)}"


def _given(actions: Sequence[Action]) -> Callable[[Observations, int], Action | None]:
    return lambda _, step: actions[step] if step < len(actions) else None


def _check_same(recorded: Episode, repeated: Episode, world: World) -> None:
    difference = None
    if len(recorded.actions) != len(repeated.actions):
        difference = f"it ended after {len(repeated.actions)} of {len(recorded.actions)} steps"
    elif recorded.rewards != repeated.rewards:
        step = next(
            i for i, pair in enumerate(zip(recorded.rewards, repeated.rewards, strict=True)) if len(set(pair)) > 1
        )
        difference = f"the reward of step {step} is {repeated.rewards[step]}, and was {recorded.rewards[step]}"
    elif (recorded.terminated, recorded.truncated) != (repeated.terminated, repeated.truncated):
        difference = "it ended in another way"
    elif recorded.drawn == repeated.drawn and recorded.states != repeated.states:
        difference = "it showed other states"
    if difference is not None:
        cause = f", or {', '.join(world.look_kwargs)} change more than what is seen" if world.look_kwargs else ""
        raise InvalidInputError(
            f"{world.environment} is not deterministic{cause}: the episode of seed {recorded.seed} was played "
            f"again with the recorded actions, and {difference}. Its frames under two looks would not be pairs."
        )
