"""Relativized agents, crossed: by similarity, statistics, shrinkage and number of anchors; then the default over all.

    rlstitch grid configs/grids/evidence.yaml                # the native agents
    python benchmarks/relative_cross.py sweep [--workers 2] [--agents agents]
    python benchmarks/relative_cross.py cross [--workers 2] [--agents agents] [--presets ...]
    python benchmarks/relative_cross.py tables               # pages and drawing from the stored rows

`sweep`: three agents of three looks and seeds a preset, each way of projecting, 1,000 steps of distillation from
standardized similarities, sampled actions. `cross`: Gaussian kernels on all views that random play and two agents find,
every agent that passes the gate; the agents of the sweep greedily too, and with 512 anchors of random play. Only agents
whose seeds differ are crossed. Beside it on the same cells an affine translation fitted on the anchors, which are pairs
too; naive among the agents of the sweep. Recovery is against the *absolute* native agent whose controller was
distilled. 100 episodes a cell. What is in docs/results/relative-sweep.json and relative-cross.json is kept.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache, lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from relative_cross_page import write_cross, write_sweep
from rlstitch.agents.agent import Agent
from rlstitch.agents.anchor_set import AnchorSet
from rlstitch.agents.artefact import load_agent
from rlstitch.agents.encoder import TranslatedEncoder
from rlstitch.api.train import default_anchor_set
from rlstitch.evaluation.baselines import Baselines
from rlstitch.evaluation.cell import measure_cell
from rlstitch.evaluation.options import CellOptions
from rlstitch.latent import fit_affine
from rlstitch.stitching.relativize import relativize_agent, visited_states
from rlstitch.stitching.stitch import check_relative, check_widths
from rlstitch.storage import read_json, write_table

PRESETS = ("doorkey", "simplecrossing")
OTHERS = ("lavagap", "lavagap-s7", "doorkey-6x6", "empty-random-6x6", "unlock")
LOOKS = ("red", "green", "blue", "yellow", "standard")
SEEDS, GATE = (1, 2, 3), 0.95
SWEEP_AGENTS, SWEEP_STEPS = ("red-s1", "green-s2", "blue-s3"), 1000
DRIVERS, ALL = ("red-s1", "green-s2"), 4096
RESULTS = Path("docs/results")


class Way(NamedTuple):
    """What stands between an encoder and a controller; the shrinkage is that of whitening alone."""

    method: str
    similarity: str = "–"
    normalization: str = "–"
    shrinkage: float = 0.0
    asked: int = 0
    """Anchors, or for a translation pairs."""
    steps: int = 0
    """Of the distillation."""
    noise: float = 0.0
    """That the similarities are distilled under."""
    greedy: bool = False
    driven: bool = False
    """Whether two agents drive where anchors are found; where they do not, it is random play alone."""


def relative(
    similarity: str = "cosine",
    normalization: str = "whiten",
    shrinkage: float = 0.05,
    asked: int = 512,
    noise: float = 0.2,
    steps: int = SWEEP_STEPS,
    *,
    driven: bool = False,
) -> Way:
    """Return a relative way, by whitened cosines on anchors of random play where nothing is said."""
    return Way("relative", similarity, normalization, shrinkage, asked, steps, noise, driven=driven)


WAYS = (
    Way("naive"),
    *(Way("affine", asked=count) for count in (8, 32, 128, 512)),
    *(relative(asked=count) for count in (512, 1024, 128, 32)),
    *(relative(shrinkage=shrinkage) for shrinkage in (0.01, 0.2, 1.0)),
    *(relative(normalization=normalization, shrinkage=0.0) for normalization in ("identity", "center", "standardize")),
    relative("mahalanobis", "identity", 0.0),
    relative("cosine+euclidean+l1"),
    *(relative(noise=noise) for noise in (0.0, 0.5)),
    *(relative("gaussian", asked=count, noise=0.3) for count in (512, 1024, 128, 32)),
    relative("gaussian"),
    *(relative(similarity, asked=ALL, noise=0.3, driven=True) for similarity in ("cosine", "gaussian")),
    Way("affine", asked=ALL, driven=True),
)
BEST = relative("gaussian", asked=ALL, noise=0.3, steps=3000, driven=True)
COMMAND = relative("gaussian", noise=0.3, steps=3000)  # as `rlstitch relativize` where there are many anchors
BEFORE = (relative(steps=3000), Way("affine", asked=512))  # cosines and a translation on the anchors of random play
FEWER = (COMMAND, BEST._replace(greedy=True), relative(steps=3000)._replace(greedy=True), Way("naive"))
"""Among the agents of the sweep alone."""
CROSS = (BEST, Way("affine", asked=ALL, driven=True), *BEFORE, *FEWER)
Job = tuple[str, tuple[tuple[str, str], ...], Way]


def native_names(folder: Path, preset: str, ends: Iterable[str]) -> Iterator[str]:
    """Yield the agents that are there and pass the gate; say of the others why not."""
    for end in ends:
        name = f"{preset}-{end}"
        if not (folder / name / "agent.json").is_file():
            print(f"not there: {name}")
            continue
        training = load_agent(folder / name).card.training
        if training is None or training.success_rate is None or training.success_rate < GATE:
            print(f"left out: {name}, success {training and training.success_rate}")
        else:
            yield name


@cache
def loaded(folder: str, name: str) -> Agent:
    """Load an agent once a process."""
    return load_agent(Path(folder) / name)


@lru_cache(maxsize=3)
def states_of(folder: str, name: str) -> npt.NDArray[np.uint8]:
    """Return what an agent meets; a hundred megabytes each, so few are kept."""
    return visited_states(loaded(folder, name), seed=0)


@cache
def anchors_of(folder: str, name: str, count: int, *, driven: bool) -> AnchorSet:
    """Return the default anchor set of an agent's world, once a process."""
    drivers = [loaded(folder, f"{preset_of(name)}-{end}") for end in DRIVERS] if driven else []
    return default_anchor_set(loaded(folder, name).card.world, count, drivers=drivers)


