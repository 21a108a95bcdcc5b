from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv


class Walk(gymnasium.Env):
    """A walk whose length its seed decides; the image shows how far it is and pays for matching a seeded number."""

    observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)

    def __init__(self, n_actions: int = 3, longest: int = 30) -> None:
        self.action_space = gymnasium.spaces.Discrete(n_actions)
        self.longest = longest
        self.begun: list[int | None] = []

    def _image(self) -> np.ndarray:
        return np.full((8, 8, 3), (self.secret * 31 + self.time * 7) % 256, np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.begun.append(seed)
        self.time, self.secret = 0, int(self.np_random.integers(self.action_space.n))
        self.length = int(self.np_random.integers(1, self.longest + 1))
        return self._image(), {}

    def step(self, action):
        self.time += 1
        reward = float(action == (self.secret + self.time) % self.action_space.n)
        over = self.time >= self.length
        return (
            self._image(),
            reward,
            over and self.length % 2 == 0,
            over and self.length % 2 == 1,
            {"success": over and reward > 0},
        )


class Table:
    """An actor whose logits are a fixed function of the image; it counts its forward passes."""

    noise_kind = "gumbel"

    def __init__(self, n_actions: int = 3) -> None:
        self.weights = np.random.default_rng(0).normal(size=(256, n_actions)).astype(np.float32)
        self.batches: list[int] = []

    def act(self, observations, *, noise=None):
        self.batches.append(len(observations))
        logits = self.weights[observations[:, 0, 0, 0]]
        return (logits if noise is None else logits + noise).argmax(axis=1)


@pytest.fixture
def walks():
    """Make a vector of walks without autoreset; `.envs` are the single ones."""
    made = []

    def make(count: int, **options) -> SyncVectorEnv:
        env = SyncVectorEnv([lambda: Walk(**options)] * count, autoreset_mode=AutoresetMode.DISABLED)
        made.append(env)
        return env

    yield make
    for env in made:
        env.close()


@pytest.fixture
def table():
    return Table()


@pytest.fixture
def walk_class():
    return Walk


EMPTY = "MiniGrid-Empty-Random-5x5-v0"


def make_agent(world, *, seed: int = 0, arch: str = "small"):
    """Make an agent with random weights for a MiniGrid world."""
    import torch

    from rlstitch.agents.agent import Agent
    from rlstitch.agents.card import AgentCard
    from rlstitch.agents.controller import build_controller
    from rlstitch.agents.encoder import build_encoder
    from rlstitch.envs import make_vec

    env = make_vec(world, 1, seed=0)
    shape, n = env.single_observation_space.shape, int(env.single_action_space.n)
    env.close()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = build_encoder({"kind": "cnn", "arch": arch, "image_shape": shape, "latent_dim": 16})
        controller = build_controller({"latent_dim": 16, "actions": {"kind": "discrete", "n": n}, "hidden": [16]})
        for weights in controller.action_head.parameters():
            weights.data.mul_(2.0)  # opinions, but not so strong that it never arrives
    card = AgentCard(
        name=f"test-{world.variation}-s{seed}",
        world=world,
        seed=seed,
        observation_shape=shape,
        encoder=encoder.spec(),
        controller=controller.spec(),
    )
    return Agent(encoder, controller, card)


@pytest.fixture(scope="session")
def world():
    """A small world."""
    from rlstitch.envs import World

    return World(EMPTY)


@pytest.fixture(scope="session")
def agent(world):
    """An agent of that world, with random weights."""
    return make_agent(world)


@pytest.fixture(scope="session")
def agent_maker():
    """`make_agent(world, seed=..., arch=...)`."""
    return make_agent
