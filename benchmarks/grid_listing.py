"""How long `rlstitch grid --dry-run` takes to say how a grid of many finished runs stands.

    python benchmarks/grid_listing.py [--runs 1000]

The runs are generated: manifests of full size, with the config of each run, and no weights.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rlstitch.config.sweep import load_sweep
from rlstitch.storage import data_roots

REPEATS = 5
GATE = 5.0  # seconds for a thousand runs


def generate(folder: Path, count: int) -> None:
    """Write a grid of `count` runs and a finished agent and run folder for each."""
    (folder / "many.yaml").write_text(
        "axes:\n  preset: [minigrid-doorkey, minigrid-lavagap]\n  variation: [red, green]\n"
        f"  seed: {list(range(-(-count // 4)))}\n"
    )
    template = next(path for root in data_roots("agents") for path in sorted(root.glob("*/agent.json")))
    card = json.loads(template.read_text())
    for run in load_sweep(folder / "many.yaml").runs:
        agent, record = folder / "agents" / run.config.name, folder / "runs" / run.key
        agent.mkdir(parents=True)
        record.mkdir(parents=True)
        card["name"], card["seed"] = run.config.name, run.config.seed
        card["world"]["environment"] = run.config.environment
        card["training"]["hyperparameters"] = run.config.resolved()
        (agent / "agent.json").write_text(json.dumps(card, indent=2))
        (record / "config.json").write_text(json.dumps(run.config.resolved()))


def main() -> None:
    """Generate, list, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    count = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder, count)
        command = [sys.executable, "-m", "rlstitch.cli.main", "grid", "many.yaml", "--dry-run"]
        walls = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            reported = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
            walls.append(time.perf_counter() - started)
        processor = os.times().children_user + os.times().children_system
    print(reported.splitlines()[-2])
    median, gate = statistics.median(walls), GATE * max(1.0, count / 1000)
    print(f"listing: median {median:.2f} s of {REPEATS} ({min(walls):.2f} to {max(walls):.2f} s)")
    print(f"processor time: {processor / REPEATS:.2f} s each, start of the program included")
    print(f"gate of {gate:.0f} s: {'kept' if median <= gate else 'missed'}")


if __name__ == "__main__":
    main()
