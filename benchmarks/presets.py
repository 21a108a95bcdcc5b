"""How reliably the presets train: five seeds each, evaluated after training on episodes that training never saw.

    python benchmarks/presets.py train [--workers 2]     # hours of one processor's time; skips agents that are there
    python benchmarks/presets.py table                   # docs/results/presets.md and .csv from the agents' cards

Every agent is trained by the command that its card records, `rlstitch train configs/<preset>.yaml ...`, one thread
each.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rlstitch.agents.manifest import list_agents
from rlstitch.storage import write_table

PRESETS = ("doorkey", "simplecrossing", "lavagap", "lavagap-s7", "unlock", "doorkey-6x6", "empty-random-6x6")
SEEDS = (("red", 1), ("green", 2), ("red", 3), ("green", 4), ("blue", 5))
GATE = 0.95
RESULTS = Path("docs/results")


def train(workers: int) -> None:
    """Train what is missing, several agents at once."""

    def one(job: tuple[str, str, int]) -> None:
        preset, look, seed = job
        if (Path("agents") / f"{preset}-{look}-s{seed}").exists():
            return
        arguments = ["train", f"configs/minigrid-{preset}.yaml", "--variation", look, "--seed", str(seed)]
        program = Path(sys.executable).with_name("rlstitch")
        subprocess.run([program, *arguments, "--set", "threads=1", "device=cpu"], check=True)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, [(preset, look, seed) for look, seed in SEEDS for preset in PRESETS]))


def rows() -> list[dict[str, Any]]:
    """Return one row an agent, from the cards."""
    result = []
    cards = {entry.name: entry.card for entry in list_agents()}
    for preset in PRESETS:
        for look, seed in SEEDS:
            card = cards.get(f"{preset}-{look}-s{seed}")
            training = None if card is None else card.training
            if card is None or training is None or training.return_interval is None:
                continue
            result.append(
                {
                    "preset": f"minigrid-{preset}",
                    "look": look,
                    "seed": seed,
                    "steps": training.steps,
                    "seconds": training.seconds,
                    "return": training.return_mean,
                    "return_low": training.return_interval[0],
                    "return_high": training.return_interval[1],
                    "success": training.success_rate,
                    "episodes": training.episodes,
                }
            )
    return result


def table() -> None:
    """Write the table of all agents and the count of seeds that pass the gate."""
    result = rows()
    write_table(result, RESULTS / "presets")
    lines = [
        "# The presets, five seeds each",
        "",
        "`python benchmarks/presets.py train`, then `python benchmarks/presets.py table`. Sampled actions, 100",
        "episodes that training never saw, 95 % bootstrap interval of the mean. One thread each, two at once on two",
        "processors that did other work too: the seconds are no measure of speed.",
        "",
        f"| preset | seeds with success ≥ {GATE:.0%} |",
        "|---|---|",
    ]
    for preset in PRESETS:
        mine = [row for row in result if row["preset"] == f"minigrid-{preset}"]
        lines.append(f"| minigrid-{preset} | {sum(row['success'] >= GATE for row in mine)} of {len(mine)} |")
    lines += ["", "| preset | look | seed | steps | seconds | return | success |", "|---|---|---|---|---|---|---|"]
    for row in result:
        interval = f"{row['return']:.3f} [{row['return_low']:.3f}, {row['return_high']:.3f}]"
        start = f"| {row['preset']} | {row['look']} | {row['seed']} | {row['steps']:,} | {row['seconds']:.0f} "
        lines.append(start + f"| {interval} | {row['success']:.0%} |")
    (RESULTS / "presets.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("train", "table"))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.action == "train":
        train(options.workers)
    else:
        table()


if __name__ == "__main__":
    main()
