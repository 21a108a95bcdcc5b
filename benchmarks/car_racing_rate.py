"""Training on CarRacing: the same PPO with envpool's environments and with Gymnasium's in processes of their own.

    python benchmarks/car_racing_rate.py [--decisions 8192] [--envs 16] [--steps 128]

Both train the preset's encoder on the preset's observations (five actions of four frames, two stacked images of
48 x 48); the only difference is who steps and draws. Prints decisions a second of each, learning included, and their
ratio. Run it on an idle machine. Needs `pip install "rlstitch[box2d,fast]"`.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def rate(backend: str, decisions: int, num_envs: int, steps: int) -> float:
    """Decisions a second of a training of so many, from the second rollout on: the first warms everything up."""
    from rlstitch.api.train import draft_card
    from rlstitch.config.training import load_config
    from rlstitch.training.ppo import build_ppo

    changes = {"backend": backend, "num_envs": num_envs, "device": "cpu", "ppo.n_steps": steps}
    config = load_config("carracing", changes)
    card, _ = draft_card(config)
    model = build_ppo(card, num_envs=num_envs, workers=int(backend == "gymnasium"), **config.ppo.model_dump())
    model.learn(config.ppo.n_steps * num_envs)
    start, before = time.perf_counter(), model.num_timesteps
    model.learn(decisions, reset_num_timesteps=False)
    seconds = time.perf_counter() - start
    environments = model.get_env()
    if environments is not None:
        environments.close()
    return (model.num_timesteps - before) / seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--decisions", type=int, default=8192)
    parser.add_argument("--envs", type=int, default=16)
    parser.add_argument("--steps", type=int, default=128, help="of each environment in a rollout")
    options = parser.parse_args()
    sizes = (options.decisions, options.envs, options.steps)
    rates = {backend: rate(backend, *sizes) for backend in ("gymnasium", "envpool")}
    for backend, result in rates.items():
        print(f"{backend:<10} {result:7.1f} decisions/s")
    print(f"{'ratio':<10} {rates['envpool'] / rates['gymnasium']:7.2f}")


if __name__ == "__main__":
    main()
