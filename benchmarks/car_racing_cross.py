"""CarRacing: every green encoder with every red controller and the reverse, on pairs of one rollout.

    python benchmarks/car_racing_cross.py [--methods naive,affine,task_matched] [--pairs 4096] [--episodes 100]

All agents drive for the pairs, beside random actions; both looks see every state: one rollout serves every cell. Each
map is fitted on the pairs and judged on 512 more; `relative` makes both agents relative to the same states, and distils
on what each meets in its own world. Cells are played as sampled episodes on the same tracks as the controller's own
agent (100 %) and random play (0 %). What is in `--out` is not played again. Prints a table, and writes
docs/results/car-racing-matched.csv. Run it where `agents/` has the agents; needs `pip install "rlstitch[fast]"`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from safetensors.numpy import load_file, save_file
from scipy import stats

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import load_agent
from rlstitch.envs import World
from rlstitch.rollouts.actors import Actor, RandomAgent
from rlstitch.rollouts.episodes import play
from rlstitch.rollouts.evaluation import environments
from rlstitch.rollouts.image_pairs import collect_paired_images
from rlstitch.rollouts.recording import Images
from rlstitch.rollouts.statistics import recovery, summarize
from rlstitch.stitching.pairs import LatentPairs
from rlstitch.stitching.relativize import relativize_agent, visited_states
from rlstitch.stitching.stitch import stitch_agents
from rlstitch.storage import write_json, write_table

GREEN, RED = ("carracing-green-s1", "carracing-green-s3"), ("carracing-red-s2", "carracing-red-s4")
WORLD = World("CarRacing-v3", backend="envpool", actions="discrete", action_repeat=4, frame_stack=2, crop=84, size=48)
HELD = 512


@dataclass(frozen=True)
class Cells:
    """What is measured, and where it is kept."""

    agents: dict[str, Agent]
    pairs: int
    episodes: int
    out: Path
    made: dict[str, Agent] = field(default_factory=dict)
    """Relativized agents."""

    def images(self) -> dict[str, Images]:
        """Images `(pairs + HELD, 48, 48, 6)` of the same states under `green` and `red`, in one order."""
        path = self.out / f"images-{self.pairs}.safetensors"
        if not path.exists():
            one, other = (self.agents[names[0]].card.world for names in (GREEN, RED))
            both = collect_paired_images(one, other, count=self.pairs + HELD, agents=list(self.agents.values()))
            order = np.random.default_rng(0).permutation(len(both[0]))
            self.out.mkdir(parents=True, exist_ok=True)
            save_file({look: seen[order] for look, seen in zip(("green", "red"), both, strict=True)}, path)
        return load_file(path)

    def latents(self) -> dict[str, torch.Tensor]:
        """Latents `(pairs + HELD, 128)` of every agent on these states."""
        path = self.out / f"latents-{self.pairs}.safetensors"
        if not path.exists():
            images = self.images()
            found = {name: agent.encode(images[_look(name)]).numpy() for name, agent in self.agents.items()}
            save_file(found, path)
        return {name: torch.from_numpy(found) for name, found in load_file(path).items()}

    def part(self, name: str, method: str) -> Agent:
        """An agent; for `relative` one relative to the states of the pairs."""
        if method != "relative":
            return self.agents[name]
        if name not in self.made:
            images = self.images()
            seen, same = images[_look(name)][:-HELD], hashlib.sha256(images["green"][:-HELD].tobytes()).hexdigest()
            agent = self.agents[name]
            states = visited_states(agent)
            self.made[name] = relativize_agent(agent, seen, states, anchor_set=same, name=name, judge=False).agent
        return self.made[name]

    def known(self, encoder: Agent, controller: Agent) -> LatentPairs:
        """Their latents of the same states, the last `HELD` held out."""
        if encoder.card.method == "relativized":
            images = self.images()
            x, y = (agent.encode(images[_look(agent.card.name)]) for agent in (encoder, controller))
        else:
            latents = self.latents()
            x, y = (latents[agent.card.name] for agent in (encoder, controller))
        return LatentPairs(x[:-HELD], y[:-HELD], x[-HELD:], y[-HELD:], distinct_views=len(x))

    def returns(self, name: str, make: Callable[[], tuple[Actor, dict[str, float]]]) -> dict[str, Any]:
        """Returns of an agent, and what else `make()` says of it; what is on the disk is not played again."""
        path = self.out / f"{name}.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"returns": []}
        missing = range(len(found["returns"]), self.episodes)
        if missing:
            agent, said = make()
            world = agent.card.world if isinstance(agent, Agent) else WORLD
            with environments(world, len(missing), num_envs=64, seed=0) as env:
                played = play(agent, env, missing, seed=0)
            found = {**said, "returns": [*found["returns"], *played.returns.tolist()]}
            write_json(path, found)
        return {**found, "returns": found["returns"][: self.episodes]}

    def baselines(self, controller: str) -> tuple[list[float], list[float]]:
        """Returns of random play, and of the controller's own agent in its own world."""
        random = self.returns("random", lambda: (RandomAgent(Discrete(5)), {}))
        native = self.returns(controller, lambda: (self.agents[controller], {}))
        return random["returns"], native["returns"]

    def row(self, encoder: str, controller: str, method: str) -> dict[str, Any]:
        """One cell under one method: played if need be, and set against its baselines."""

        def make() -> tuple[Actor, dict[str, float]]:
            one, other = (self.part(name, method) for name in (encoder, controller))
            made = stitch_agents(one, other, self.known(one, other), method=method)
            return made.agent, {"agreement": made.report.action_agreement, "kl": made.report.kl}

        found = self.returns(f"{encoder}--{controller}--{method}-{self.pairs}", make)
        random, native = self.baselines(controller)
        mean, recovered = summarize(found["returns"]).mean, recovery(found["returns"], random, native)
        assert recovered is not None
        return {
            "encoder": encoder,
            "controller": controller,
            "method": method,
            "pairs": self.pairs,
            "episodes": self.episodes,
            "return": mean.estimate,
            "return_low": mean.low,
            "return_high": mean.high,
            "native": float(np.mean(native)),
            "recovery": recovered.estimate,
            "recovery_low": recovered.low,
            "recovery_high": recovered.high,
            "agreement": found["agreement"],
            "kl": found["kl"],
        }


