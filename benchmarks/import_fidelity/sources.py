"""Models of other libraries: how each is made, what it sees and what it computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation, NormalizeObservation, TransformObservation
from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecNormalize, VecTransposeImage
from torch import nn

SIDE = 84
MOVES = ((0, 6), (6, 0), (0, -6), (-6, 0))
_ON_POLICY: dict[str, Any] = {"n_steps": 128, "n_epochs": 2}
_OFF_POLICY: dict[str, Any] = {"buffer_size": 300, "learning_starts": 240, "batch_size": 16}


class Dot(gymnasium.Env[Any, Any]):
    """A dot that is moved on an image of 84 x 84; actions are four moves, or with `steered` two numbers."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 (Stable-Baselines3 asks for it)

    def __init__(self, *, steered: bool = False, channels: int = 3, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0, 255, (SIDE, SIDE, channels), np.uint8)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32) if steered else spaces.Discrete(4)
        self.steered = steered

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Place dot and goal at random."""
        super().reset(seed=seed)
        self.dot, self.goal = self.np_random.integers(0, SIDE - 12, size=(2, 2)).astype(float)
        return self._draw(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move the dot; the reward is how much nearer the goal it is."""
        before = np.abs(self.dot - self.goal).sum()
        self.dot = (self.dot + (6 * np.asarray(action) if self.steered else MOVES[int(action)])).clip(0, SIDE - 12)
        after = np.abs(self.dot - self.goal).sum()
        return self._draw(), float(before - after) / 10, bool(after < 12), False, {}

    def _draw(self) -> np.ndarray:
        image = np.full(self.observation_space.shape or (), 40, dtype=np.uint8)
        for place, colour in ((self.goal, (220, 60, 90)), (self.dot, (120, 230, 60))):
            row, column = place.astype(int)
            image[row : row + 12, column : column + 12] = colour[: image.shape[2]]
        return image


def register() -> None:
    """Register the environments of images."""
    for name, kwargs in (("Dot-v0", {}), ("DotSteered-v0", {"steered": True}), ("DotGrey-v0", {"channels": 1})):
        gymnasium.register(name, Dot, max_episode_steps=40, kwargs=kwargs)


@dataclass(frozen=True)
class Source:
    """One kind of model."""

    algorithm: str
    environment: str
    make: Callable[[Source], tuple[Any, VecEnv]]
    """Model, with `predict` as Stable-Baselines3 has it, and its environments."""
    outputs: Callable[[Any, Any], torch.Tensor]
    """Model and observations to logits, means, action values or squashed actions."""
    library: str = "Stable-Baselines3"
    observation: str = "vectors"
    stacked: int = 1
    normalized: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    world: Mapping[str, Any] = field(default_factory=dict)
    """Fields that no file tells."""

    @property
    def images(self) -> bool:
        """Whether it sees images."""
        return self.observation == "images"


def actor_critic(model: Any, observations: Any) -> torch.Tensor:
    """Logits or means of PPO, A2C and TRPO."""
    policy = model.policy
    features = policy.extract_features(policy.obs_to_tensor(observations)[0], policy.pi_features_extractor)
    return policy.action_net(policy.mlp_extractor.forward_actor(features))


def action_values(model: Any, observations: Any) -> torch.Tensor:
    """Action values of DQN."""
    return model.policy.q_net(model.policy.obs_to_tensor(observations)[0])


def normal_means(model: Any, observations: Any) -> torch.Tensor:
    """Means of SAC and TQC, before they are squashed."""
    return model.policy.actor.get_action_dist_params(model.policy.obs_to_tensor(observations)[0])[0]


def squashed(model: Any, observations: Any) -> torch.Tensor:
    """Actions of TD3 and DDPG in [-1, 1]."""
    return model.policy.actor(model.policy.obs_to_tensor(observations)[0])


def _single(environment: str) -> gymnasium.Env[Any, Any]:
    made = gymnasium.make(environment)
    return Monitor(ImgObsWrapper(RGBImgPartialObsWrapper(made)) if "MiniGrid" in environment else made)


