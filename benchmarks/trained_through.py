"""Agents trained through a relative projection: do they carry, and what makes them carry or fail?

    rlstitch train minigrid-doorkey --representation relative --variation red --seed 1 --name doorkey-relative-red-s1 \\
        --set threads=1 relative.anchors=512           # likewise green 2, red 3
    python benchmarks/trained_through.py [--agents agents] [--natives agents] [--tables]

Writes docs/results/relative-through.{md,json,csv}; what is there is kept.
"""

from __future__ import annotations

import argparse
import copy
import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cross_page import interval
from rlstitch.agents.agent import Agent
from rlstitch.agents.anchor_set import AnchorSet
from rlstitch.agents.artefact import load_agent
from rlstitch.agents.encoder import RelativeEncoder, TranslatedEncoder
from rlstitch.envs import World
from rlstitch.evaluation.baselines import Baselines
from rlstitch.evaluation.cell import measure_cell
from rlstitch.latent import fit_affine
from rlstitch.rollouts.anchors import default_anchor_set
from rlstitch.stitching.diagnosis.indicators import effective_rank
from rlstitch.stitching.relativize import Distillation, relativize_agent, visited_states
from rlstitch.storage import read_json, write_table

ENDS = ("red-s1", "green-s2", "red-s3")
PROJECTIONS = (("standardize", 0.0), ("whiten", 0.05))
NOISES = (0.0, 0.2)
STEPS = 1000
RESULTS = Path("docs/results/relative-through")
Row = dict[str, Any]
PAGE = """# Agents trained through a relative projection

`rlstitch train minigrid-doorkey --representation relative --variation LOOK --seed SEED --name
doorkey-relative-LOOK-sSEED --set threads=1 relative.anchors=512` for red 1 and green 2 (98,320 and 344,080 steps; 138
anchors, all the views that the world shows; cosines after standard scaling, α 0.99), then `python
benchmarks/trained_through.py`. Recovery in percent of the *absolute* native agent of the same look and seed (100;
random play 0), 100 sampled episodes a cell, seeds differ. ± is half of the 95 % interval (Student's t over cells);
where a row has two cells, both values are given. One thread of a shared two-core machine, torch 2.13.0.

The same agents were then taken apart: their encoders with controllers distilled anew on another projection (1,000
steps), beside absolutely trained encoders (red 1, green 2, red 3) treated in the same way. `rank`: effective rank of
the latents before the projection; `matched`: mean cosine, about their means, of the two encoders' features of the
same view; `nearest`: how often that view is the nearest; `agreement`: how often the controller's likeliest action
stays the same.
"""
CONCLUSION = """
Whether agents that were trained through a projection can be crossed depends on its *statistics*, not on the encoders
(two agents, two cells). As trained, one crossing fails and the other keeps most of the return. The stored anchors lag
behind the encoder: with anchors embedded anew both crossings work, but the agents themselves lose return, since their
controllers learned with the old ones. The rest is due to standard scaling: features of the same view are hardly alike
(matched 0.53), whatever the controller, while those of absolutely trained encoders are similar enough (0.81) to cross
at 98. Whitened, the features of both kinds agree equally well (0.89 and 0.90), and both cross without loss; noise in
the distillation has no effect here. An affine map fitted on the anchors works, too: nothing is missing from the
encoders. So `rlstitch relativize`, which keeps the encoder and whitens, repairs an agent that was trained through a
projection.

Not measured: a third agent, other worlds, and training through whitened cosines or with another α. Distilled rows were
measured before `relativize` distilled on anchors too; CarRacing: [its page](car-racing.md).
"""


@dataclass(frozen=True)
class Variant:
    """What is done to trained agents before they are crossed."""

    encoder: str
    """`through` or `absolute`."""
    controller: str
    """`as trained` or `distilled`; or how trained ones are joined."""
    normalization: str = "standardize"
    shrinkage: float = 0.0
    noise: float = 0.0


