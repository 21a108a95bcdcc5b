"""Train one agent by plain Stable-Baselines3: `python train.py LOOK SEED FILE`. It knows nothing of rlstitch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import gymnasium
import harbour  # noqa: F401 (registers Harbour-v0)
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

LOOKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "negative": lambda image: 255 - image,
    "swapped": lambda image: np.ascontiguousarray(image[..., ::-1]),
}
"""The user's own two ways to draw the environment."""


class UntilSuccess(BaseCallback):
    """Ends the training where each of the last 100 episodes reached the buoy, in five moves on average."""

    def _on_step(self) -> bool:
        ended = self.model.ep_info_buffer or ()
        moves = sum(episode["l"] for episode in ended) / 100
        return len(ended) < 100 or moves > 5 or sum(self.model.ep_success_buffer or ()) < 100


def train(look: str, seed: int, file: str, steps: int = 120_000) -> None:
    """Train and save one agent."""
    torch.set_num_threads(1)

    def drawn(environment: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        return gymnasium.wrappers.TransformObservation(environment, LOOKS[look], environment.observation_space)

    environments = make_vec_env("Harbour-v0", n_envs=16, seed=seed, wrapper_class=drawn)
    model = PPO(
        "CnnPolicy", environments, n_steps=64, batch_size=256, n_epochs=4, gamma=0.9, ent_coef=0.01,
        learning_rate=1e-3, policy_kwargs={"features_extractor_kwargs": {"features_dim": 128}}, seed=seed, device="cpu",
        verbose=1,
    )  # fmt: skip
    model.learn(steps, callback=UntilSuccess(), log_interval=10)
    model.save(file)


if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]), sys.argv[3])
