"""Stitching across tasks: encoders of agents that learned one set of actions, controllers that learned another.

    rlstitch grid configs/grids/tasks.yaml      # agents of the scrambled task; those of the standard one are there
    python benchmarks/task_cross.py [--agents agents] [--episodes 100]

Every standard agent with every scrambled one of another seed, both ways. The encoder's look is played in the
controller's task; recovery is that of the controller's own agent in its own world. Cells that are in
docs/results/task-cross.json are kept. Agents whose own success is below 95 % are listed and left out.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import load_agent
from rlstitch.evaluation.baselines import Baselines
from rlstitch.evaluation.cell import measure_cell
from rlstitch.evaluation.options import CellOptions
from rlstitch.stitching.pairs import gather_pairs
from rlstitch.storage import write_table

PRESETS = ("doorkey", "lavagap", "simplecrossing")
METHODS = ("naive", "orthogonal", "affine", "balanced", "task_matched")
GATE = 0.95
RESULTS = Path("docs/results/task-cross")


def agents_of(folder: Path, preset: str) -> list[Agent]:
    """Return the agents of a preset, of both tasks, that pass the gate."""
    found = []
    for path in sorted(folder.glob(f"{preset}-*")):
        if not (path / "agent.json").is_file():
            continue
        agent = load_agent(path)
        kept = agent.card.training is not None and agent.card.name.startswith((f"{preset}-red", f"{preset}-green"))
        if not kept or agent.card.world.task not in ("standard", "scrambled"):
            continue
        success = agent.card.training.success_rate if agent.card.training is not None else None
        if success is None or success < GATE:
            print(f"left out: {agent.card.name}, success {success or 0:.0%}")
            continue
        found.append(agent)
    return found


def cell(
    options: CellOptions, baselines: Baselines, preset: str, encoder: Agent, policy: Agent
) -> list[dict[str, Any]]:
    """Measure one encoder with one controller under every method."""
    pairs = gather_pairs(encoder, policy, pairs=options.pairs, seed=options.seed)
    rows = []
    for method in METHODS:
        row = measure_cell(encoder, policy, method, options, pairs=pairs, baselines=baselines).to_row()
        tasks = f"{encoder.card.world.task} → {policy.card.world.task}"
        rows.append({"preset": preset, "tasks": tasks, **row})
    return rows


def page(rows: list[dict[str, Any]]) -> str:
    """The table in Markdown: one line a preset, direction and method."""
    lines = [
        "# Across tasks: standard and scrambled actions",
        "",
        "`rlstitch grid configs/grids/tasks.yaml`, then `python benchmarks/task_cross.py`: an encoder of one task, a",
        "controller of another; seeds differ. Looks red and green, agents trained by their presets until they succeed.",
        f"One thread of two cores that did other work too, torch {torch.__version__.split('+')[0]}; every cell: "
        "task-cross.csv.",
        f"Recovery in percent (the controller's own agent in its own task 100, random play 0), {rows[0]['episodes']} "
        "sampled episodes a cell; maps are fitted on all views that were found, 4,096 at most.",
        "",
        "| preset | encoder's task → controller's | method | cells | mean | worst | upper ends ≥ 95 % |",
        "|---|---|---|---|---|---|---|",
    ]
    key = ("preset", "tasks", "method")
    for values in dict.fromkeys(tuple(row[name] for name in key) for row in rows):
        mine = [row for row in rows if tuple(row[name] for name in key) == values and row["recovery"] is not None]
        numbers = np.array([row["recovery"] for row in mine])
        reached = sum(row["recovery_high"] >= 95 for row in mine)
        figures = f"{len(mine)} | {numbers.mean():.1f} | {numbers.min():.1f} | {reached} of {len(mine)}"
        lines.append(f"| {' | '.join(values)} | {figures} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure what is missing and write the table after each pair of agents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=Path, default=Path("agents"))
    parser.add_argument("--episodes", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    how, baselines = CellOptions(episodes=options.episodes, pairs=4096), Baselines()
    stored = RESULTS.with_suffix(".json")
    rows: list[dict[str, Any]] = json.loads(stored.read_text()) if stored.is_file() else []
    known = {(row["encoder"], row["controller"]) for row in rows}
    for preset in PRESETS:
        for encoder, policy in itertools.permutations(agents_of(options.agents, preset), 2):
            one, other = encoder.card, policy.card
            same = one.seed == other.seed or one.world.task == other.world.task
            if same or (one.name, other.name) in known:
                continue
            rows += cell(how, baselines, preset, encoder, policy)
            print(*(f"{row['method']} {row['recovery']:.1f}" for row in rows[-len(METHODS) :]), flush=True)
            write_table(rows, RESULTS)
            RESULTS.with_suffix(".md").write_text(page(rows))


if __name__ == "__main__":
    main()
