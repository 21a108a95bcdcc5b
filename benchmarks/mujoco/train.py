"""Train one agent by plain Stable-Baselines3: `python train.py LAYOUT SEED FILE`. It knows nothing of rlstitch."""

from __future__ import annotations

import sys
from typing import Any

import gymnasium
import numpy as np
import pendulum  # noqa: F401 (registers TwoLayoutPendulum-v0)
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback


class OneLayout(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Shows one of the two layouts."""

    def __init__(self, environment: gymnasium.Env[Any, Any], layout: str) -> None:
        super().__init__(environment)
        self.layout = layout
        self.observation_space = environment.observation_space[layout]

    def observation(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        """Return the layout's vector."""
        return observation[self.layout]


class UntilBalanced(BaseCallback):
    """Ends the training where each of the last ten episodes lasted to the limit of 1000 steps."""

    def _on_step(self) -> bool:
        lengths = [episode["l"] for episode in self.model.ep_info_buffer or ()][-10:]
        return len(lengths) < 10 or min(lengths) < 1000


def train(layout: str, seed: int, file: str, steps: int = 50_000) -> None:
    """Train and save one agent."""
    torch.set_num_threads(1)
    environment = OneLayout(gymnasium.make("TwoLayoutPendulum-v0"), layout)
    model = SAC(
        "MlpPolicy", environment, learning_rate=1e-3, learning_starts=1000, gamma=0.98,
        policy_kwargs={"net_arch": [64, 64]}, seed=seed, device="cpu", verbose=1,
    )  # fmt: skip
    model.learn(steps, callback=UntilBalanced(), log_interval=50)
    model.save(file)


if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]), sys.argv[3])
