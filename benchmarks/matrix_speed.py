"""A whole stitching matrix beside the same cells one by one: through `evaluate_policy`, and through our own evaluation.

    python benchmarks/matrix_speed.py           # 8 agents, 3 methods, 100 episodes: some 10 minutes of a quiet machine
    python benchmarks/matrix_speed.py --quick   # 3 agents, 10 episodes; prints, and writes nothing

The matrix is measured whole, from nothing, with two workers; so is every one of its cells, one after the other. What
`evaluate_policy` does is scaled up from the first episodes of every cell, as cells that fail last many times longer
than others; it plays one environment of the same look, drawn by our atlas, which is faster than MiniGrid's own drawing.
Greedy episodes that are played together are compared with those of each agent alone. Writes
docs/results/matrix-speed.md.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.evaluation import evaluate_policy

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import load_agent
from rlstitch.api.matrix import DEFAULT_METHODS, matrix
from rlstitch.envs import World, cell_world, make_vec
from rlstitch.envs.sb3 import StableBaselinesVecEnv
from rlstitch.rollouts.episodes import Step, play
from rlstitch.rollouts.evaluation import Head, evaluate, evaluate_together
from rlstitch.stitching.pairs import gather_pairs
from rlstitch.stitching.stitch import stitch_agents

PAGE = Path("docs/results/matrix-speed.md")
AGENTS = tuple(
    f"{name}-{look}" for name in ("doorkey-6x6", "lavagap") for look in ("red-s1", "green-s2", "red-s3", "green-s4")
)
PARTS = ("pairs", "map", "episodes", "evaluate_policy")
NEAR_TIE = 1e-3
"""Gap of the two best logits under which two ways of adding up may choose differently."""


@dataclass(frozen=True)
class Spent:
    """Time that something took."""

    wall: float
    processor: float


def timed(do: Callable[[], Any]) -> tuple[Any, Spent]:
    """Return a result, and what it took in this process and in those that it started and ended."""
    wall, processor = time.perf_counter(), _processor()
    result = do()
    return result, Spent(time.perf_counter() - wall, _processor() - processor)


def _processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def whole_matrix(names: Sequence[str], episodes: int, workers: int) -> tuple[dict[str, int], Spent]:
    """Run a matrix into an empty folder; return the number of cells that were played, by method."""
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"episodes": episodes, "workers": workers, "out": Path(folder)}
        result, spent = timed(lambda: matrix(names, **options))
        cells = [cell for cell in result.results.cells if cell.state == "done"]
        if not result.complete:
            raise SystemExit("the matrix is not complete")
    return {method: sum(cell.method == method for cell in cells) for method in DEFAULT_METHODS}, spent


def one_by_one(encoder: Agent, policy: Agent, method: str, episodes: int, peer_episodes: int) -> dict[str, Spent]:
    """Make and measure one cell from nothing; `evaluate_policy` is scaled up from its first episodes."""
    world = cell_world(encoder.card.world, policy.card.world)
    pairs, gathered = timed(lambda: gather_pairs(encoder, policy))
    stitch, fitted = timed(lambda: stitch_agents(encoder, policy, pairs, method=method))
    _, played = timed(lambda: evaluate(stitch.agent, world, episodes=episodes))
    _, theirs = timed(lambda: peer(stitch.agent, world, peer_episodes))
    factor = episodes / peer_episodes
    scaled = Spent(theirs.wall * factor, theirs.processor * factor)
    return dict(zip(PARTS, (gathered, fitted, played, scaled), strict=True))


def peer(agent: Agent, world: World, episodes: int) -> None:
    """Play by Stable-Baselines3, one environment."""
    env = StableBaselinesVecEnv(make_vec(world, 1, seed=0))
    evaluate_policy(agent, env, episodes, deterministic=False)
    env.close()


def greedy_agreement(agents: Sequence[Agent], episodes: int) -> tuple[int, int, list[float]]:
    """Return greedy episodes compared, those that are equal, and the smallest gap of two best logits in the others.

    The encoder is the first agent's, the controllers are those of its own environment.
    """
    source = agents[0]
    others = [a for a in agents[1:] if a.card.world.environment == source.card.world.environment]
    made = []
    for policy in others:
        pairs = gather_pairs(source, policy)
        made += [(policy, method, stitch_agents(source, policy, pairs, method=method)) for method in DEFAULT_METHODS]
    world = cell_world(source.card.world, others[0].card.world)
    heads = [
        Head(None if method == "naive" else s.agent.encoder.translation, s.agent.controller) for _, method, s in made
    ]
    together = dict(evaluate_together(source, heads, world, episodes=episodes, deterministic=True))
    equal, gaps = 0, []
    for number, (_, _, stitch) in enumerate(made):
        alone, actual = evaluate(stitch.agent, world, episodes=episodes, deterministic=True), together[number]
        same = (alone.returns == actual.returns) & (alone.lengths == actual.lengths)
        equal += int(same.sum())
        gaps += [smallest_gap(stitch.agent, world, episode) for episode in np.flatnonzero(~same).tolist()]
    return len(made) * episodes, equal, gaps


def smallest_gap(agent: Agent, world: World, episode: int) -> float:
    """Return the smallest gap between the two best logits that an agent meets in a greedy episode."""
    gaps: list[float] = []

    def look(step: Step, _: Any) -> None:
        best = agent.action_parameters(step.observations).topk(2, dim=1).values
        gaps.append(float((best[:, 0] - best[:, 1]).min()))

    env = make_vec(world, 1, seed=0, autoreset="disabled")
    play(agent, env, [episode], seed=0, deterministic=True, watch=look)
    env.close()
    return min(gaps)


def total(measured: Sequence[dict[str, Spent]], parts: Sequence[str]) -> Spent:
    """Return what these parts of all cells took."""
    spent = [cell[part] for cell in measured for part in parts]
    return Spent(sum(one.wall for one in spent), sum(one.processor for one in spent))


def page(cells: dict[str, int], options: argparse.Namespace, rows: list[tuple[str, Spent]], agreed: Any) -> str:
    """Return the page."""
    compared, equal, gaps = agreed
    matrix = rows[0][1]
    lines = [
        "# Speed of a matrix",
        "",
        f"`python benchmarks/matrix_speed.py`: {options.agents} agents, {sum(cells.values())} cells "
        f"({', '.join(f'{method} {count}' for method, count in cells.items())}), {options.episodes} sampled",
        f"episodes a cell, {options.workers} workers. One by one, in one process: every cell; by `evaluate_policy` "
        f"{options.peer_episodes} episodes of each,",
        "taken for all, in one environment, drawn by our atlas. Processor seconds are of all processes, and mind a",
        "busy machine less.",
        "",
        "| | wall, s | of the matrix | processor, s | of the matrix |",
        "|---|---|---|---|---|",
    ]
    for name, spent in rows:
        lines.append(
            f"| {name} | {spent.wall:,.1f} | {spent.wall / matrix.wall:.1f} × | {spent.processor:,.1f} | "
            f"{spent.processor / matrix.processor:.1f} × |"
        )
    lines += [
        "",
        "Bars: 10 × `evaluate_policy`, 2 × our own evaluation cell by cell.",
        "",
        f"Greedy episodes played together that equal those of each agent alone: {equal} of {compared} "
        f"({equal / compared:.2%}; bar 99.5 %).",
    ]
    if gaps:
        near = sum(gap < NEAR_TIE for gap in gaps)
        lines += ["", f"Of the others, {near} of {len(gaps)} meet two logits that differ by less than {NEAR_TIE:g}."]
    lines += [
        "",
        "Where the time goes: gathering pairs, which plays 20,000 steps where a world shows fewer views than were",
        "asked for, and is shared by the methods of a cell; then environments, which step in Python. Each distinct",
        "view is encoded once for all cells of an encoder, so that networks take little.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small matrix; print, write nothing")
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--peer-episodes", type=int, default=10, help="episodes of a cell by evaluate_policy")
    options = parser.parse_args()
    if options.quick:
        options.agents, options.episodes, options.peer_episodes = 3, 10, 3
    torch.set_num_threads(1)
    names = AGENTS[: options.agents]
    agents = [load_agent(name) for name in names]
    evaluate(agents[0], episodes=2)  # what is loaded once is loaded
    cells, matrix = whole_matrix(names, options.episodes, options.workers)
    measured = [
        one_by_one(encoder, policy, method, options.episodes, options.peer_episodes)
        for encoder, policy in permutations(agents, 2)
        for method in DEFAULT_METHODS
    ]
    if len(measured) != sum(cells.values()):
        raise SystemExit(f"{sum(cells.values())} cells in the matrix, {len(measured)} one by one")
    rows = [("the matrix, from nothing", matrix)]
    for name, parts in (
        ("`evaluate_policy`, episodes alone", PARTS[3:]),
        ("our evaluation: pairs, map, episodes", PARTS[:3]),
        ("our evaluation, episodes alone", PARTS[2:3]),
        ("of it: pairs", PARTS[:1]),
        ("of it: map", PARTS[1:2]),
    ):
        rows.append((name, total(measured, parts)))
    text = page(cells, options, rows, greedy_agreement(agents, options.episodes))
    print(text)
    if not options.quick:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
