"""A grid of eight trainings on local workers and on Ray, on one computer, in turns: wall times and equal results.

    python benchmarks/ray_grid.py [--steps 400000] [--workers 2] [--rounds 1]

Each way is the command that a user types (`rlstitch grid ... --workers N`, `rlstitch grid ... --ray local`), in an
empty folder, one thread a training; the time of Ray includes that of starting it. With the usual steps each training
takes a minute or more. Writes docs/results/ray-grid.md and .json; with other steps it only prints.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rlstitch.jobs.resources import available_cores
from rlstitch.storage import read_json, write_json

RESULTS = Path("docs/results/ray-grid")
STEPS = 400_000
BAR = 1.15
GRID = """
axes: {{preset: minigrid-doorkey, variation: [red, green], seed: [1, 2, 3, 4]}}
set: {{total_steps: {steps}, stop_patience: 1_000_000, device: cpu, threads: 1}}
resources: {{cpus: {cpus}}}
"""


def timed(folder: Path, text: str, arguments: list[str]) -> dict[str, Any]:
    """Run the grid in an empty folder; returns its wall time and what tells its results apart."""
    folder.mkdir()
    (folder / "some.yaml").write_text(text)
    program = "import sys; from rlstitch.cli.main import main; sys.exit(main(sys.argv[1:]))"
    started = time.perf_counter()
    command = [sys.executable, "-c", program, "grid", "some.yaml", *arguments]
    ended = subprocess.run(command, cwd=folder, env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}, check=False)
    wall = time.perf_counter() - started
    if ended.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)}: status {ended.returncode}")
    results: dict[str, Any] = {}
    seconds = []
    for path in sorted(folder.glob("agents/*/agent.json")):
        card = read_json(path)
        (curve,) = folder.glob(f"runs/{path.parent.name}-????????/curve.json")
        results[path.parent.name] = {"files": card["files"], "curve": read_json(curve)}
        seconds.append(card["training"]["seconds"])
    return {"wall": wall, "seconds": seconds, "results": results}


def page(rows: list[dict[str, Any]], steps: int, workers: int) -> str:
    """The result in Markdown."""
    ratio = statistics.median(row["ray"] / row["local"] for row in rows)
    lines = [
        "# Ray beside local workers",
        "",
        f"`python benchmarks/ray_grid.py --workers {workers} --rounds {len(rows)}`: eight trainings of DoorKey-5x5, "
        f"{steps:,} steps and one thread each,",
        f"{workers} at once on one computer. Wall time of the whole command; that of Ray includes starting a cluster. "
        "The two ways in turns.",
        "",
        "| round | local workers | Ray | ratio | a training, local | a training, Ray |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {number} | {row['local']:.0f} s | {row['ray']:.0f} s | {row['ray'] / row['local']:.3f} | "
        f"{row['local_training']:.0f} s | {row['ray_training']:.0f} s |"
        for number, row in enumerate(rows, 1)
    ]
    lines += [
        "",
        f"Median ratio {ratio:.3f}; the bar is {BAR:.2f}: {'kept' if ratio <= BAR else 'missed'}. Weights and learning "
        "curves of all trainings are equal, bit for bit.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Time both ways in turns, compare the results, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--workers", type=int, default=min(8, available_cores()))
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    # As many trainings at once on Ray: it believes in as many processors as the system shows.
    text = GRID.format(steps=options.steps, cpus=available_cores() / options.workers)
    ways = {"local": ["--workers", str(options.workers), "--threads", "1"], "ray": ["--ray", "local", "--threads", "1"]}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="r") as name:
        for number in range(options.rounds):
            order = list(ways) if number % 2 == 0 else list(ways)[::-1]
            result = {way: timed(Path(name) / f"{way}-{number}", text, ways[way]) for way in order}
            if result["local"]["results"] != result["ray"]["results"] or len(result["ray"]["results"]) != 8:
                raise SystemExit("the results differ")
            row = {way: result[way]["wall"] for way in ways}
            row |= {f"{way}_training": statistics.median(result[way]["seconds"]) for way in ways}
            rows.append(row)
            print(", ".join(f"{key} {value:.1f} s" for key, value in row.items()), flush=True)
    text = page(rows, options.steps, options.workers)
    print(text)
    if options.steps == STEPS:
        write_json(RESULTS.with_suffix(".json"), {"workers": options.workers, "steps": options.steps, "rounds": rows})
        RESULTS.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
