"""Relativized agents, crossed: by similarity, statistics, shrinkage and number of anchors; then the default over all.

    python benchmarks/relative_cross.py sweep [--workers 2] [--agents agents]
    python benchmarks/relative_cross.py cross [--workers 2] [--agents agents]

`sweep`: five agents of five looks and three seeds a preset, every crossing whose seeds differ, each way of projecting.
`cross`: the default way (cosine, whitened with shrinkage 0.05), all agents. Recovery is against the *absolute* native
agent whose controller was distilled; its own row says what distilling alone costs. 100 sampled episodes a cell. What is
in docs/results/relative-sweep.json and relative-cross.json is kept.
"""

from __future__ import annotations

import argparse
import itertools
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import load_agent
from rlstitch.envs import cell_world
from rlstitch.pipelines.cells import Measure
from rlstitch.pipelines.train import default_anchor_set
from rlstitch.rollouts.evaluation import evaluate
from rlstitch.rollouts.statistics import recovery
from rlstitch.stitching.pairs import gather_pairs
from rlstitch.stitching.relativize import relativize_agent, visited_states
from rlstitch.stitching.stitch import stitch_agents
from rlstitch.storage import write_table

PRESETS = ("doorkey", "simplecrossing")
LOOKS = ("red", "green", "blue", "yellow", "standard")
SWEEP_AGENTS = ("red-s1", "green-s2", "blue-s3", "yellow-s1", "standard-s2")
OTHERS = ("lavagap", "doorkey-6x6", "empty-random-6x6", "unlock")
SEEDS, GATE = (1, 2, 3), 0.95
Way = tuple[str, str, float, int]
"""Similarity, normalization, shrinkage (of whitening alone), anchors."""
DEFAULT: Way = ("cosine", "whiten", 0.05, 512)
WAYS: tuple[Way, ...] = (
    ("cosine", "identity", 0.0, 512),
    ("cosine", "center", 0.0, 512),
    ("cosine", "standardize", 0.0, 512),
    *(("cosine", "whiten", shrinkage, 512) for shrinkage in (0.01, 0.05, 0.1, 0.3, 1.0)),
    *(("cosine", "whiten", 0.05, anchors) for anchors in (8, 32, 128, 256)),
    ("euclidean", "whiten", 0.05, 512),
    ("mahalanobis", "identity", 0.0, 512),
    ("cosine+euclidean+l1", "whiten", 0.05, 256),
)


def fit_for_use(folder: Path, name: str) -> bool:
    """Return whether an agent is there and passes the gate; say so where it does not."""
    if not (folder / name / "agent.json").is_file():
        print(f"not there: {name}")
        return False
    training = load_agent(folder / name).card.training
    if training is None or training.success_rate is None or training.success_rate < GATE:
        print(f"left out: {name}")
        return False
    return True


@cache
def relativized(folder: str, name: str, way: Way) -> Agent:
    """Relativize an agent once a process and way."""
    similarity, normalization, shrinkage, anchors = way
    agent = load_agent(Path(folder) / name)
    world = agent.card.world.to_world()
    anchor_set = default_anchor_set(world, anchors)
    return relativize_agent(
        agent,
        anchor_set.render_in(world),
        visited_states(agent, seed=0),
        anchor_set=anchor_set.identity,
        similarity=similarity,
        normalization=normalization,
        shrinkage=shrinkage,
        seed=0,
    ).agent


def crossings(job: tuple[str, str, tuple[str, ...], Way]) -> list[dict[str, Any]]:
    """Measure one controller under one way: its own encoder, then every other that comes from another seed."""
    folder, policy_name, encoders, way = job
    torch.set_num_threads(1)
    policy, measure = load_agent(Path(folder) / policy_name), Measure()
    scale = (measure.random(policy.card.world.to_world()).returns, measure.native(policy).returns)
    controller = relativized(folder, policy_name, way)
    rows = []
    for name in (policy_name, *encoders):
        encoder = relativized(folder, name, way)
        joined = controller
        if name != policy_name:
            pairs = gather_pairs(encoder, controller, pairs=64, seed=0)
            joined = stitch_agents(encoder, controller, pairs, method="relative").agent
        world = cell_world(encoder.card.world.to_world(), controller.card.world.to_world())
        found = recovery(evaluate(joined, world, seed=0).returns, *scale)
        if found is None:
            continue
        row = {"preset": policy_name.rsplit("-", 2)[0], "encoder": name, "controller": policy_name}
        row |= dict(zip(("similarity", "normalization", "shrinkage", "anchors"), way, strict=True))
        rows.append(row | {"recovery": found.estimate, "low": found.low, "high": found.high})
    return rows