DISTILLED, AFRESH, MAPPED = "distilled", "as trained, anchors embedded afresh", "as trained, an affine map between"
AS_TRAINED = Variant("through", "as trained")
VARIANTS = (
    Variant("absolute", AS_TRAINED.controller),
    AS_TRAINED,
    Variant("through", AFRESH),
    Variant("through", MAPPED),
    *(
        Variant(encoder, DISTILLED, *projection, noise)
        for encoder in ("through", "absolute")
        for projection in PROJECTIONS
        for noise in NOISES
    ),
)


@dataclass(frozen=True)
class Folders:
    """Where the agents are."""

    through: Path
    natives: Path


@cache
def load(folder: Path, name: str) -> Agent:
    """Load an agent once."""
    return load_agent(folder / name)


@lru_cache(maxsize=6)
def states_of(folder: Path, name: str) -> Any:
    """Return what an agent meets; a hundred megabytes each, so few are kept."""
    return visited_states(load(folder, name), seed=0)


@cache
def anchors() -> AnchorSet:
    """Return the anchors: all the views that the world shows."""
    return default_anchor_set(World("MiniGrid-DoorKey-5x5-v0"), 512)


def images(agent: Agent) -> Any:
    """Return the anchors under an agent's look, uint8 `(n, H, W, C)`."""
    return anchors().render_in(agent.card.world)


def prepared(variant: Variant, folder: Path, name: str) -> Agent:
    """Return an agent as a variant wants it."""
    agent = load(folder, name)
    if variant.controller == DISTILLED:
        return relativize_agent(
            agent,
            images(agent),
            states_of(folder, name),
            anchor_set=anchors().identity,
            similarity="cosine",
            normalization=variant.normalization,
            shrinkage=variant.shrinkage,
            distillation=Distillation(steps=STEPS, noise=variant.noise, standardize=True),
            judge=False,
        ).agent
    if variant.controller != AFRESH:
        return agent
    encoder = copy.deepcopy(agent.encoder)
    assert isinstance(encoder, RelativeEncoder)
    with torch.no_grad():
        encoder.set_anchors(encoder.base(agent.images(images(agent))))
    return Agent(encoder, agent.controller, agent.card)


def cross(agents: dict[str, Agent], natives: dict[str, Agent], *, mapped: bool = False) -> Iterator[Row]:
    """Cross agents of different seeds, and each with itself; say what controllers are told of the same views."""
    baselines = Baselines()
    seen = {end: agent.encode(images(agent)) for end, agent in agents.items()}
    for one, other in itertools.product(agents, repeat=2):
        encoder, policy, native = agents[one], agents[other], natives[other]
        if one != other and one[-1] == other[-1]:
            continue
        joined, x, y = encoder.encoder, seen[one], seen[other]
        if mapped:
            between = fit_affine(x, y)
            joined, x = TranslatedEncoder(joined, between), between(x)
        stitched = Agent(joined, policy.controller, policy.card)
        cell = measure_cell(encoder, native, "relative", stitched=stitched, baselines=baselines)
        row = {"encoder_of": one, "controller_of": other, "return": cell.return_mean}
        row |= {"recovery": cell.recovery, "low": cell.recovery_low, "high": cell.recovery_high}
        yield row | likeness(x, y) | {"agreement": agreement(policy, x, y), "rank": base_rank(encoder)}


def base_rank(agent: Agent) -> float:
    """Return the effective rank of the latents before the projection, over all views."""
    encoder = agent.encoder.base if isinstance(agent.encoder, RelativeEncoder) else agent.encoder
    with torch.no_grad():
        return float(effective_rank(encoder(agent.images(images(agent)))))


def likeness(x: Tensor, y: Tensor) -> dict[str, float]:
    """Return the mean cosine of the same views' features about their means, and how often the nearest is the same."""
    a, b = (functional.normalize(features - features.mean(0), dim=1) for features in (x, y))
    cosines = a @ b.T
    same = cosines.argmax(dim=1) == torch.arange(len(cosines))
    return {"matched": float(cosines.diagonal().mean()), "nearest": float(same.float().mean())}


