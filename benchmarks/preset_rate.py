"""How fast presets train, beside the same PPO with an environment that costs nothing, and where the time goes.

    python benchmarks/preset_rate.py atari-pong atari-boxing-ram [--set KEY=VALUE] [--rounds 3] [--out FILE]

The free environment hands out the observations of one recorded rollout of random actions again and again. Rates are
steps a second of processor time, so that other work on the machine counts little; one thread. Free and real rollouts
alternate, and a share is the median over rounds of the shares within a round.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnvWrapper

from rlstitch.agents.card import current_versions
from rlstitch.api.train import draft_card
from rlstitch.config.training import TrainConfig, load_config
from rlstitch.storage import write_table
from rlstitch.training.ppo import build_ppo


class Timed(VecEnvWrapper):
    """Adds up the processor time of steps; once `free`, hands out what was recorded instead of stepping."""

    def __init__(self, environments: Any, record: int) -> None:
        super().__init__(environments)
        self.seconds, self.free, self._next = 0.0, False, 0
        rng = np.random.default_rng(0)
        actions = rng.integers(environments.action_space.n, size=(record, environments.num_envs))
        environments.reset()
        self._steps = [environments.step(each) for each in actions]

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        if self.free:
            self._next = (self._next + 1) % len(self._steps)
            return self._steps[self._next]
        started = time.process_time()
        result = self.venv.step_wait()
        self.seconds += time.process_time() - started
        return result


def build(config: TrainConfig) -> tuple[PPO, Timed]:
    """Return the PPO of a preset, around environments that can be timed and replaced."""
    card, _ = draft_card(config)
    model = build_ppo(card, num_envs=config.num_envs, precision=config.precision, **config.ppo.model_dump())
    model.env = timed = Timed(model.env, config.ppo.n_steps)
    return model, timed


def seconds_of_rollout(model: PPO) -> float:
    """Return the processor time of one rollout and its update."""
    started = time.process_time()
    model.learn(model.n_steps * model.n_envs, reset_num_timesteps=False)
    return time.process_time() - started


def rates(preset: str, overrides: list[str], rounds: int) -> dict[str, Any]:
    """Return steps a second, the share of the free rate, and the shares of environment and update."""
    config = load_config(preset, overrides)
    model, timed = build(config)
    seconds_of_rollout(model)
    steps, measured = config.ppo.n_steps * config.num_envs, []
    for _ in range(rounds):
        timed.free, timed.seconds = False, 0.0
        real = seconds_of_rollout(model)
        timed.free = True
        measured.append((real, seconds_of_rollout(model), timed.seconds))
    model.env.close()
    return {
        "preset": preset,
        "steps_per_second": round(steps / statistics.median(real for real, _, _ in measured)),
        "free": round(steps / statistics.median(free for _, free, _ in measured)),
        "share_of_free": round(statistics.median(free / real for real, free, _ in measured), 3),
        "environment_share": round(statistics.median(stepping / real for real, _, stepping in measured), 3),
        "versions": str(current_versions()),
    }


def main() -> None:
    """Measure and print each preset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="+")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another key of the configs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for preset in options.presets:
        rows.append(rates(preset, options.set, options.rounds))
        print(rows[-1], flush=True)
    if options.out is not None:
        write_table(rows, options.out)


if __name__ == "__main__":
    main()