def measure_all(jobs: list[tuple[str, str, tuple[str, ...], Way]], out: Path, workers: int) -> list[dict[str, Any]]:
    """Measure the jobs that are not in the table yet; the table is written after each."""
    stored = out.with_suffix(".json")
    rows: list[dict[str, Any]] = json.loads(stored.read_text()) if stored.is_file() else []
    known = {(r["controller"], (r["similarity"], r["normalization"], r["shrinkage"], r["anchors"])) for r in rows}
    todo = [job for job in jobs if (job[1], job[3]) not in known]
    print(f"{len(todo)} controllers to cross")
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done, future in enumerate(as_completed([pool.submit(crossings, job) for job in todo]), 1):
            rows += future.result()
            write_table(rows, out)
            print(f"{done} of {len(todo)}", flush=True)
    return rows


def lines_of(rows: list[dict[str, Any]], keys: tuple[str, ...]) -> list[str]:
    """Return one line of a table for each combination of the keys, in the order that they first appear."""
    lines = [
        "| " + " | ".join((*keys, "cells", "own", "crossed: mean", "median", "worst", "upper ends ≥ 90 %")) + " |",
        "|---" * (len(keys) + 6) + "|",
    ]
    for values in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
        mine = [row for row in rows if tuple(row[key] for key in keys) == values]
        own = np.array([row["recovery"] for row in mine if row["encoder"] == row["controller"]])
        crossed = [row for row in mine if row["encoder"] != row["controller"]]
        numbers = np.array([row["recovery"] for row in crossed])
        reached = sum(row["high"] >= 90 for row in crossed)
        lines.append(
            f"| {' | '.join(map(str, values))} | {len(crossed)} | {own.mean():.1f} | {numbers.mean():.1f} | "
            f"{np.median(numbers):.1f} | {numbers.min():.1f} | {reached} of {len(crossed)} |"
        )
    return lines


def main() -> None:
    """Measure what is missing and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("sweep", "cross"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--agents", type=Path, default=Path("agents"))
    options = parser.parse_args()
    out = Path("docs/results") / f"relative-{options.part}"
    folder, jobs = options.agents, []
    for preset in PRESETS if options.part == "sweep" else (*PRESETS, *OTHERS):
        looks = LOOKS if preset in PRESETS else LOOKS[:2]
        ends = SWEEP_AGENTS if options.part == "sweep" else [f"{look}-s{seed}" for look in looks for seed in SEEDS]
        names = [name for end in ends if fit_for_use(folder, name := f"{preset}-{end}")]
        for way, name in itertools.product(WAYS if options.part == "sweep" else (DEFAULT,), names):
            others = tuple(other for other in names if other.rsplit("-s", 1)[1] != name.rsplit("-s", 1)[1])
            jobs.append((str(folder), name, others, way))
    rows = measure_all(jobs, out, options.workers)
    keys = ("preset", "similarity", "normalization", "shrinkage", "anchors")
    rows.sort(key=lambda row: [str(row[key]) if key in keys[1:3] else row[key] for key in keys])
    text = [
        f"# Relativized agents, {'by projection' if options.part == 'sweep' else 'every crossing'}",
        "",
        f"`python benchmarks/relative_cross.py {options.part}`. Recovery in percent of the *absolute* native agent;",
        "`own`: the relativized agent itself. 100 sampled episodes a cell, seeds differ on the two sides.",
        "",
        *lines_of(rows, keys),
    ]
    out.with_suffix(".md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
