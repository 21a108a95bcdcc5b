"""What makes a gradient step faster, and whether bfloat16 learns as float32 does.

    python benchmarks/training_options.py rates  [--repeats 7] [--threads 1]
    python benchmarks/training_options.py curves [--seeds 5] [--steps 131072] [--workers 2]

`rates`: seconds of one PPO update (4 epochs of 8 minibatches of 256 views, DoorKey-5x5) on a rollout of its own, each
option against the plain float32 update of the same round; ratios are medians over rounds. `curves`: the same training
in both precisions, without early stop, into docs/results/precision.{md,csv,json}. Runs that are there are kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from stable_baselines3 import PPO

from rlstitch.api.train import train
from rlstitch.config.training import load_config
from rlstitch.envs import StableBaselinesVecEnv, World, make_vec
from rlstitch.errors import InvalidInputError
from rlstitch.storage import write_table
from rlstitch.training.buffer import DistinctRolloutBuffer
from rlstitch.training.policy import EncoderControllerPolicy, EncoderExtractor
from rlstitch.training.ppo import compute_distinct_once

ENVIRONMENT = "MiniGrid-DoorKey-5x5-v0"
OPTIONS = ("plain", "fused Adam", "torch.compile", "bfloat16", "distinct", "distinct, bfloat16")
PRESETS = ("minigrid-doorkey", "minigrid-lavagap")
PRECISIONS = ("float32", "bfloat16")
RESULTS = Path("docs/results/precision")


def make_model(option: str, arch: str) -> PPO:
    """Make PPO with one option and a rollout of its own in the buffer."""
    distinct = option.startswith("distinct")
    model = PPO(
        EncoderControllerPolicy,
        StableBaselinesVecEnv(make_vec(World(ENVIRONMENT), 16, seed=0)),
        n_steps=128,
        batch_size=256,
        n_epochs=4,
        learning_rate=5e-4,
        device="cpu",
        seed=0,
        rollout_buffer_class=DistinctRolloutBuffer if distinct else None,
        policy_kwargs={
            "precision": "bfloat16" if option.endswith("bfloat16") else "float32",
            "optimizer_kwargs": {"eps": 1e-5, "fused": distinct or option == "fused Adam"},
            "controller_spec": {"latent_dim": 512, "actions": {"kind": "discrete", "n": 7}, "hidden": [64]},
            "features_extractor_class": EncoderExtractor,
            "features_extractor_kwargs": {
                "encoder_spec": {"kind": "cnn", "arch": arch, "image_shape": [56, 56, 3], "latent_dim": 512}
            },
        },
    )
    if distinct:
        compute_distinct_once(model)
    if option == "torch.compile":
        model.policy.features_extractor.forward = torch.compile(model.policy.features_extractor.forward)
    model.learn(2048)
    model.train()  # a second update on the same rollout: whatever is compiled or cached is there afterwards
    return model


def seconds_of(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def rates(repeats: int) -> None:
    """Print the time of an update with each option as a share of the plain one."""
    for arch in ("small", "nature"):
        models = {option: make_model(option, arch) for option in OPTIONS}
        rounds = [{option: seconds_of(model.train) for option, model in models.items()} for _ in range(repeats)]
        print(f"{arch}: plain update {statistics.median(r['plain'] for r in rounds):.3f} s")
        for option in OPTIONS[1:]:
            print(f"  {option:20} {statistics.median(r['plain'] / r[option] for r in rounds):.2f} x the plain rate")


def curve(job: tuple[str, str, int, int]) -> list[dict[str, Any]]:
    """Train once and return its evaluations: one row each."""
    preset, precision, seed, steps = job
    torch.set_num_threads(1)
    folder = Path("runs/precision")
    settings = {
        "precision": precision,
        "total_steps": steps,
        "stop_at_success": None,
        "threads": 1,
        "device": "cpu",
        "seed": seed,
        "name": f"{preset}-{precision}-s{seed}-{steps}",
    }
    config = load_config(preset, settings)
    trained = train(config, resume=True, agents=folder / "agents", runs=folder / "runs", progress="none")
    points = json.loads((trained.run_folder / "curve.json").read_text())
    return [{"preset": preset, "precision": precision, "seed": seed, **point} for point in points]


def curves(seeds: int, steps: int, workers: int) -> None:
    """Train all pairs and compare the area under the curve, the same seeds side by side."""
    jobs = [(preset, way, seed, steps) for preset in PRESETS for seed in range(1, seeds + 1) for way in PRECISIONS]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        rows = [row for rows in pool.map(curve, jobs) for row in rows]
    write_table(rows, RESULTS)
    lines = [
        "# bfloat16 against float32",
        "",
        f"`python benchmarks/training_options.py curves --seeds {seeds} --steps {steps}`. Mean success over the "
        "evaluations",
        f"of a training (the area under its curve) and at its end, {seeds} seeds a precision; the difference with its",
        "95 % interval (Welch: a seed does not lead two precisions down the same path).",
        "",
        "| preset | measure | float32 | bfloat16 | bfloat16 - float32 |",
        "|---|---|---|---|---|",
    ]
    for preset in PRESETS:
        for name, reduce in (("mean over the curve", np.mean), ("at the end", lambda values: values[-1])):
            per_way = []
            for way in PRECISIONS:
                mine = [row for row in rows if row["preset"] == preset and row["precision"] == way]
                per_seed = [[r["success"] for r in mine if r["seed"] == seed] for seed in range(1, seeds + 1)]
                per_way.append(np.array([float(reduce(values)) for values in per_seed]))
            plain, mixed = per_way
            difference = mixed.mean() - plain.mean()
            both_constant = plain.std() == 0 and mixed.std() == 0
            interval = None if both_constant else stats.ttest_ind(mixed, plain, equal_var=False).confidence_interval()
            around = "" if interval is None else f" [{interval.low:+.3f}, {interval.high:+.3f}]"
            lines.append(f"| {preset} | {name} | {plain.mean():.3f} | {mixed.mean():.3f} | {difference:+.3f}{around} |")
    RESULTS.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("rates", "curves"))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=131_072)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.seeds < 2:
        raise InvalidInputError(f"seeds: expected 2 or more, found {options.seeds}")
    torch.set_num_threads(options.threads)
    if options.part == "rates":
        rates(options.repeats)
    else:
        curves(options.seeds, options.steps, options.workers)


if __name__ == "__main__":
    main()
