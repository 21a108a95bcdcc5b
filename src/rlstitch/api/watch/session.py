"""What one viewer watches: an agent in environments of its own, one step at a time."""

from __future__ import annotations

import base64
import io
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from PIL import Image

from rlstitch.agents import Agent
from rlstitch.api.watch.bars import action_bars, action_names
from rlstitch.envs import World, family_of, is_image
from rlstitch.errors import IncompatibleError
from rlstitch.rollouts.actors import Policy, noise_width
from rlstitch.rollouts.display import coloured
from rlstitch.rollouts.episodes import NoiseStreams
from rlstitch.rollouts.live import LiveRun

_NUMBERS = 1024
"""Numbers of a vector that are shown, at most."""


class Session:
    """An agent that plays the episodes of an evaluation. It is used by one thread at a time.

    Args:
        agent: that plays.
        look: another look than that of the agent's world.
        seed: as in `rlstitch.evaluate`: the episodes are the same.
        greedy: take the most likely action instead of a sampled one.

    Raises:
        UnknownNameError, InvalidInputError, IncompatibleError: as `rlstitch.evaluate`.
    """

    def __init__(self, agent: Agent, *, look: str | None = None, seed: int = 0, greedy: bool = False) -> None:
        self.greedy = greedy
        self._use(agent, LiveRun(_world(agent, look), seed=seed))
        self.begin(0)

    @property
    def world(self) -> World:
        """Where the agent plays."""
        return self._run.world

    @property
    def seed(self) -> int:
        """Of the episodes."""
        return self._run.seed

    @property
    def episode(self) -> int:
        """Number of the episode."""
        return self._run.episode

    @property
    def ended(self) -> bool:
        """Whether the episode is over."""
        return self._run.ended

    def begin(self, episode: int, *, seed: int | None = None) -> None:
        """Begin an episode; another seed has other episodes."""
        if seed is not None and seed != self.seed:
            self._swap(self._agent, LiveRun(self._run.world, seed=seed))
        self._run.start(episode)
        self._noise = NoiseStreams(self.seed, 1, noise_width(self._run.space), self._agent.noise_kind)
        self._noise.start(0, episode)
        self._numbers = self._noise.take(np.array([0]))
        self._choose()

    def step(self) -> None:
        """Take the action that is shown; nothing once the episode is over."""
        if self._action is None:
            return
        self._run.step(self._action)
        self._numbers = self._noise.take(np.array([0]))
        self._choose()

    def play(self, agent: Agent, look: str | None = None) -> None:
        """Let another agent go on from the same state, or the same one under another look.

        Raises:
            UnknownNameError, InvalidInputError, IncompatibleError: where it cannot; the session is what it was.
        """
        world = _world(agent, look)
        if (world.environment, world.task) != (self.world.environment, self.world.task):
            raise IncompatibleError(f"expected an agent of {self.world.environment}, found {world.environment}")
        self._swap(agent, self._run.continued_in(world))
        self._choose()

    def be_greedy(self, greedy: bool) -> None:
        """Take the most likely action from here on, or a sampled one."""
        self.greedy = greedy
        self._choose()

    def close(self) -> None:
        """Close the environments."""
        self._run.close()

    def _use(self, agent: Agent, run: LiveRun) -> None:
        try:
            self._policy = Policy(agent, run.space)
        except BaseException:
            run.close()
            raise
        self._agent, self._run = agent, run
        count = run.space.n if isinstance(run.space, spaces.Discrete) else 0
        own = family_of(run.world).action_space(run.world)
        self._names = action_names(run.world, int(own.n)) if count and isinstance(own, spaces.Discrete) else ()

    def _swap(self, agent: Agent, run: LiveRun) -> None:
        before = self._run
        self._use(agent, run)
        before.close()

    def _choose(self) -> None:
        """Choose the action of the state that the environment is in."""
        self._action: npt.NDArray[Any] | None = None
        if not self._run.ended:
            noise = None if self.greedy else self._numbers
            self._action = self._policy.act(self._run.observation[None], noise=noise)

    def moment(self) -> dict[str, Any]:
        """Return what the page shows of the state, as JSON values."""
        run, image = self._run, is_image(self._run.observation.shape)
        parameters = self._agent.action_parameters(run.observation[None])
        return {
            "frame": None if run.frame is None else _png(run.frame),
            "seen": _png(_side_by_side(run.observation, run.world.frame_stack)) if image else None,
            "vector": None if image else [round(float(number), 4) for number in run.observation[:_NUMBERS]],
            "bars": [asdict(bar) for bar in action_bars(self._agent.controller, parameters, self._action, self._names)],
            "return": f"{run.total:.3f}".rstrip("0").rstrip(".").replace("-", "\N{MINUS SIGN}"),
            "steps": len(run.actions),
            "episode": run.episode,
            "outcome": _outcome(run),
        }


def _world(agent: Agent, look: str | None) -> World:
    return agent.card.world if look is None else replace(agent.card.world, look=look)


def _outcome(run: LiveRun) -> str:
    if not run.ended:
        return "playing"
    return "over" if run.success is None else "success" if run.success else "no success"


def _side_by_side(observation: npt.NDArray[np.uint8], frames: int) -> npt.NDArray[np.uint8]:
    """Return the images of a stack `(H, W, C)` side by side; of channels that are no colours each one, in grey."""
    channels = observation.shape[2] // frames
    parts = np.split(observation, frames if channels in (1, 3) else observation.shape[2], axis=2)
    return np.concatenate([coloured(part) for part in parts], axis=1)


def _png(image: npt.NDArray[np.uint8]) -> str:
    """Return an image `(H, W, 3)` as a data URL."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, format="PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
