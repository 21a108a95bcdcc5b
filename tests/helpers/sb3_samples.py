"""Tiny models that Stable-Baselines3 itself trained and saved, and zips that are none."""

from __future__ import annotations

import functools
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import rooms
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3, sac
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor, NatureCNN
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack
from stable_baselines3.dqn.policies import CnnPolicy
from torch import nn

SHAPE = (rooms.SIZE, rooms.SIZE, 3)
_ONCE = {"n_steps": 16, "batch_size": 16, "n_epochs": 1}
_OFF = {"buffer_size": 64, "batch_size": 4, "learning_starts": 90}
LOW, HIGH = (-2.0, 0.5), (1.0, 3.0)
"""Bounds of `rescaled` actions."""


class TinyExtractor(BaseFeaturesExtractor):
    """An extractor of a user's own, with a buffer of whole numbers (BatchNorm) in it."""

    def __init__(self, observation_space: Any, features_dim: int = 8) -> None:
        super().__init__(observation_space, features_dim)
        self.net = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten())
        self.out = nn.Linear(4 * 25, features_dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.out(self.net(images))


class CentredCNN(NatureCNN):
    """Of the shapes of NatureCNN, and another function."""

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return super().forward(2 * observations - 1)


class EluCNN(NatureCNN):
    """As `CentredCNN`."""

    def __init__(self, observation_space: Any, features_dim: int = 512) -> None:
        super().__init__(observation_space, features_dim)
        self.cnn = nn.Sequential(*[nn.ELU() if isinstance(layer, nn.ReLU) else layer for layer in self.cnn])


class ReluPolicy(ActorCriticCnnPolicy):
    """Its hidden layers are not those that its keyword arguments say."""

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = MlpExtractor(self.features_dim, self.net_arch, nn.ReLU, self.device)


class EmptyPolicy(ActorCriticCnnPolicy):
    """Prints no method."""


class OwnQPolicy(CnnPolicy):
    """A Q-network of a user's own."""

    def forward(self, obs: torch.Tensor, deterministic: bool = True) -> torch.Tensor:
        return super().forward(255 - obs, deterministic)


class OwnActorPolicy(sac.policies.CnnPolicy):
    """An actor of a user's own."""

    def _predict(self, observation: torch.Tensor, deterministic: bool = False) -> torch.Tensor:
        return -super()._predict(observation, deterministic)


class SlopedCNN(BaseFeaturesExtractor):
    """An extractor with an argument that no weight tells."""

    def __init__(
        self, observation_space: Any, features_dim: int = 8, slope: float = 0.0, layer: Any = nn.Linear
    ) -> None:
        super().__init__(observation_space, features_dim)
        width = int(np.prod(observation_space.shape))
        self.net = nn.Sequential(nn.Flatten(), layer(width, features_dim), nn.LeakyReLU(slope))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(images)


class FloatRoom(gymnasium.ObservationWrapper):
    """Images of floats in [0, 1], channels first."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.observation_space = spaces.Box(0, 1, (3, rooms.SIZE, rooms.SIZE), np.float32)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return np.moveaxis(observation, -1, 0).astype(np.float32) / 255


class DictRoom(gymnasium.ObservationWrapper):
    """Two images."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.observation_space = spaces.Dict({"near": env.observation_space, "far": env.observation_space})

    def observation(self, observation: np.ndarray) -> dict[str, np.ndarray]:
        return {"near": observation, "far": observation}


class PairRoom(gymnasium.ActionWrapper):
    """As many logits as four actions, in two choices."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.action_space = spaces.MultiDiscrete([2, 2])

    def action(self, action: Any) -> int:
        return int(2 * action[0] + action[1])


def _policy(**kwargs: Any) -> dict[str, Any]:
    return {"policy_kwargs": kwargs}


MODELS: dict[str, Callable[[], BaseAlgorithm]] = {
    "ppo": lambda: _made(PPO, rooms.DISCRETE, **_ONCE),
    "ppo-mlp": lambda: _made(PPO, rooms.DISCRETE, **_ONCE, **_policy(net_arch=[12, 8])),
    "ppo-value-mlp": lambda: _made(PPO, rooms.DISCRETE, **_ONCE, **_policy(net_arch={"pi": [], "vf": [9]})),
    "ppo-unshared": lambda: _made(PPO, rooms.DISCRETE, **_ONCE, **_policy(share_features_extractor=False)),
    "a2c": lambda: _made(A2C, rooms.DISCRETE, learning_rate=1e-5),
    "a2c-box": lambda: _made(
        A2C, rooms.CONTINUOUS, **_policy(net_arch={"pi": [8], "vf": [8, 4]}, activation_fn=nn.ReLU, log_std_init=-1.0)
    ),
    "dqn": lambda: _made(DQN, rooms.DISCRETE, **_OFF),
    "dqn-mlp": lambda: _made(DQN, rooms.DISCRETE, **_OFF, **_policy(net_arch=[16, 8])),
    "ppo-mlp-policy": lambda: _made(
        PPO,
        rooms.DISCRETE,
        policy="MlpPolicy",
        **_ONCE,
        **_policy(features_extractor_class=NatureCNN, features_extractor_kwargs={"features_dim": 32}),
    ),
    "ppo-relu": lambda: _made(PPO, rooms.DISCRETE, **_ONCE, **_policy(net_arch=[8], activation_fn=nn.ReLU)),
    "dqn-tanh": lambda: _made(DQN, rooms.DISCRETE, **_OFF, **_policy(net_arch=[16], activation_fn=nn.Tanh)),
    "ppo-stacked": lambda: _made(PPO, rooms.DISCRETE, wrapper=stacked, **_ONCE),
    "sac": lambda: _made(SAC, rooms.CONTINUOUS, wrapper=rescaled, **_OFF, **_policy(net_arch=[8])),
    "sac-shared": lambda: _made(
        SAC, rooms.CONTINUOUS, wrapper=rescaled, **_OFF, **_policy(net_arch=[], share_features_extractor=True)
    ),
    "td3": lambda: _made(
        TD3,
        rooms.CONTINUOUS,
        wrapper=rescaled,
        **_OFF,
        **_policy(net_arch={"pi": [8], "qf": [4]}, activation_fn=nn.Tanh),
    ),
    "ddpg": lambda: _made(DDPG, rooms.CONTINUOUS, wrapper=rescaled, **_OFF, **_policy(net_arch=[8, 6])),
    "sloped": lambda: _made(
        PPO,
        rooms.DISCRETE,
        **_ONCE,
        **_policy(features_extractor_class=SlopedCNN, features_extractor_kwargs={"features_dim": 6, "slope": 0.7}),
    ),
    "own": lambda: _made(
        PPO,
        rooms.DISCRETE,
        **_ONCE,
        **_policy(features_extractor_class=TinyExtractor, features_extractor_kwargs={"features_dim": 6}),
    ),
}


OTHERS: dict[str, Callable[[], BaseAlgorithm]] = {
    "centred": lambda: _made(PPO, rooms.DISCRETE, **_ONCE, **_policy(features_extractor_class=CentredCNN)),
    "elu": lambda: _made(A2C, rooms.DISCRETE, **_policy(features_extractor_class=EluCNN)),
    "partial": lambda: _made(
        PPO, rooms.DISCRETE, **_ONCE, **_policy(features_extractor_class=functools.partial(EluCNN, features_dim=32))
    ),
    "relu-policy": lambda: _made(PPO, rooms.DISCRETE, policy=ReluPolicy, **_ONCE, **_policy(net_arch=[8])),
    "empty-policy": lambda: _made(PPO, rooms.DISCRETE, policy=EmptyPolicy, **_ONCE),
    "local-policy": lambda: _made(PPO, rooms.DISCRETE, policy=_local_policy(), **_ONCE),
    "q-policy": lambda: _made(DQN, rooms.DISCRETE, policy=OwnQPolicy, buffer_size=8),
    "flat": lambda: _made(PPO, rooms.DISCRETE, policy="MlpPolicy", **_ONCE),
    "sac-sde": lambda: _made(SAC, rooms.CONTINUOUS, use_sde=True, buffer_size=8),
    "sac-policy": lambda: _made(SAC, rooms.CONTINUOUS, policy=OwnActorPolicy, buffer_size=8),
    "sde": lambda: _made(PPO, rooms.CONTINUOUS, use_sde=True, **_ONCE),
    "squashed": lambda: _made(PPO, rooms.CONTINUOUS, use_sde=True, **_ONCE, **_policy(squash_output=True)),
    "raw": lambda: _made(PPO, rooms.DISCRETE, **_ONCE, **_policy(normalize_images=False)),
    "leaky": lambda: _made(PPO, rooms.DISCRETE, **_ONCE, **_policy(net_arch=[8], activation_fn=nn.LeakyReLU)),
    "lambda": lambda: _made(PPO, rooms.DISCRETE, **_ONCE, **_policy(net_arch=[8], activation_fn=lambda: nn.ReLU())),
    "floats": lambda: _made(
        PPO, rooms.DISCRETE, wrapper=FloatRoom, **_ONCE, **_policy(features_extractor_kwargs={"normalized_image": True})
    ),
    "dictionary": lambda: _made(PPO, rooms.DISCRETE, policy="MultiInputPolicy", wrapper=DictRoom, **_ONCE),
    "pairs": lambda: _made(PPO, rooms.DISCRETE, wrapper=PairRoom, **_ONCE),
    "sloped-layer": lambda: _made(
        PPO,
        rooms.DISCRETE,
        **_ONCE,
        **_policy(features_extractor_class=SlopedCNN, features_extractor_kwargs={"slope": 0.7, "layer": nn.Linear}),
    ),
}
"""Models that are no stock policies on one image of bytes."""


def stacked(room: Any) -> VecFrameStack:
    """Four images in one observation."""
    return VecFrameStack(DummyVecEnv([lambda: room]), 4)


def rescaled(room: Any) -> gymnasium.Env[Any, Any]:
    """Actions between other bounds than -1 and 1."""
    low, high = (np.array(limit, dtype=np.float32) for limit in (LOW, HIGH))
    return gymnasium.wrappers.RescaleAction(room, low, high)


def _local_policy() -> type[ActorCriticCnnPolicy]:
    class Inner(ActorCriticCnnPolicy):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)

    return Inner


def _made(
    kind: type[BaseAlgorithm],
    environment: str,
    *,
    policy: Any = "CnnPolicy",
    wrapper: Callable[[Any], Any] = lambda room: room,
    **kwargs: Any,
) -> BaseAlgorithm:
    room = gymnasium.wrappers.TimeLimit(rooms.DotRoom(steered=environment == rooms.CONTINUOUS), 25)
    return kind(policy, wrapper(room), device="cpu", seed=0, **kwargs)  # type: ignore[call-arg]


def saved(name: str, folder: Path) -> Path:
    """Save one of `OTHERS` as it is; returns its zip."""
    OTHERS[name]().save(folder / f"{name}.zip")
    return folder / f"{name}.zip"


def trained(name: str, folder: Path, steps: int = 96) -> tuple[BaseAlgorithm, Path]:
    """Train one of `MODELS` a little and save it; returns the model and its zip."""
    model = MODELS[name]()
    model.learn(steps)
    with torch.no_grad():  # outputs that differ from observation to observation
        _head(model).weight.mul_(5.0)
    model.save(folder / f"{name}.zip")
    return model, folder / f"{name}.zip"


def _head(model: BaseAlgorithm) -> nn.Linear:
    policy: Any = model.policy
    if isinstance(model, DQN):
        return policy.q_net.q_net[-1]
    if isinstance(model, TD3):
        return policy.actor.mu[-2]
    return policy.actor.mu if isinstance(model, SAC) else policy.action_net


def pictures(count: int = 64, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in ("data", "policy.pth")}


def zipped(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression, compresslevel=1) as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    return path


def with_data(path: Path, source: Path, **changes: Any) -> Path:
    """A copy of a model whose JSON says something else; None leaves a key out."""
    content = members(source)
    data = {key: value for key, value in {**json.loads(content["data"]), **changes}.items() if value is not None}
    return zipped(path, {**content, "data": json.dumps(data).encode()})


def with_tensors(path: Path, source: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a model with other tensors."""
    content = members(source)
    tensors = torch.load(io.BytesIO(content["policy.pth"]), weights_only=True)
    change(tensors)
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return zipped(path, {**content, "policy.pth": buffer.getvalue()})


def torch_archive(instructions: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    """What `torch.save` writes around its list of tensors."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("archive/data.pkl", instructions)
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/version", b"3\n")
    return buffer.getvalue()