def agreement(policy: Agent, x: Tensor, y: Tensor) -> float:
    """Return how often a controller's likeliest action is the same on either side's features."""
    with torch.no_grad():
        chosen = [policy.controller.action_parameters(features).argmax(dim=1) for features in (x, y)]
    return float((chosen[0] == chosen[1]).float().mean())


def missing_rows(rows: list[Row], folders: Folders) -> Iterator[list[Row]]:
    """Measure the variants that are not there yet."""
    natives = {end: load(folders.natives, f"doorkey-{end}") for end in ENDS}
    known = {tuple(row[field] for field in asdict(AS_TRAINED)) for row in rows}
    for variant in VARIANTS:
        if tuple(asdict(variant).values()) in known:
            continue
        absolute = variant.encoder == "absolute"
        folder, stem = (folders.natives, "doorkey") if absolute else (folders.through, "doorkey-relative")
        names = {end: f"{stem}-{end}" for end in ENDS if (folder / f"{stem}-{end}/agent.json").is_file()}
        agents = {end: prepared(variant, folder, name) for end, name in names.items()}
        yield [asdict(variant) | row for row in cross(agents, natives, mapped=variant.controller == MAPPED)]
        print(variant, flush=True)


def line_of(rows: list[Row]) -> str:
    """Return the columns of a variant: cells, rank, own and crossed recovery, likeness of features, agreement."""
    rows = [row for row in rows if row["recovery"] is not None]  # a native that is no better than random leaves none
    own = [row for row in rows if row["encoder_of"] == row["controller_of"]]
    crossed = [row for row in rows if row["encoder_of"] != row["controller_of"]]
    mean, half = interval([row["recovery"] for row in crossed])
    ends = f"{mean:.1f} ± {half:.1f} | {min(row['recovery'] for row in crossed):.1f}"
    if len(crossed) == 2:
        ends = f"{mean:.1f} ({crossed[0]['recovery']:.1f}, {crossed[1]['recovery']:.1f}) | {ends.split(' | ')[1]}"
    figures = " | ".join(f"{np.mean([row[key] for row in crossed]):.2f}" for key in ("matched", "nearest", "agreement"))
    rank, alone = (np.mean([row[key] for row in own]) for key in ("rank", "recovery"))
    return f"{len(crossed)} | {rank:.0f} | {alone:.1f} | {ends} | {figures}"


def table(first: tuple[str, ...], groups: dict[tuple[str, ...], list[Row]]) -> list[str]:
    """Return a table with a line a group."""
    titles = (*first, "cells", "rank", "own", "crossed: mean", "worst", "matched", "nearest", "agreement")
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    return lines + [f"| {' | '.join(names)} | {line_of(rows)} |" for names, rows in groups.items()]


def write_page(rows: list[Row]) -> None:
    """Write the page."""
    variants: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        fitted = row["controller"] == DISTILLED
        projected = row["normalization"] if row["encoder"] == "through" or fitted else "–"
        way = (projected, str(row["noise"]) if fitted else "–")
        naive = not fitted and row["encoder"] == "absolute"
        variants.setdefault((row["encoder"], "as trained: naive" if naive else row["controller"], *way), []).append(row)
    variants = dict(sorted(variants.items(), key=lambda item: "naive" not in item[0][1]))
    text = [PAGE, *table(("encoder", "controller", "statistics", "noise"), variants), CONCLUSION.rstrip()]
    RESULTS.with_suffix(".md").write_text("\n".join(text) + "\n")


def main() -> None:
    """Parse, measure what is missing, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=Path, default=Path("agents"), help="those trained through")
    parser.add_argument("--natives", type=Path, default=Path("agents"), help="absolute natives")
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    stored = RESULTS.with_suffix(".json")
    rows: list[Row] = read_json(stored) if stored.is_file() else []  # type: ignore[assignment]
    if not options.tables:
        for measured in missing_rows(rows, Folders(options.agents, options.natives)):
            rows += measured
            write_table(rows, RESULTS)
    write_page(rows)


if __name__ == "__main__":
    main()
