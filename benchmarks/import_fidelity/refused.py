"""Which models are refused, and by which words?

    python benchmarks/import_fidelity/refused.py [--out docs/results/import-refused.json]

Models that an import could only take wrongly, each made by its own library where there is one. sb3-contrib must be
installed.
"""

from __future__ import annotations

import argparse
import json
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import sb3_contrib
import torch
from gymnasium import spaces
from sources import CleanRL, register
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize
from torch import nn

from rlstitch.api.import_agent import import_agent
from rlstitch.envs import World
from rlstitch.errors import RlstitchError

Make = Callable[[Path], tuple[Path, dict[str, Any]]]
"""Writes a model into a folder; returns its file and options of the import."""


class OwnPolicy(ActorCriticPolicy):
    """A policy of a user's own."""


class OwnCNN(NatureCNN):
    """An extractor of a user's own, of NatureCNN's shapes."""


class OwnNormalize(VecNormalize):
    """A normalization of a user's own."""


class Trap:
    """A pickle that would make a folder."""

    def __reduce__(self) -> Any:
        return Path.mkdir, (Path("sprung"),)


def _pair(environment: str) -> gymnasium.Env[Any, Any]:
    """Two observations in a dictionary."""
    made = gymnasium.make(environment)
    space = spaces.Dict({"one": made.observation_space, "two": made.observation_space})
    return gymnasium.wrappers.TransformObservation(made, lambda seen: {"one": seen, "two": seen}, space)


def _normalized(kind: type[VecNormalize], folder: Path) -> tuple[Path, dict[str, Any]]:
    environments = kind(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")]))
    environments.save(str(folder / "statistics.pkl"))
    PPO("MlpPolicy", environments, device="cpu").save(folder / "model.zip")
    return folder / "model.zip", {"normalization": folder / "statistics.pkl"}


def _trap(folder: Path) -> tuple[Path, dict[str, Any]]:
    PPO("MlpPolicy", "CartPole-v1", device="cpu").save(folder / "model.zip")
    (folder / "statistics.pkl").write_bytes(pickle.dumps(Trap()))
    return folder / "model.zip", {"normalization": folder / "statistics.pkl"}


def _cleanrl(change: Callable[[dict[str, Any]], Any]) -> Make:
    def make(folder: Path) -> tuple[Path, dict[str, Any]]:
        path = folder / "agent.cleanrl_model"
        torch.save(change(CleanRL("ppo.py", 4, 2).state_dict()), path)
        return path, {"normalization": None if change is dict else "none"}

    return make


def _model(
    kind: type[BaseAlgorithm], policy: Any = "MlpPolicy", environment: Any = "CartPole-v1", **settings: Any
) -> Make:
    def make(folder: Path) -> tuple[Path, dict[str, Any]]:
        made = environment() if callable(environment) else environment
        kind(policy, made, device="cpu", **settings).save(folder / "model.zip")  # type: ignore[call-arg]
        return folder / "model.zip", {}

    return make


def _stacked() -> VecFrameStack:
    return VecFrameStack(VecNormalize(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")])), 2)


def _stacked_statistics(folder: Path) -> tuple[Path, dict[str, Any]]:
    environments = _stacked()
    environments.venv.save(str(folder / "statistics.pkl"))  # type: ignore[attr-defined]
    PPO("MlpPolicy", environments, device="cpu").save(folder / "model.zip")
    return folder / "model.zip", {"normalization": folder / "statistics.pkl"}


CASES: dict[str, tuple[str, Make]] = {
    "RecurrentPPO (sb3-contrib)": ("CartPole-v1", _model(sb3_contrib.RecurrentPPO, "MlpLstmPolicy")),
    "QRDQN (sb3-contrib)": ("CartPole-v1", _model(sb3_contrib.QRDQN)),
    "ARS (sb3-contrib)": ("CartPole-v1", _model(sb3_contrib.ARS)),
    "CrossQ (sb3-contrib)": ("Pendulum-v1", _model(sb3_contrib.CrossQ, environment="Pendulum-v1", buffer_size=9)),
    "PPO, a policy of one's own": ("CartPole-v1", _model(PPO, OwnPolicy)),
    "PPO, an extractor of one's own without --extractor": (
        "Dot-v0",
        _model(PPO, "CnnPolicy", "Dot-v0", policy_kwargs={"features_extractor_class": OwnCNN}),
    ),
    "PPO, LeakyReLU": ("CartPole-v1", _model(PPO, policy_kwargs={"activation_fn": nn.LeakyReLU})),
    "PPO, no hidden layers": ("CartPole-v1", _model(PPO, policy_kwargs={"net_arch": []})),
    "PPO, state-dependent exploration": ("Pendulum-v1", _model(PPO, environment="Pendulum-v1", use_sde=True)),
    "SAC, state-dependent exploration": (
        "Pendulum-v1",
        _model(SAC, environment="Pendulum-v1", use_sde=True, buffer_size=9),
    ),
    "PPO, images that are not divided by 255": (
        "Dot-v0",
        _model(PPO, "CnnPolicy", "Dot-v0", policy_kwargs={"normalize_images": False}),
    ),
    "PPO, MlpPolicy on images": ("Dot-v0", _model(PPO, "MlpPolicy", "Dot-v0")),
    "PPO, several observations": ("CartPole-v1", _model(PPO, "MultiInputPolicy", lambda: _pair("CartPole-v1"))),
    "PPO of images, in a world of vectors": ("CartPole-v1", _model(PPO, "CnnPolicy", "Dot-v0")),
    "DQN of vectors, in a world of others": ("CartPole-v1", _model(DQN, environment="Acrobot-v1", buffer_size=9)),
    "PPO of continuous actions, in a world of discrete ones": (
        "MountainCar-v0",
        _model(PPO, environment="MountainCarContinuous-v0"),
    ),
    "PPO, a VecNormalize of one's own": ("CartPole-v1", lambda folder: _normalized(OwnNormalize, folder)),
    "PPO, VecNormalize under VecFrameStack": ("CartPole-v1", _stacked_statistics),
    "PPO, statistics that run code when unpickled": ("CartPole-v1", _trap),
    "CleanRL ppo.py, preprocessing not stated": ("CartPole-v1", _cleanrl(dict)),
    "CleanRL dqn.py": ("CartPole-v1", _cleanrl(lambda _: {"network.0.weight": torch.zeros(120, 4)})),
    "CleanRL ppo_atari_lstm.py": ("CartPole-v1", _cleanrl(lambda own: {**own, "lstm.weight_ih_l0": torch.zeros(2, 2)})),
    "CleanRL sac_continuous_action.py": (
        "CartPole-v1",
        _cleanrl(lambda _: {"fc1.weight": torch.zeros(4, 4), "fc_mean.weight": torch.zeros(2, 4)}),
    ),
    "CleanRL, a whole module in the place of a state dict": (
        "CartPole-v1",
        _cleanrl(lambda _: CleanRL("ppo.py", 4, 2)),
    ),
}


def main() -> None:
    """Parse, try every case and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    register()
    rows = {}
    for name, (environment, make) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            path, given = make(Path(folder))
            try:
                import_agent(path, name="x", world=World(environment), episodes=0, agents=Path(folder), **given)
                rows[name] = "NOT REFUSED"
            except RlstitchError as error:
                rows[name] = str(error).replace(f"{folder}/", "")
        print(f"{name}: {rows[name]}", flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")
    if wrong := [name for name, message in rows.items() if message == "NOT REFUSED" or "\n" in message]:
        raise SystemExit(f"not refused in one line: {wrong}")


if __name__ == "__main__":
    main()