def stable_baselines(kind: Any, **settings: Any) -> Callable[[Source], tuple[Any, VecEnv]]:
    """Return what trains a model for a moment by its own library."""

    def make(source: Source) -> tuple[Any, VecEnv]:
        environments: VecEnv = DummyVecEnv([lambda: _single(source.environment)])
        if source.normalized:
            environments = VecNormalize(environments, clip_obs=5.0)
        if source.stacked > 1:
            environments = VecFrameStack(environments, source.stacked)
        if source.images:
            environments = VecTransposeImage(environments)
        policy = "CnnPolicy" if source.images else "MlpPolicy"
        model = kind(policy, environments, seed=0, device="cpu", **settings, **source.settings)
        model.learn(256)
        if source.normalized:
            environments.training = environments.norm_reward = False  # type: ignore[attr-defined]
        return model, environments

    return make


class CleanRL(nn.Module):
    """An agent with the networks of one of CleanRL's scripts, and what `evaluate_policy` asks for."""

    def __init__(self, script: str, inputs: int, outputs: int) -> None:
        super().__init__()
        self.script = script
        if script == "ppo_atari.py":
            self.network = nn.Sequential(
                nn.Conv2d(inputs, 32, 8, stride=4), nn.ReLU(), nn.Conv2d(32, 64, 4, stride=2), nn.ReLU(),
                nn.Conv2d(64, 64, 3, stride=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 7 * 7, 512), nn.ReLU(),
            )  # fmt: skip
            self.actor, self.critic = nn.Linear(512, outputs), nn.Linear(512, 1)
            return
        name = "actor" if script == "ppo.py" else "actor_mean"
        for part, width in ((name, outputs), ("critic", 1)):
            layers = [nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, width)]
            self.add_module(part, nn.Sequential(*layers))
        if script == "ppo_continuous_action.py":
            self.actor_logstd = nn.Parameter(torch.zeros(1, outputs))

    @torch.no_grad()
    def forward(self, observations: Any) -> torch.Tensor:
        """Logits or means."""
        inputs = torch.Tensor(np.asarray(observations))
        if self.script == "ppo_atari.py":
            return self.actor(self.network(inputs / 255.0))
        return (self.actor if self.script == "ppo.py" else self.actor_mean)(inputs)

    def predict(self, observation: Any, state: Any = None, **_: Any) -> Any:
        """Greedy actions."""
        outputs = self(observation).numpy()
        return (outputs if hasattr(self, "actor_logstd") else outputs.argmax(1)), state


def cleanrl(script: str) -> Callable[[Source], tuple[Any, VecEnv]]:
    """Return what makes an agent of a script, and its environments with the script's wrappers."""

    def make(source: Source) -> tuple[Any, VecEnv]:
        environment = Monitor(gymnasium.make(source.environment))
        if script == "ppo_atari.py":  # gray images, as AtariPreprocessing gives them, stacked on the first axis
            gray = spaces.Box(0, 255, (SIDE, SIDE), np.uint8)
            flat = TransformObservation(environment, lambda image: image[..., 0], gray)
            environment = FrameStackObservation(flat, source.stacked)
        if source.normalized:
            normal = NormalizeObservation(environment)
            normal.reset(seed=0)
            for _ in range(150):
                normal.step(normal.action_space.sample())
            normal.update_running_mean = False
            box = spaces.Box(-10, 10, environment.observation_space.shape, np.float32)
            environment = TransformObservation(normal, lambda seen: np.clip(seen, -10, 10), box)
        torch.manual_seed(0)
        actions = environment.action_space
        inputs = (environment.observation_space.shape or (0,))[0]
        outputs = int(getattr(actions, "n", 0)) or actions.shape[0]
        return CleanRL(script, inputs, outputs), DummyVecEnv([lambda: environment])

    return make


