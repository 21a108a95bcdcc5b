"""How fast PPO trains here, beside the same PPO on an environment that costs nothing, and beside the stock way.

Network, PPO settings, number of environments and steps are equal in all rows; only the environments differ:

- `free`: hands out the same observations again and again: the ceiling that gradient steps and rollout allow;
- `rlstitch`: `make_vec` and `StableBaselinesVecEnv`, updates as Stable-Baselines3 makes them;
- `rlstitch, distinct`: the same, each distinct view of a minibatch encoded once, as `rlstitch train` does;
- `stock dummy`, `stock subproc`: `RGBImgPartialObsWrapper` in Stable-Baselines3's own vector environments.

    python benchmarks/training_rate.py [--rounds 3] [--steps 16384] [--threads 2]

Rows of one round run one after the other; a ratio is the median over rounds of the ratios within a round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from rlstitch.agents.card import current_versions
from rlstitch.envs import StableBaselinesVecEnv, World, make_vec
from rlstitch.training.buffer import DistinctRolloutBuffer
from rlstitch.training.policy import EncoderControllerPolicy, EncoderExtractor
from rlstitch.training.ppo import compute_distinct_once

ENVIRONMENT = "MiniGrid-DoorKey-5x5-v0"
NUM_ENVS, N_STEPS, EPOCHS, MINIBATCHES = 16, 128, 4, 4


class FreeVecEnv(VecEnv):
    """An environment that costs nothing: the same observations at every step, an episode that never ends."""

    def __init__(self, num_envs: int, shape: tuple[int, ...], actions: int) -> None:
        super().__init__(num_envs, spaces.Box(0, 255, shape, np.uint8), spaces.Discrete(actions))
        self.observations = np.random.default_rng(0).integers(0, 255, (num_envs, *shape), dtype=np.uint8)
        self.rewards = np.zeros(num_envs, np.float32)
        self.dones = np.zeros(num_envs, bool)
        self.infos: list[dict[str, Any]] = [{} for _ in range(num_envs)]

    def reset(self) -> np.ndarray:
        return self.observations

    def step_async(self, actions: np.ndarray) -> None:
        pass

    def step_wait(self) -> Any:
        return self.observations, self.rewards, self.dones, self.infos

    def close(self) -> None:
        pass

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        pass

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        return [None] * self.num_envs

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs


def stock_environment() -> gymnasium.Env[Any, Any]:
    """One MiniGrid environment with its own image wrapper, as its documentation has it."""
    from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper
    from stable_baselines3.common.monitor import Monitor

    return Monitor(ImgObsWrapper(RGBImgPartialObsWrapper(gymnasium.make(ENVIRONMENT))))


def make(kind: str) -> VecEnv:
    """Make the environments of a row."""
    if kind == "free":
        return FreeVecEnv(NUM_ENVS, (3, 56, 56), 7)
    if kind == "rlstitch":
        return StableBaselinesVecEnv(make_vec(World(ENVIRONMENT), NUM_ENVS, seed=0))
    if kind == "stock dummy":
        return DummyVecEnv([stock_environment] * NUM_ENVS)
    return SubprocVecEnv([stock_environment] * NUM_ENVS, start_method="forkserver")


def rate(kind: str, arch: str, steps: int, precision: str = "float32", distinct: bool = False) -> float:
    """Train for `steps` steps after a warm-up of one rollout and return steps a second.

    `distinct`: encode each distinct view of a minibatch once, with a fused optimiser, as `rlstitch train` does.
    """
    environments = make(kind)
    model = PPO(
        EncoderControllerPolicy,
        environments,
        n_steps=N_STEPS,
        batch_size=NUM_ENVS * N_STEPS // MINIBATCHES,
        n_epochs=EPOCHS,
        learning_rate=1e-3,
        device="cpu",
        seed=0,
        rollout_buffer_class=DistinctRolloutBuffer if distinct else None,
        policy_kwargs={
            "precision": precision,
            "optimizer_kwargs": {"eps": 1e-5, "fused": distinct},
            "controller_spec": {"latent_dim": 256, "actions": {"kind": "discrete", "n": 7}, "hidden": [64]},
            "features_extractor_class": EncoderExtractor,
            "features_extractor_kwargs": {
                "encoder_spec": {"kind": "cnn", "arch": arch, "image_shape": [56, 56, 3], "latent_dim": 256}
            },
        },
    )
    if distinct:
        compute_distinct_once(model)
    model.learn(NUM_ENVS * N_STEPS)
    started = time.perf_counter()
    model.learn(steps, reset_num_timesteps=False)
    seconds = time.perf_counter() - started
    environments.close()
    return steps / seconds


def main() -> None:
    """Run all rows and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=16_384)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    kinds = ("free", "rlstitch", "stock dummy", "stock subproc")
    result: dict[str, Any] = {"threads": options.threads, "versions": current_versions(), "encoders": {}}
    for arch in ("small", "nature"):
        rounds = [
            {
                **{kind: rate(kind, arch, options.steps) for kind in kinds},
                "rlstitch, distinct": rate("rlstitch", arch, options.steps, distinct=True),
                "rlstitch, distinct, bfloat16": rate("rlstitch", arch, options.steps, "bfloat16", distinct=True),
            }
            for _ in range(options.rounds)
        ]
        table = {kind: statistics.median(r[kind] for r in rounds) for kind in rounds[0]}
        to_ceiling = statistics.median(r["rlstitch"] / r["free"] for r in rounds)
        to_stock = statistics.median(r["rlstitch"] / max(r["stock dummy"], r["stock subproc"]) for r in rounds)
        result["encoders"][arch] = {"steps_per_second": table, "of_ceiling": to_ceiling, "of_stock": to_stock}
        print(f"{arch}: " + ", ".join(f"{kind} {value:,.0f} steps/s" for kind, value in table.items()))
        print(f"{arch}: {to_ceiling:.1%} of the ceiling, {to_stock:.2f} x the better stock way")
    if options.out is not None:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