def _look(name: str) -> str:
    return "green" if name in GREEN else "red"


def mean_line(rows: Sequence[dict[str, Any]], method: str) -> str:
    """Mean recovery of a method over its cells, with Student's t interval over the cells."""
    found = np.array([row["recovery"] for row in rows if row["method"] == method])
    wide = stats.t.ppf(0.975, len(found) - 1) * stats.sem(found) if len(found) > 1 else np.nan
    middle = found.mean()
    return f"{method}: mean of {len(found)} cells {middle:.1f} [{middle - wide:.1f}, {middle + wide:.1f}]"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| encoder | controller | method | return | recovery | agreement | KL |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        names = " | ".join(row[key].removeprefix("carracing-") for key in ("encoder", "controller", "method"))
        lines.append(
            f"| {names} | {row['return']:.0f} [{row['return_low']:.0f}, {row['return_high']:.0f}] "
            f"| {row['recovery']:.1f} [{row['recovery_low']:.1f}, {row['recovery_high']:.1f}] "
            f"| {row['agreement']:.2f} | {row['kl']:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing, print, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--methods", default="naive,affine,task_matched")
    parser.add_argument("--pairs", type=int, default=4096)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--agents", default=",".join((*GREEN, *RED)), help="whose cells are played")
    parser.add_argument("--out", type=Path, default=Path("runs/car-racing-cross"))
    parser.add_argument("--table", type=Path, default=Path("docs/results/car-racing-matched"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    cells = Cells({name: load_agent(name) for name in (*GREEN, *RED)}, options.pairs, options.episodes, options.out)
    couples = [couple for green in GREEN for red in RED for couple in ((green, red), (red, green))]
    couples = [couple for couple in couples if set(couple) <= set(options.agents.split(","))]
    methods, rows = options.methods.split(","), []
    for method in methods:
        for encoder, controller in couples:
            rows.append(cells.row(encoder, controller, method))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    print("\n".join([table(rows), *(mean_line(rows, method) for method in methods)]))
    write_table(rows, options.table)


if __name__ == "__main__":
    main()
