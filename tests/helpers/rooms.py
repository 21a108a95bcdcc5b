"""A small world of real images for the tests: a dot is to reach a target. No MiniGrid, no tiles, no symbolic views."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

from rlstitch.agents import Agent, AgentCard, actions_of, build_controller, build_encoder
from rlstitch.envs import World, make_vec

SIZE, DOT, STRIDE = 40, 6, 5
DISCRETE, CONTINUOUS, RESTLESS, GREY = "DotRoom-v0", "DotRoomSteered-v0", "DotRoomRestless-v0", "DotRoomGrey-v0"
BLIND, FIRST, KEYS = "DotRoomBlind-v0", "DotRoomChannelsFirst-v0", "DotRoomKeys-v0"
TWO, FOUR = "DotRoomTwo-v0", "DotRoomFour-v0"
DIRECTIONS = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)], dtype=np.float64)


class DotRoom(gymnasium.Env[Any, Any]):
    """Where dot and target begin is a function of the seed alone.

    `steered`: actions are two numbers in [-1, 1]. `restless`: the dot trembles, and no seed governs it.
    """

    def __init__(self, *, steered: bool = False, restless: bool = False, channels: int = 3) -> None:
        self.observation_space = spaces.Box(0, 255, (SIZE, SIZE, channels), np.uint8)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32) if steered else spaces.Discrete(4)
        self.steered, self.restless = steered, restless

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.dot, self.target = (self.np_random.integers(0, SIZE - DOT, size=2).astype(float) for _ in range(2))
        return self._draw(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        move = np.asarray(action, dtype=np.float64) if self.steered else DIRECTIONS[int(action)]
        if self.restless:
            move = move + np.random.default_rng().normal(size=2)  # no seed
        self.dot = (self.dot + STRIDE * move).clip(0, SIZE - DOT)
        arrived = bool(np.abs(self.dot - self.target).max() < DOT)
        return self._draw(), 1.0 if arrived else -0.02, arrived, False, {"is_success": arrived}

    def _draw(self) -> np.ndarray:
        picture = np.full(self.observation_space.shape, 60, dtype=np.uint8)
        for place, colour in ((self.target, (200, 40, 40, 255)), (self.dot, (240, 240, 90, 255))):
            row, column = place.astype(int)
            picture[row : row + DOT, column : column + DOT] = colour[: picture.shape[2]]
        return picture


def channels_first() -> gymnasium.Env[Any, Any]:
    """A room that shows `(C, H, W)`."""
    room = DotRoom()
    space = spaces.Box(0, 255, (3, SIZE, SIZE), np.uint8)
    return gymnasium.wrappers.TransformObservation(room, lambda image: np.moveaxis(image, -1, 0), space)


SPACES = {
    "DotRoomFromFive-v0": spaces.Discrete(4, start=5),
    "DotRoomDouble-v0": spaces.Box(-1, 1, (2,), np.float64),
    "DotRoomSquare-v0": spaces.Box(-1, 1, (2, 1), np.float32),
    "DotRoomChoices-v0": spaces.MultiDiscrete([3, 3]),
    "DotRoomChoicesFrom-v0": spaces.MultiDiscrete([3, 3], start=[-1, -1]),
    "DotRoomSwitches-v0": spaces.MultiBinary(4),
    "DotRoomSwitchGrid-v0": spaces.MultiBinary([2, 2]),
}
"""Rooms by their actions, each of which does what it can: move by one of the directions, or by several at once."""


class OtherActions(DotRoom):
    """A room that moves by actions of any of `SPACES`, and takes no others."""

    def __init__(self, name: str) -> None:
        super().__init__(steered=True)
        self.action_space = SPACES[name]

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        space = self.action_space
        assert space.contains(action), (action, space)
        if isinstance(space, spaces.Discrete):
            move = DIRECTIONS[int(action - space.start)]
        elif isinstance(space, spaces.MultiDiscrete):
            move = action - space.start - 1
        elif isinstance(space, spaces.MultiBinary):
            move = np.ravel(action) @ DIRECTIONS
        else:
            move = np.ravel(action)
        return super().step(move)


class KeysRoom(DotRoom):
    """Shows an image, where the dot is, and a text of where the target is."""

    def __init__(self) -> None:
        super().__init__()
        self._image = self.observation_space
        self.observation_space = spaces.Dict(
            {"camera": self._image, "place": spaces.Box(0, SIZE, (2,), np.float64), "order": spaces.Text(20)}
        )

    def _draw(self) -> dict[str, Any]:
        picture = np.full(self._image.shape, 60, dtype=np.uint8)
        row, column = self.dot.astype(int)
        picture[row : row + DOT, column : column + DOT] = (240, 240, 90)
        words = ("up" if self.target[0] < SIZE / 2 else "down", "left" if self.target[1] < SIZE / 2 else "right")
        return {"camera": picture, "place": self.dot.copy(), "order": " ".join(("go", *words))}


class BlindRoom(DotRoom):
    """Shows numbers instead of images."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Box(0, SIZE, (4,), np.float32)


@contextmanager
def registered() -> Iterator[None]:
    """Register the rooms for the length of a block."""
    import minigrid  # noqa: F401 (its environments are registered before ours are)

    before = set(gymnasium.registry)
    gymnasium.register(DISCRETE, DotRoom, max_episode_steps=25)
    gymnasium.register(CONTINUOUS, DotRoom, max_episode_steps=25, kwargs={"steered": True})
    gymnasium.register(RESTLESS, DotRoom, max_episode_steps=25, kwargs={"restless": True})
    gymnasium.register(GREY, DotRoom, max_episode_steps=25, kwargs={"channels": 1})
    gymnasium.register(FIRST, channels_first, max_episode_steps=25)
    for name, channels in ((TWO, 2), (FOUR, 4)):
        gymnasium.register(name, DotRoom, max_episode_steps=25, kwargs={"channels": channels})
    for name in SPACES:
        gymnasium.register(name, OtherActions, max_episode_steps=25, kwargs={"name": name})
    gymnasium.register(BLIND, BlindRoom, max_episode_steps=25)
    gymnasium.register(KEYS, KeysRoom, max_episode_steps=25)
    try:
        yield
    finally:
        for name in set(gymnasium.registry) - before:
            del gymnasium.registry[name]


def untrained(world: World, seed: int = 0) -> Agent:
    """Return a small agent with random weights that fits a world of images."""
    env = make_vec(world, 1, seed=0)
    shape, actions = env.single_observation_space.shape, actions_of(env.single_action_space)
    env.close()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = build_encoder({"kind": "cnn", "arch": "small", "image_shape": shape, "latent_dim": 8})
        controller = build_controller({"latent_dim": 8, "actions": actions, "hidden": [8]})
    specs = {"encoder": encoder.spec(), "controller": controller.spec()}
    card = AgentCard(name=f"untrained-{seed}", world=world, seed=seed, observation_shape=shape, **specs)
    return Agent(encoder, controller, card)
