"""Is the default number of threads near the best, on idle processors and beside a process at full load?

    python benchmarks/threads.py [--rounds 3] [--rollouts 3] [--presets PRESET ...] [--out docs/results/threads]

Each preset is trained for some rollouts by 1, 2, ... threads and by the default, in turn, in a process each, first
alone, then beside a process that computes without a pause. Seconds are of these rollouts, the median of the rounds.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PRESETS = tuple(sorted(path.stem for path in Path("configs").glob("*.yaml")))
TRAIN = """
import os, sys, time
import rlstitch
preset, rollouts, threads = sys.argv[1], int(sys.argv[2]), sys.argv[3]
config = rlstitch.load_config(preset)
steps = (rollouts + 1) * config.num_envs * config.ppo.n_steps
settings = {"total_steps": steps, "name": "agent", "stop_at_success": None, "device": "cpu"}
settings |= {"evaluation.every_steps": 10**9, "checkpoint.every_steps": 10**9}
settings |= {} if threads == "default" else {"threads": int(threads)}
times = []

def at_rollout(done, total):
    times.append(time.perf_counter())
    if len(times) > rollouts:
        print("seconds", times[-1] - times[0], flush=True)
        os._exit(0)  # neither the last rollout nor the evaluation at the end is measured

rlstitch.train(rlstitch.load_config(preset, settings), on_progress=at_rollout)
"""
LIMIT = 120
"""Seconds after which a setting is given up, and counts as infinitely slow."""
LOAD = "while True: pass"


def seconds(preset: str, rollouts: int, threads: str) -> float:
    """Train in a fresh process and folder; return the time from the first rollout to the last one."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-c", TRAIN, preset, str(rollouts), threads],
                cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return math.inf
    if done.returncode or not done.stdout:
        sys.exit(done.stderr[-2000:])
    return float(done.stdout.split()[-1])


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rollouts", type=int, default=3)
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    parser.add_argument("--threads", nargs="+", default=[str(n + 1) for n in range(os.cpu_count() or 1)] + ["default"])
    parser.add_argument("--out", type=Path, help="where to write the table, without suffix")
    options = parser.parse_args()
    columns = [f"{kind}, {count}" for kind in ("idle", "loaded") for count in options.threads]
    lines = [
        "| preset | " + " | ".join(f"{c}, s" for c in columns) + " | idle: default ÷ best | loaded: default ÷ best |",
        "|---" * (len(columns) + 3) + "|",
    ]
    print(*lines, sep="\n", flush=True)
    for preset in options.presets:
        times, shares = [], []
        for kind in ("idle", "loaded"):
            load = subprocess.Popen([sys.executable, "-c", LOAD]) if kind == "loaded" else None
            try:
                taken = [[seconds(preset, options.rollouts, n) for n in options.threads] for _ in range(options.rounds)]
            finally:
                if load is not None:
                    load.kill()
                    load.wait()
            medians = [statistics.median(column) for column in zip(*taken, strict=True)]
            times += medians
            shares.append(medians[-1] / min(medians))
        lines.append(f"| {preset} | " + " | ".join(f"{value:.2f}" for value in (*times, *shares)) + " |")
        print(lines[-1], flush=True)
    if options.out:
        options.out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