@cache
def relativized(folder: str, name: str, way: Way) -> Agent:
    """Relativize an agent, once a process."""
    agent, anchors = loaded(folder, name), anchors_of(folder, name, way.asked, driven=way.driven)
    return relativize_agent(
        agent,
        anchors.render_in(agent.card.world),
        states_of(folder, name),
        anchor_set=anchors.identity,
        similarity=way.similarity,
        normalization=way.normalization,
        shrinkage=way.shrinkage,
        steps=way.steps,
        noise=way.noise,
        standardize=True if way.steps == SWEEP_STEPS else None,
        seed=0,
        judge=False,
    ).agent


def joined(folder: str, encoder_name: str, policy_name: str, way: Way) -> Agent:
    """Join an encoder to a controller; the same name twice gives the agent alone, relativized where the way is."""
    if way.method == "relative":
        neutral = way._replace(greedy=False)
        encoder, policy = (relativized(folder, name, neutral) for name in (encoder_name, policy_name))
        check_relative(encoder, policy)
        return Agent(encoder.encoder, policy.controller, policy.card)
    encoder, policy = (loaded(folder, name) for name in (encoder_name, policy_name))
    if way.method == "naive":
        check_widths(encoder, policy)
        return Agent(encoder.encoder, policy.controller, policy.card)
    anchors = anchors_of(folder, policy_name, way.asked, driven=way.driven)
    x, y = (agent.encode(anchors.render_in(agent.card.world)) for agent in (encoder, policy))
    return Agent(TranslatedEncoder(encoder.encoder, fit_affine(x, y)), policy.controller, policy.card)


BASELINES = Baselines()
"""Of a process: random actions and the absolute native agents."""


