"""Episodes that are played one step at a time, for a viewer: what people see beside what the agent observes."""

from __future__ import annotations

from typing import Any, cast

import gymnasium
import numpy as np
import numpy.typing as npt

from rlstitch.envs import World, family_of, make_vec
from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.display import Frame, coloured, plain_world, world_from_above
from rlstitch.rollouts.episodes import episode_seed


class LiveRun:
    """The episodes of an evaluation, one after the other and step by step.

    Where people see something else than the agent, another environment of the same seed takes the same actions.

    Args:
        world: where to play.
        seed: as in `evaluate`: the episodes are the same.

    Raises:
        UnknownNameError, InvalidInputError: as `rlstitch.envs.make_vec`.
    """

    observation: npt.NDArray[Any]
    """What the agent observes, `(H, W, C)` or `(D,)`."""
    ended: bool = True
    """Whether the episode is over; before the first `start`, too."""
    success: bool | None = None
    """Whether the episode that ended was a success; None where the environment does not say."""
    episode: int = 0
    total: float = 0.0
    """The return so far."""

    def __init__(self, world: World, *, seed: int) -> None:
        self.world, self.seed = world, seed
        self.actions: list[npt.NDArray[Any]] = []
        self._envs = [make_vec(world, 1, seed=seed, autoreset="disabled")]
        try:
            if (shown := _shown_world(world)) is not None and shown != world:
                self._envs.append(make_vec(shown, 1, seed=seed, autoreset="disabled"))
        except BaseException:
            self.close()
            raise
        self._shows_own = shown == world

    @property
    def space(self) -> gymnasium.Space[Any]:
        """The actions of the world."""
        return self._envs[0].single_action_space

    @property
    def frame(self) -> Frame | None:
        """What people see `(H, W, 3)`; None where the environment does not render."""
        if self._shows_own:
            return coloured(self.observation)
        return coloured(self._frame) if len(self._envs) > 1 else None

    def start(self, episode: int) -> None:
        """Begin an episode by its number."""
        self.episode, self.total, self.actions = episode, 0.0, []
        self.ended, self.success = False, None
        seeds = cast("Any", [episode_seed(self.seed, episode)])
        self._take([env.reset(seed=seeds)[0] for env in self._envs])

    def step(self, action: npt.NDArray[Any]) -> None:
        """Take an action, a batch of one."""
        outcomes = [env.step(action) for env in self._envs]
        self._take([observations for observations, *_ in outcomes])
        _, rewards, terminated, truncated, infos = outcomes[0]
        self.total += float(rewards[0])
        self.actions.append(action)
        self.ended = bool(terminated[0] | truncated[0])
        flags = infos.get("success", infos.get("is_success")) if self.ended else None
        self.success = None if flags is None else bool(np.asarray(flags)[0])
        if len(outcomes) > 1 and bool(outcomes[1][2][0] | outcomes[1][3][0]) != self.ended:
            self._envs.pop().close()  # not deterministic: what it shows is another episode

    def continued_in(self, world: World) -> LiveRun:
        """Return a run in another world of the same environment and task, in the same state.

        Raises:
            UnknownNameError, InvalidInputError: as `rlstitch.envs.make_vec`, and where the return shows that the
                same seed and actions do not lead to the same state.
        """
        run = LiveRun(world, seed=self.seed)
        try:
            run.start(self.episode)
            for action in self.actions:
                if run.ended:
                    break
                run.step(action)
            if (run.total, run.ended) != (self.total, self.ended):
                raise InvalidInputError(
                    f"{world.environment} is not deterministic: the same seed and actions lead to another state; "
                    "restart the episode"
                )
        except BaseException:
            run.close()
            raise
        return run

    def close(self) -> None:
        """Close the environments."""
        while self._envs:
            self._envs.pop().close()

    def _take(self, observations: list[npt.NDArray[Any]]) -> None:
        self.observation, self._frame = observations[0][0], observations[-1][0]


def _shown_world(world: World) -> World | None:
    """Return the world that people see; None where the environment has no images, or none in grey or three colours."""
    family = family_of(world)
    if "pixels" not in family.sensors_of(world):
        return None
    shown = world_from_above(world) or plain_world(world)
    return shown if family.observation_kind(shown)[1][-1] in (1, 3) else None
