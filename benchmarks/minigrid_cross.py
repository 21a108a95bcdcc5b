"""Every encoder with every controller: translation beside its baselines, over looks and seeds that differ.

    rlstitch grid configs/grids/evidence.yaml                # the native agents
    python benchmarks/minigrid_cross.py [--workers 2] [--agents agents] [--presets ...]

A cell is one encoder with the controller of an agent of another seed. Rows of a cell: naive; affine from 8, 32, 128 and
all pairs; task matched from all pairs; an affine map of *pixels* fitted on the same pairs, before the controller's own
encoder; the controller cloned on to the encoder's latents over the same pairs. Random and native stand in every cell as
the ends of its scale. 100 sampled episodes, 400 where the upper end of the interval is below the bar but near. Agents
whose own success is below 95 % are listed and left out. Rows that are in docs/results/minigrid-cross.json are kept.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import load_agent
from rlstitch.agents.controller import build_controller
from rlstitch.envs import World, cell_world, render_views
from rlstitch.evaluation.baselines import Baselines
from rlstitch.evaluation.cell import measure_cell
from rlstitch.evaluation.options import CellOptions
from rlstitch.rollouts.views import collect_views
from rlstitch.stitching.pairs import gather_pairs
from rlstitch.stitching.stitch import stitch_agents
from rlstitch.storage import write_table

LOOKS = ("red", "green", "blue", "yellow", "standard")
PRESETS = {
    "doorkey": LOOKS,
    "simplecrossing": LOOKS,
    "lavagap": LOOKS[:2],
    "lavagap-s7": LOOKS[:2],
    "doorkey-6x6": LOOKS[:2],
    "empty-random-6x6": LOOKS[:2],
    "unlock": LOOKS[:2],
}
SEEDS = (1, 2, 3)
FEW = (8, 32, 128)
ALL = 4096
GATE, BAR = 0.95, 95.0
TRANSLATED = {"affine, all pairs": "affine", "task matched, all pairs": "task_matched"}
METHODS = ("naive", *(f"affine, {n} pairs" for n in FEW), *TRANSLATED, "controller cloned", "affine map of pixels")
Job = tuple[str, str, str, str, tuple[str, ...]]
RESULTS = Path("docs/results/minigrid-cross")


class PixelAffine(nn.Module):
    """A ridge-affine map from the pictures of one look to those of another, then the other agent's encoder.

    With fewer pairs than pixels the map has the rank of the pairs: it is kept as two thin matrices.
    """

    def __init__(self, encoder: nn.Module, x: Tensor, y: Tensor, ridge: float = 1e-3) -> None:
        super().__init__()
        self.encoder = encoder
        self.shape = y.shape[1:]
        flat_x, flat_y = x.flatten(1), y.flatten(1)
        self.mean_x, self.mean_y = flat_x.mean(0), flat_y.mean(0)
        self.basis = flat_x - self.mean_x
        gram = self.basis @ self.basis.T
        gram += ridge * gram.diagonal().mean() * torch.eye(len(gram))
        self.weights = torch.linalg.solve(gram, flat_y - self.mean_y)

    @property
    def latent_dim(self) -> int:
        return self.encoder.latent_dim  # type: ignore[return-value]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.encoder.image_shape  # type: ignore[return-value]

    def spec(self) -> dict[str, Any]:
        return self.encoder.spec()  # type: ignore[operator, no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        mapped = (images.flatten(1) - self.mean_x) @ self.basis.T @ self.weights + self.mean_y
        latents: Tensor = self.encoder(mapped.clamp(0, 1).view(-1, *self.shape))
        return latents


def pixel_agent(encoder: Agent, policy: Agent, views: Any) -> Agent:
    """Join by an affine map of pixels, fitted on the same views under both looks."""
    pictures = [
        torch.from_numpy(
            render_views(views, variation=agent.card.world.variation, tile_size=agent.card.world.tile_size)
        )
        .permute(0, 3, 1, 2)
        .float()
        / 255
        for agent in (encoder, policy)
    ]
    joined: Any = PixelAffine(copy.deepcopy(policy.encoder), *pictures)
    return Agent(joined, copy.deepcopy(policy.controller), policy.card)


def cloned_agent(encoder: Agent, policy: Agent, x: Tensor, y: Tensor) -> Agent:
    """Clone the controller's behaviour on to the encoder's latents, over the same pairs."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clone = build_controller({**policy.controller.spec(), "latent_dim": x.shape[1]})
    with torch.no_grad():
        wanted = torch.softmax(policy.controller.action_parameters(y), dim=1)
    optimizer = torch.optim.Adam(clone.parameters(), lr=1e-3, weight_decay=1e-5)
    for _ in range(1000):
        optimizer.zero_grad()
        functional.cross_entropy(clone.action_parameters(x), wanted).backward()
        optimizer.step()
    return Agent(copy.deepcopy(encoder.encoder), clone.requires_grad_(False).eval(), policy.card)


@cache
def loaded(folder: str, name: str) -> Agent:
    """Load an agent once a process."""
    return load_agent(Path(folder) / name)


BASELINES = Baselines()
"""Of a process."""


