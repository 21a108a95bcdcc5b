"""How fast presets train where each rollout is collected beside the update on the one before (`ppo.overlap`).

    python benchmarks/overlap_rate.py carracing lunarlander-pixels [--rounds 3] [--threads 1] [--out FILE]

Rates are steps a second by the clock, since two threads work: nothing else may run on the machine. Both ways alternate,
and a ratio is the median over rounds of the ratios within a round. The bound is that of an update which costs nothing
beside its rollout, or the reverse.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from stable_baselines3 import PPO

from rlstitch.agents.card import current_versions
from rlstitch.api.train import draft_card
from rlstitch.config.training import load_config
from rlstitch.jobs.resources import torch_threads
from rlstitch.storage import write_table
from rlstitch.training.ppo import build_ppo

ROLLOUTS = 8
"""Of one measurement; the first rollout of a training has no update beside it."""


class Clock:
    """Adds up the seconds of a model's updates."""

    def __init__(self, model: PPO) -> None:
        self.seconds, self._update = 0.0, model.train
        model.train = self  # type: ignore[method-assign]

    def __call__(self) -> None:
        started = time.perf_counter()
        self._update()
        self.seconds += time.perf_counter() - started


def rates(preset: str, rounds: int) -> dict[str, Any]:
    """Return steps a second of both ways, their ratio, and its bound by the shares of rollouts and updates alone."""
    config = load_config(preset)
    card, _ = draft_card(config)
    models = [build_ppo(card, num_envs=config.num_envs, **config.ppo.model_dump() | {"overlap": on}) for on in (0, 1)]
    clock, steps, measured = Clock(models[0]), ROLLOUTS * config.ppo.n_steps * config.num_envs, []
    for model in models:
        model.learn(steps)
    for _ in range(rounds):
        clock.seconds, seconds = 0.0, []
        for model in models:
            started = time.perf_counter()
            model.learn(steps, reset_num_timesteps=False)
            seconds.append(time.perf_counter() - started)
        measured.append((*seconds, clock.seconds))
    for model in models:
        model.env.close()
    return {
        "preset": preset,
        "alone": steps / statistics.median(alone for alone, _, _ in measured),
        "overlapped": steps / statistics.median(beside for _, beside, _ in measured),
        "ratio": statistics.median(alone / beside for alone, beside, _ in measured),
        "bound": statistics.median(alone / max(update, alone - update) for alone, _, update in measured),
    }


def main() -> None:
    """Print and write the rows of presets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="+", help="names of presets, or files")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="torch threads of each of the two")
    parser.add_argument("--out", type=Path, help="where to write a table, without suffix")
    options = parser.parse_args()
    rows = []
    with torch_threads(options.threads):
        for preset in options.presets:
            rows.append(rates(preset, options.rounds))
            print(rows[-1], flush=True)
    if options.out:
        write_table(rows, options.out)
    print(current_versions())


if __name__ == "__main__":
    main()
