"""Small environments that draw themselves, whose every step is known; registered for these tests alone."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces


class Corridor(gymnasium.Env):
    """Walk from cell `seed % 2` to cell 3. Actions: 0 waits, 1 goes on, 2 goes back.

    The picture holds the position in channel 0, the number of steps in channel 1. Each step costs 1, arriving pays 10.
    """

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space = spaces.Box(0, 255, (5, 4, 3), np.uint8)
    action_space = spaces.Discrete(3)
    render_mode = None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.start = seed % 2
        self.position, self.steps = self.start, 0
        return self._picture(), {}

    def step(self, action):
        self.position = max(0, self.position + (0, 1, -1)[int(action)])
        self.steps += 1
        arrived = self.position == 3
        info = {"is_success": True} if arrived else {}
        return self._picture(), 10.0 if arrived else -1.0, arrived, False, info

    def _picture(self):
        picture = np.zeros((5, 4, 3), dtype=np.uint8)
        picture[..., 0], picture[..., 1] = self.position, self.steps
        return picture


class Dice(Corridor):
    """A corridor that no seed governs: what differs between two equal episodes is `fault`."""

    count = 0

    def __init__(self, fault):
        self.fault = fault

    def reset(self, *, seed=None, options=None):
        Dice.count += 1
        self.number = Dice.count % 100
        return super().reset(seed=seed, options=options)

    def step(self, action):
        picture, reward, terminated, truncated, info = super().step(action)
        if self.fault == "reward":
            reward += self.number
        if self.fault == "state":
            picture[..., 2] = self.number
        if self.fault == "end":
            truncated = self.steps > self.number % 2
        if self.fault == "way":
            terminated, truncated = self.number % 2 == 0, self.number % 2 == 1
        return picture, reward, terminated, truncated, info


class Deaf(gymnasium.Env):
    """Observes numbers, not images."""

    observation_space = spaces.Box(0, 1, (4,), np.float32)
    action_space = spaces.Discrete(2)


class Steered(Corridor):
    """Takes continuous actions."""

    action_space = spaces.Box(-1, 1, (2,), np.float32)


class Dim(Corridor):
    """Its images do not use the whole range."""

    observation_space = spaces.Box(0, 100, (5, 4, 3), np.uint8)


class Wide(Corridor):
    """As the corridor, drawn larger."""

    def __init__(self, width=8):
        self.observation_space = spaces.Box(0, 255, (5, width, 3), np.uint8)


@pytest.fixture(scope="session", autouse=True)
def own_environments():
    import minigrid  # noqa: F401 (its environments are registered before ours are)

    before = set(gymnasium.registry)
    gymnasium.register("Corridor-v0", Corridor, max_episode_steps=5)
    gymnasium.register("CorridorLong-v0", Corridor)
    gymnasium.register("CorridorWide-v0", Wide)
    gymnasium.register("Deaf-v0", Deaf)
    gymnasium.register("Dim-v0", Dim)
    gymnasium.register("Steered-v0", Steered)
    for fault in ("reward", "state", "end", "way"):
        gymnasium.register(f"Dice-{fault}-v0", Dice, kwargs={"fault": fault})
    yield
    for name in set(gymnasium.registry) - before:
        del gymnasium.registry[name]