def cell(job: Job) -> list[dict[str, Any]]:
    """Measure the rows of one cell that are asked for."""
    torch.set_num_threads(1)
    folder, preset, one, other, methods = job
    encoder, policy = loaded(folder, one), loaded(folder, other)
    world = cell_world(encoder.card.world, policy.card.world)
    rows = []

    def measured(agent: Agent, method: str, pairs: int, distinct: int | None) -> None:
        for episodes in (100, 400):
            options = CellOptions(episodes=episodes)
            found = measure_cell(encoder, policy, method, options, stitched=agent, baselines=BASELINES)
            high = found.recovery_high
            if high is None or not (method in TRANSLATED and BAR - 5 < high < BAR):
                break
        row = {"preset": preset, "encoder": one, "controller": other, "method": method, "pairs": pairs}
        row |= {"distinct_views": distinct, "episodes": episodes, "return": found.return_mean}
        ends = {"low": found.recovery_low, "high": high} if high is not None else {}
        rows.append(row | {"recovery": found.recovery} | ends)

    every = gather_pairs(encoder, policy, pairs=ALL, seed=0)
    views = every.distinct_views
    for method in methods:
        if method == "naive":
            measured(stitch_agents(encoder, policy, every, method="naive").agent, method, 0, views)
        elif method in TRANSLATED:
            made = stitch_agents(encoder, policy, every, method=TRANSLATED[method])
            measured(made.agent, method, min(ALL, views), views)
        elif method == "controller cloned":
            x, y = torch.cat([every.x, every.x_held]), torch.cat([every.y, every.y_held])
            measured(cloned_agent(encoder, policy, x, y), method, len(x), views)
        elif method == "affine map of pixels":
            plain = World(world.environment, task=world.task, view=world.view, tile_size=world.tile_size)
            seen = collect_views(plain, count=1024, seed=0, agents=[policy, encoder])
            measured(pixel_agent(encoder, policy, seen.views), method, len(seen), views)
        else:
            pairs = gather_pairs(encoder, policy, pairs=int(method.split()[1]), seed=0)
            measured(stitch_agents(encoder, policy, pairs, method="affine").agent, method, len(pairs.x), views)
    return rows


def gate(folder: Path, presets: Iterable[str]) -> dict[str, float]:
    """Return the success of every native that is there, as its card says."""
    found = {}
    for preset in presets:
        for look, seed in itertools.product(PRESETS[preset], SEEDS):
            name = f"{preset}-{look}-s{seed}"
            if (folder / name / "agent.json").is_file():
                training = load_agent(folder / name).card.training
                found[name] = (training and training.success_rate) or 0.0
            else:
                print(f"not there: {name}")
    return found


def jobs(folder: Path, presets: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield every cell whose two agents are there, are good enough and differ in seed."""
    for preset in presets:
        fit = [name for name, success in gate(folder, [preset]).items() if success >= GATE]
        for one, other in itertools.permutations(fit, 2):
            if one.rsplit("-s", 1)[1] != other.rsplit("-s", 1)[1]:
                yield str(folder), preset, one, other


def write(rows: list[dict[str, Any]], natives: dict[str, float]) -> None:
    """Write the table: one line a preset and method; and which natives there are."""
    write_table(rows, RESULTS)
    lines = [
        "# MiniGrid: every encoder with every controller",
        "",
        "`rlstitch grid configs/grids/evidence.yaml`, then `python benchmarks/minigrid_cross.py`. Recovery in percent",
        "(native controller 100, random play 0); 100 sampled episodes a cell (400 where near the bar); seeds differ on",
        "the two sides; `views`: distinct views found, on which all pairs are fitted. `upper ends`: cells whose 95 %",
        "interval reaches 95 %. One thread of a shared two-core machine, torch 2.13.0.",
        "",
        f"Natives: {len(natives)} agents, trained until they succeed. Left out, with a success below {GATE:.0%}: "
        + (", ".join(f"{name} ({success:.0%})" for name, success in natives.items() if success < GATE) or "none")
        + ".",
        "",
        "| preset | method | cells | pairs ÷ views | mean | median | worst | upper ends ≥ 95 % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (preset, method), group in itertools.groupby(
        sorted(rows, key=lambda r: (list(PRESETS).index(r["preset"]), r["method"])),
        lambda r: (r["preset"], r["method"]),
    ):
        mine = [row for row in group if row["recovery"] is not None]
        values = np.array([row["recovery"] for row in mine])
        share = f"{np.median([r['pairs'] for r in mine]):.0f} ÷ {np.median([r['distinct_views'] for r in mine]):.0f}"
        reached = sum(row["high"] >= BAR for row in mine)
        lines.append(
            f"| {preset} | {method} | {len(mine)} | {share} | {values.mean():.1f} | {np.median(values):.1f} | "
            f"{values.min():.1f} | {reached} of {len(mine)} |"
        )
    RESULTS.with_suffix(".md").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Measure what is missing and write the table after every few cells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--agents", type=Path, default=Path("agents"))
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=list(PRESETS))
    parser.add_argument("--limit", type=int, help="cells to measure in this run")
    options = parser.parse_args()
    stored = RESULTS.with_suffix(".json")
    rows: list[dict[str, Any]] = json.loads(stored.read_text()) if stored.is_file() else []
    known = {(row["encoder"], row["controller"], row["method"]) for row in rows}
    todo: list[Job] = []
    for job in jobs(options.agents, options.presets):
        missing = tuple(method for method in METHODS if (*job[2:], method) not in known)
        if missing:
            todo.append((*job, missing))
    todo, natives = todo[: options.limit], gate(options.agents, PRESETS)
    print(f"{len(todo)} cells")
    if not todo:
        write(rows, natives)
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        for done, future in enumerate(as_completed([pool.submit(cell, job) for job in todo]), 1):
            rows += future.result()
            if done % 10 == 0 or done == len(todo):
                write(rows, natives)
                print(f"{done} of {len(todo)}", flush=True)


if __name__ == "__main__":
    main()
