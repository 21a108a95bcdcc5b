"""Training and evaluation on a GPU beside the CPU, and several trainings side by side on one GPU.

    python benchmarks/gpu.py [--steps 32768] [--episodes 256] [--together 1 2 4 8] [--presets ...]

One row a preset: steps a second of the preset's PPO (learning included, from the second rollout on) and of a sampled
evaluation of the untrained agent, on the CPU and on the GPU; then the steps a second of n equal trainings at once on
the GPU, in a process each. Writes docs/results/gpu.md and .json. Without a CUDA device its columns say "not run".
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from stable_baselines3 import PPO

from rlstitch.agents.agent import Agent
from rlstitch.agents.card import AgentCard
from rlstitch.api.train import draft_card
from rlstitch.config.training import load_config
from rlstitch.errors import RlstitchError
from rlstitch.rollouts.evaluation import evaluate
from rlstitch.training.ppo import build_ppo

RESULTS = Path("docs/results/gpu")
PRESETS = ("minigrid-doorkey", "minigrid-simplecrossing", "carracing")
NOT_RUN = "not run"


def ready(preset: str, device: str, seed: int = 0) -> tuple[PPO, AgentCard]:
    """Make a preset's training on a device, warmed up by one rollout and its gradient steps."""
    config = load_config(preset, {"device": device, "seed": seed})
    card, _ = draft_card(config)
    model = build_ppo(card, num_envs=config.num_envs, device=device, **config.ppo.model_dump())
    model.learn(config.ppo.n_steps * config.num_envs)
    return model, card


def training_rate(preset: str, device: str, steps: int) -> float:
    """Steps a second of a training."""
    return _rate(ready(preset, device)[0], steps)


def _rate(model: PPO, steps: int) -> float:
    start, before = time.perf_counter(), model.num_timesteps
    model.learn(steps, reset_num_timesteps=False)
    return (model.num_timesteps - before) / (time.perf_counter() - start)


def evaluation_rate(preset: str, device: str, episodes: int) -> float:
    """Steps a second of an evaluation by sampled actions."""
    model, card = ready(preset, device)
    policy: Any = model.policy
    agent = Agent(policy.encoder_copy(), policy.controller(), card)
    evaluate(agent, episodes=8, seed=1, device=device)
    start = time.perf_counter()
    result = evaluate(agent, episodes=episodes, device=device)
    return float(result.lengths.sum()) / (time.perf_counter() - start)


_START: Any = None


def _joined(barrier: Any) -> None:
    global _START  # how a pool hands a barrier to its workers
    _START = barrier
    torch.set_num_threads(1)


def _one_of_several(job: tuple[str, int, int]) -> float:
    preset, seed, steps = job
    model, _ = ready(preset, "cuda", seed)
    _START.wait()
    return _rate(model, steps)


def together(preset: str, count: int, steps: int) -> float:
    """Steps a second, in all, of equal trainings that start together on one GPU."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, _joined, (context.Barrier(count),)) as pool:
        return sum(pool.map(_one_of_several, [(preset, seed, steps) for seed in range(count)]))


def measure(preset: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table; None for what cannot be measured here."""
    row: dict[str, Any] = {"preset": preset}
    for device in ("cpu", "cuda"):
        available = device == "cpu" or torch.cuda.is_available()
        row[f"training, {device}"] = training_rate(preset, device, options.steps) if available else None
        row[f"evaluation, {device}"] = evaluation_rate(preset, device, options.episodes) if available else None
    for count in options.together:
        row[f"{count} at once"] = together(preset, count, options.steps) if torch.cuda.is_available() else None
    return row


def page(rows: list[dict[str, Any]], steps: int) -> str:
    """The table in Markdown."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device, so its columns were not run"
    names = list(rows[0])
    lines = [
        "# GPU beside CPU",
        "",
        f"`python benchmarks/gpu.py --steps {steps}`: {os.cpu_count()} {platform.machine()} processors, "
        f"{torch.get_num_threads()} torch thread(s); {gpu}; torch {torch.__version__}.",
        "Steps a second (decisions, where an action is repeated); `n at once`: n equal trainings on one GPU, in all.",
        "",
        "| " + " | ".join(names) + " |",
        "|---" * len(names) + "|",
    ]
    for row in rows:
        cells = [NOT_RUN if row[name] is None else f"{row[name]:,.0f}" for name in names[1:]]
        lines.append(f"| {row['preset']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=32_768)
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--together", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--presets", nargs="+", default=list(PRESETS))
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for preset in options.presets:
        try:
            rows.append(measure(preset, options))
        except RlstitchError as problem:  # an extra that is not installed
            print(f"left out: {preset}: {problem}")
            continue
        print(rows[-1], flush=True)
        RESULTS.with_suffix(".json").write_text(json.dumps(rows, indent=2) + "\n")
        RESULTS.with_suffix(".md").write_text(page(rows, options.steps))


if __name__ == "__main__":
    main()
