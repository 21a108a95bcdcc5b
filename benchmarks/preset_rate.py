"""How fast presets train, beside the same PPO with an environment that costs nothing, and where the time goes.

    python benchmarks/preset_rate.py atari-pong atari-boxing-ram [--set KEY=VALUE] [--rounds 3] [--out FILE]
    python benchmarks/preset_rate.py carracing --processes 0 2

The free environment hands out the observations of one recorded rollout of random actions again and again. Rates are
steps a second of processor time, so that other work on the machine counts little; one thread. With environments in
other processes they are by the clock, and the machine should do nothing else. Free and real rollouts alternate, with
each number of processes in turn, and a share is the median over rounds of the shares within a round.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnvWrapper

from rlstitch.agents.card import current_versions
from rlstitch.api.train import draft_card
from rlstitch.config.training import TrainConfig, load_config
from rlstitch.storage import write_table
from rlstitch.training.ppo import build_ppo


class Timed(VecEnvWrapper):
    """Adds up the time of steps by `clock`; once `free`, hands out what was recorded instead of stepping."""

    def __init__(self, environments: Any, record: int, clock: Callable[[], float]) -> None:
        super().__init__(environments)
        self.seconds, self.free, self._next, self._clock = 0.0, False, 0, clock
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
        started = self._clock()
        result = self.venv.step_wait()
        self.seconds += self._clock() - started
        return result


class Training:
    """The PPO of a preset, around environments that are timed and replaced by free ones."""

    def __init__(self, config: TrainConfig, processes: int, clock: Callable[[], float]) -> None:
        card, _ = draft_card(config)
        ppo = config.ppo.model_dump()
        self._model = build_ppo(card, num_envs=config.num_envs, precision=config.precision, workers=processes, **ppo)
        self._model.env = self._timed = Timed(self._model.env, config.ppo.n_steps, clock)
        self.steps, self._clock = config.ppo.n_steps * config.num_envs, clock
        self._seconds_of_rollout()

    def _seconds_of_rollout(self) -> float:
        started = self._clock()
        self._model.learn(self.steps, reset_num_timesteps=False)
        return self._clock() - started

    def round(self) -> tuple[float, float, float]:
        """Return the seconds of a rollout and its update, of the same with a free environment, and of the steps."""
        self._timed.free, self._timed.seconds = False, 0.0
        real = self._seconds_of_rollout()
        self._timed.free = True
        return real, self._seconds_of_rollout(), self._timed.seconds

    def close(self) -> None:
        self._model.env.close()


def rates(preset: str, overrides: list[str], rounds: int, processes: list[int]) -> Iterator[dict[str, Any]]:
    """Yield steps a second, the share of the free rate, and the share of the environment, by number of processes."""
    config = load_config(preset, overrides)
    clock = time.perf_counter if processes else time.process_time
    trainings = {number: Training(config, number, clock) for number in processes or [0]}
    measured = [{number: training.round() for number, training in trainings.items()} for _ in range(rounds)]
    for number, training in trainings.items():
        training.close()
        seconds = [each[number] for each in measured]
        yield {
            "preset": preset,
            "processes": number,
            "clock": "wall" if processes else "processor",
            "steps_per_second": round(training.steps / statistics.median(real for real, _, _ in seconds)),
            "free": round(training.steps / statistics.median(free for _, free, _ in seconds)),
            "share_of_free": round(statistics.median(free / real for real, free, _ in seconds), 3),
            "environment_share": round(statistics.median(stepping / real for real, _, stepping in seconds), 3),
            "versions": str(current_versions()),
        }


def main() -> None:
    """Measure and print each preset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="+")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another key of the configs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, nargs="+", default=[], help="other processes that step environments")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for preset in options.presets:
        for row in rates(preset, options.set, options.rounds, options.processes):
            rows.append(row)
            print(row, flush=True)
    if options.out is not None:
        write_table(rows, options.out)


if __name__ == "__main__":
    main()