def saved(source: Source, model: Any, environments: VecEnv, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Save a model as its library does; returns the file and options of the import."""
    options: dict[str, Any] = {}
    if source.library == "CleanRL":
        path = folder / "agent.cleanrl_model"
        torch.save(model.state_dict(), path)
        if not source.images:
            options["normalization"] = "none"
        if source.normalized:
            running = environments.envs[0].env.obs_rms  # type: ignore[attr-defined]
            np.savez(folder / "statistics.npz", mean=running.mean, var=running.var, clip=10.0, epsilon=1e-8)
            options["normalization"] = folder / "statistics.npz"
        return path, options
    model.save(folder / "model.zip")
    if source.normalized:
        environments.save(str(folder / "statistics.pkl"))  # type: ignore[attr-defined]
        options["normalization"] = folder / "statistics.pkl"
    return folder / "model.zip", {**options, "temperature": 1.0}


def _contrib(name: str, **settings: Any) -> Callable[[Source], tuple[Any, VecEnv]]:
    def make(source: Source) -> tuple[Any, VecEnv]:
        import sb3_contrib

        return stable_baselines(getattr(sb3_contrib, name), **settings)(source)

    return make


def _images(algorithm: str, kind: Any, outputs: Any, **other: Any) -> Source:
    settings = _OFF_POLICY if kind not in (PPO, A2C) else _ON_POLICY if kind is PPO else {}
    environment = "DotSteered-v0" if kind in (SAC, TD3, DDPG) else "Dot-v0"
    fields = {"environment": environment, "observation": "images", **other}
    return Source(algorithm, make=stable_baselines(kind, **settings), outputs=outputs, **fields)


def _vectors(algorithm: str, environment: str, kind: Any, outputs: Any, **other: Any) -> Source:
    settings = _OFF_POLICY if kind not in (PPO, A2C) else _ON_POLICY if kind is PPO else {}
    return Source(algorithm, environment, make=stable_baselines(kind, **settings), outputs=outputs, **other)


def _of_cleanrl(script: str, environment: str, **other: Any) -> Source:
    fields = {"library": "CleanRL", **other}
    return Source(f"PPO ({script})", environment, cleanrl(script), lambda model, seen: model(seen), **fields)


SOURCES = [
    _vectors("PPO", "CartPole-v1", PPO, actor_critic),
    _vectors("PPO", "CartPole-v1", PPO, actor_critic, normalized=True),
    _vectors("PPO", "Acrobot-v1", PPO, actor_critic, stacked=3),
    _vectors("PPO", "FrozenLake-v1", PPO, actor_critic, observation="one of 16"),
    _vectors("A2C", "Pendulum-v1", A2C, actor_critic, normalized=True),
    _vectors("DQN", "Acrobot-v1", DQN, action_values),
    _vectors("SAC", "Pendulum-v1", SAC, normal_means, normalized=True),
    _vectors("TD3", "Pendulum-v1", TD3, squashed, stacked=2),
    _vectors("DDPG", "Pendulum-v1", DDPG, squashed),
    Source("TRPO", "CartPole-v1", _contrib("TRPO", n_steps=128), actor_critic, library="sb3-contrib"),
    Source("TQC", "Pendulum-v1", _contrib("TQC", **_OFF_POLICY), normal_means, library="sb3-contrib"),
    _of_cleanrl("ppo.py", "CartPole-v1"),
    _of_cleanrl("ppo_continuous_action.py", "Pendulum-v1", normalized=True),
    _of_cleanrl(
        "ppo_atari.py", "DotGrey-v0", observation="images", stacked=4, world={"frame_stack": 4, "padding": "first"}
    ),
    _images("PPO", PPO, actor_critic),
    _images("PPO", PPO, actor_critic, stacked=4),
    _images("PPO", PPO, actor_critic, environment="MiniGrid-DoorKey-5x5-v0"),
    _images("PPO, means", PPO, actor_critic, environment="DotSteered-v0"),
    _images("A2C", A2C, actor_critic),
    _images("DQN", DQN, action_values, stacked=2),
    _images("SAC", SAC, normal_means),
    _images("TD3", TD3, squashed),
    _images("DDPG", DDPG, squashed, stacked=2),
]