def cells(job: Job) -> list[dict[str, Any]]:
    """Measure crossings (or relativized agents alone, where the two names are one) under one way."""
    folder, pairs, way = job
    torch.set_num_threads(1)
    rows = []
    for encoder, policy in pairs:
        result = measure_cell(
            loaded(folder, encoder),
            loaded(folder, policy),
            way.method,
            CellOptions(greedy=way.greedy),
            stitched=joined(folder, encoder, policy, way),
            baselines=BASELINES,
        )
        row = {"preset": preset_of(policy), "encoder": encoder, "controller": policy} | way._asdict()
        row |= {"anchors": found_anchors(folder, policy, way), "episodes": result.episodes}
        row |= {"success": result.success, "return": result.return_mean}
        row |= {"random": result.random_return, "native": result.native_return}
        rows.append(row | {"recovery": result.recovery, "low": result.recovery_low, "high": result.recovery_high})
    return rows


def seed_of(name: str) -> str:
    """Return the seed that ends an agent's name."""
    return name.rsplit("-s", 1)[1]


def preset_of(name: str) -> str:
    """Return the preset that begins an agent's name."""
    return name.rsplit("-", 2)[0]


def ends_of(preset: str, looks: int = len(LOOKS)) -> list[str]:
    """Return look and seed of a preset's agents, as their names end."""
    return [f"{look}-s{seed}" for look in LOOKS[: looks if preset in PRESETS else 2] for seed in SEEDS]


def found_anchors(folder: str, name: str, way: Way) -> int:
    """Return how many anchors there are: a small world shows fewer views than are asked for."""
    return len(anchors_of(folder, name, way.asked, driven=way.driven)) if way.asked else 0


def jobs_of(part: str, folder: Path, looks: int, presets: Sequence[str]) -> Iterator[Job]:
    """Yield what a part of the evidence takes."""
    for preset in (name for name in (PRESETS[::-1] if part == "sweep" else (*PRESETS, *OTHERS)) if name in presets):
        names = list(native_names(folder, preset, SWEEP_AGENTS if part == "sweep" else ends_of(preset, looks)))
        seen = set()
        for way in WAYS if part == "sweep" else CROSS:
            if not names or (key := way._replace(asked=found_anchors(str(folder), names[0], way))) in seen:
                continue  # the same anchors again
            seen.add(key)
            if way in FEWER:
                names = [name for name in names if name.removeprefix(f"{preset}-") in SWEEP_AGENTS]
            crossed = [(x, y) for x, y in itertools.permutations(names, 2) if seed_of(x) != seed_of(y)]
            alone = [(name, name) for name in names if way.method == "relative"]
            yield str(folder), (*alone, *crossed), way


def measure(part: str, folder: Path, looks: int, presets: Sequence[str], workers: int) -> None:
    """Measure the cells that are not in the table yet; the table is written after each way of a preset."""
    rows = stored(part)
    known = {(row["encoder"], row["controller"], *(row[field] for field in Way._fields)) for row in rows}
    jobs = [
        (folder, tuple(pair for pair in pairs if (*pair, *way) not in known), way)
        for folder, pairs, way in jobs_of(part, folder, looks, presets)
    ]
    todo = [job for job in jobs if job[1]]
    print(f"{len(todo)} jobs", flush=True)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done, future in enumerate(as_completed([pool.submit(cells, job) for job in todo]), 1):
            rows += future.result()
            write_table(rows, RESULTS / f"relative-{part}")
            print(f"{done} of {len(todo)}", flush=True)


def stored(part: str) -> list[dict[str, Any]]:
    """Return the rows that have been measured."""
    path = RESULTS / f"relative-{part}.json"
    rows: list[dict[str, Any]] = read_json(path) if path.is_file() else []  # type: ignore[assignment]
    return [{"driven": False, **row} for row in rows]


def main() -> None:
    """Measure what is missing and write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("sweep", "cross", "tables"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--looks", type=int, default=len(LOOKS), help="of the cross, the first so many")
    parser.add_argument("--agents", type=Path, default=Path("agents"))
    parser.add_argument("--presets", nargs="+", choices=(*PRESETS, *OTHERS), default=(*PRESETS, *OTHERS))
    options = parser.parse_args()
    if options.part != "tables":
        measure(options.part, options.agents, options.looks, options.presets, options.workers)
    if rows := stored("sweep"):
        write_sweep(rows, RESULTS / "relative-sweep")
    if rows := stored("cross"):
        write_cross(rows, RESULTS / "relative-cross")


if __name__ == "__main__":
    main()
