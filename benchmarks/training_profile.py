"""Where the time of a training goes: environment, rollout forward passes, gradient steps, the rest.

python benchmarks/training_profile.py [--arch small|nature] [--steps 16384] [--threads 1] [--no-distinct]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from stable_baselines3 import PPO

from rlstitch.envs import StableBaselinesVecEnv, World, make_vec
from rlstitch.training.buffer import DistinctRolloutBuffer
from rlstitch.training.policy import EncoderControllerPolicy, EncoderExtractor
from rlstitch.training.ppo import compute_distinct_once

ENVIRONMENT = "MiniGrid-DoorKey-5x5-v0"


def timed(seconds: Counter[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function so that its time is added up under a name."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[name] += time.perf_counter() - started  # type: ignore[assignment]

    return wrapper


def main() -> None:
    """Train with timers and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="small")
    parser.add_argument("--steps", type=int, default=16_384)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--distinct", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    environments = StableBaselinesVecEnv(make_vec(World(ENVIRONMENT), 16, seed=0))
    encoder = {"kind": "cnn", "arch": options.arch, "image_shape": [56, 56, 3], "latent_dim": 256}
    model = PPO(
        EncoderControllerPolicy,
        environments,
        n_steps=128,
        batch_size=256,
        n_epochs=4,
        learning_rate=1e-3,
        device="cpu",
        seed=0,
        rollout_buffer_class=DistinctRolloutBuffer if options.distinct else None,
        policy_kwargs={
            "controller_spec": {"latent_dim": 256, "actions": {"kind": "discrete", "n": 7}, "hidden": [64]},
            "features_extractor_class": EncoderExtractor,
            "features_extractor_kwargs": {"encoder_spec": encoder},
        },
    )
    if options.distinct:
        compute_distinct_once(model)
    model.learn(2048)
    seconds: Counter[str] = Counter()
    vector_env = environments.environment if hasattr(environments, "environment") else None
    environments.step_wait = timed(seconds, "environment and adapter", environments.step_wait)  # type: ignore[method-assign]
    if vector_env is not None:
        vector_env.step = timed(seconds, "of which: environment", vector_env.step)
    model.policy.forward = timed(seconds, "rollout: forward pass and sampling", model.policy.forward)
    model.train = timed(seconds, "gradient steps", model.train)  # type: ignore[method-assign]
    started = time.perf_counter()
    model.learn(options.steps, reset_num_timesteps=False)
    total = time.perf_counter() - started
    rest = total - sum(value for name, value in seconds.items() if not name.startswith("of which"))
    print(f"{options.arch} encoder, {options.threads} thread(s): {options.steps / total:,.0f} steps/s")
    for name, value in [*seconds.most_common(), ("rest: buffer, advantages, loop", rest)]:
        print(f"  {value / total:6.1%}  {name}")


if __name__ == "__main__":
    main()
