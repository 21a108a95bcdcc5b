"""Tiny models that Stable-Baselines3 itself trained and saved, and zips that are none."""

from __future__ import annotations

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
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

SHAPE = (rooms.SIZE, rooms.SIZE, 3)
_ONCE = {"n_steps": 16, "batch_size": 16, "n_epochs": 1}


class TinyExtractor(BaseFeaturesExtractor):
    """An extractor of a user's own, with a buffer of whole numbers (BatchNorm) in it."""

    def __init__(self, observation_space: Any, features_dim: int = 8) -> None:
        super().__init__(observation_space, features_dim)
        self.net = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten())
        self.out = nn.Linear(4 * 25, features_dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.out(self.net(images))


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
    "dqn": lambda: _made(DQN, rooms.DISCRETE, buffer_size=64, learning_starts=8),
    "dqn-mlp": lambda: _made(DQN, rooms.DISCRETE, buffer_size=64, learning_starts=8, **_policy(net_arch=[16, 8])),
    "own": lambda: _made(
        PPO,
        rooms.DISCRETE,
        **_ONCE,
        **_policy(features_extractor_class=TinyExtractor, features_extractor_kwargs={"features_dim": 6}),
    ),
}


def _made(kind: type[BaseAlgorithm], environment: str, **kwargs: Any) -> BaseAlgorithm:
    room = gymnasium.wrappers.TimeLimit(rooms.DotRoom(steered=environment == rooms.CONTINUOUS), 25)
    return kind("CnnPolicy", room, device="cpu", seed=0, **kwargs)  # type: ignore[call-arg]


def trained(name: str, folder: Path, steps: int = 96) -> tuple[BaseAlgorithm, Path]:
    """Train one of `MODELS` a little and save it; returns the model and its zip."""
    model = MODELS[name]()
    model.learn(steps)
    with torch.no_grad():  # outputs that differ from observation to observation
        head = model.policy.q_net.q_net[-1] if isinstance(model, DQN) else model.policy.action_net
        head.weight.mul_(5.0)
    model.save(folder / f"{name}.zip")
    return model, folder / f"{name}.zip"


def pictures(count: int = 64, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in ("data", "policy.pth")}


def zipped(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
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
