"""Do agents that plain Stable-Baselines3 trained stitch as well as our own? DoorKey-5x5, NatureCNN, two looks.

    python benchmarks/imported_agents.py train [--workers 2]   # some ten minutes an agent; skips models that are there
    python benchmarks/imported_agents.py cells    # imports, stitches, evaluates; skips cells that are there
    python benchmarks/imported_agents.py table    # docs/results/imported.md, .csv and .json

Everything but the table lies in `runs/imported`, a file a model and a cell: any command may be stopped and started
again. Training knows nothing of rlstitch: Gymnasium, MiniGrid's own wrappers and `PPO("CnnPolicy")`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ENVIRONMENT = "MiniGrid-DoorKey-5x5-v0"
LOOKS = ("standard", "inverted")
BAR = 95.0
RESULTS = Path("docs/results")


@dataclass(frozen=True)
class Plan:
    """How much is done; the tests do less."""

    folder: Path = Path("runs/imported")
    looks: tuple[str, ...] = LOOKS
    seeds: tuple[int, ...] = (1, 2)
    steps: int = 1_000_000
    num_envs: int = 16
    n_steps: int = 128
    success: float = 0.99
    episodes: int = 200
    pairs: int = 1024
    gate: float = 0.95
    """Native agents whose success is below this are left out of the table, which says so."""

    def names(self) -> list[tuple[str, str, int]]:
        """Name, look and seed of every agent."""
        return [(f"sb3-doorkey-{look}-s{seed}", look, seed) for look in self.looks for seed in self.seeds]

    def crossings(self) -> list[tuple[str, str]]:
        """Encoder and controller of every cell: two agents of different seeds, under any looks."""
        return [(x, y) for (x, _, s), (y, _, t) in itertools.permutations(self.names(), 2) if s != t]


def train_model(plan: Plan, look: str, seed: int, path: Path) -> None:
    """Train one model and save it, with how it went beside it; plain Stable-Baselines3."""
    import gymnasium
    import torch
    from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    class Negative(gymnasium.ObservationWrapper[Any, Any, Any]):
        """The negative of every picture."""

        def observation(self, observation: Any) -> Any:
            return 255 - observation

    class StopWhenGood(BaseCallback):
        """End once the last 200 episodes of training, sampled, succeeded often enough."""

        def _on_step(self) -> bool:
            episodes = self.model.ep_info_buffer or ()
            if episodes and self.num_timesteps % 20_480 == 0:
                share = sum(episode["r"] > 0 for episode in episodes) / len(episodes)
                print(f"{path.stem}: {self.num_timesteps:,} steps, success {share:.0%}", flush=True)
            return len(episodes) < 200 or sum(e["r"] > 0 for e in episodes) < plan.success * len(episodes)

    def wrapped(environment: Any) -> Any:
        images = ImgObsWrapper(RGBImgPartialObsWrapper(environment))
        return Negative(images) if look == "inverted" else images

    torch.set_num_threads(1)
    started = time.perf_counter()
    model = PPO(
        "CnnPolicy",
        make_vec_env(ENVIRONMENT, plan.num_envs, seed=seed, wrapper_class=wrapped),
        n_steps=plan.n_steps,
        batch_size=plan.num_envs * plan.n_steps // 8,
        n_epochs=4,
        learning_rate=5e-4,
        ent_coef=0.01,
        stats_window_size=200,
        seed=seed,
        device="cpu",
    )
    model.learn(plan.steps, callback=StopWhenGood())
    path.parent.mkdir(parents=True, exist_ok=True)
    seconds = round(time.perf_counter() - started, 1)
    path.with_suffix(".json").write_text(json.dumps({"steps": model.num_timesteps, "seconds": seconds}))
    draft = path.with_name(f".draft-{path.name}")
    model.save(draft)
    draft.replace(path)
    print(f"{path}: {model.num_timesteps:,} steps in {seconds:.0f} s", flush=True)


def train(plan: Plan, workers: int, run: Callable[[str], None]) -> None:
    """Train what is missing, several models at once, each in a process of its own (`run`)."""
    missing = [name for name, _, _ in plan.names() if not model_path(plan, name).exists()]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, missing))


def model_path(plan: Plan, name: str) -> Path:
    """Where a model's zip lies."""
    return plan.folder / "models" / f"{name}.zip"


def imported(plan: Plan, name: str, look: str) -> Any:
    """Return the agent of a model, imported once."""
    from rlstitch.agents.artefact import load_agent
    from rlstitch.api.import_agent import import_agent
    from rlstitch.envs import World

    agents = plan.folder / "agents"
    if not (agents / name / "agent.json").exists():
        world = World(ENVIRONMENT, variation=look)
        import_agent(model_path(plan, name), name=name, world=world, episodes=plan.episodes, seed=1, agents=agents)
    return load_agent(agents / name)


def cells(plan: Plan) -> None:
    """Stitch and evaluate every crossing that is missing: random, native, naive and affine, sampled and greedy."""
    from rlstitch.evaluation.baselines import Baselines
    from rlstitch.evaluation.cell import measure_with_baselines
    from rlstitch.evaluation.options import CellOptions
    from rlstitch.jobs.resources import torch_threads
    from rlstitch.stitching.pairs import gather_pairs
    from rlstitch.stitching.stitch import stitch_agents
    from rlstitch.storage import write_json

    agents = {name: imported(plan, name, look) for name, look, _ in plan.names() if model_path(plan, name).exists()}
    kinds = [CellOptions(episodes=plan.episodes, seed=7, greedy=greedy) for greedy in (False, True)]
    baselines = Baselines()
    for x, y in plan.crossings():
        path = plan.folder / "cells" / f"{x}--{y}.json"
        if path.exists() or x not in agents or y not in agents:
            continue
        with torch_threads(1):
            pairs = gather_pairs(agents[x], agents[y], pairs=plan.pairs, seed=3)
            joined = stitch_agents(agents[x], agents[y], pairs, method="affine")
            rows = [
                row
                for kind in kinds
                for row in measure_with_baselines(agents[x], agents[y], joined, pairs, kind, baselines)
            ]
        # Diagnostics hold infinities (condition numbers of latents with dead dimensions), which JSON has not.
        write_json(path, [{"source": x, "target": y, **replace(row, diagnostics=None).to_row()} for row in rows])
        print(path, flush=True)


def table(plan: Plan, results: Path = RESULTS) -> None:
    """Write the table of all cells that there are, and how many reach the bar."""
    from rlstitch.storage import write_table

    files = [plan.folder / "cells" / f"{x}--{y}.json" for x, y in plan.crossings()]
    rows = [row for file in files if file.exists() for row in json.loads(file.read_text())]
    weak = {
        (row["target"], row["policy"]): row["success"]
        for row in rows
        if row["method"] == "native" and row["success"] < plan.gate
    }
    rows = [row for row in rows if (row["target"], row["policy"]) not in weak]
    affine = [row for row in rows if row["method"] == "affine"]
    naive = [row for row in rows if row["method"] == "naive"]
    write_table([{key: value for key, value in row.items() if key != "diagnostics"} for row in rows],
                results / "imported")  # fmt: skip
    lines = [
        "# Imported agents",
        "",
        f"{ENVIRONMENT}: agents that plain Stable-Baselines3 trained (PPO, CnnPolicy, NatureCNN with 512 features),",
        "imported and stitched by an affine map; `python benchmarks/imported_agents.py train`, then `cells`, then",
        f"`table`. Every crossing of two agents of different seeds, {plan.episodes} episodes a cell;",
        f"recovery between random actions (0 %) and the native controller (100 %). Bar: {BAR:.0f} %. Two cores that",
        "did other work too; training stops at 99 % success of sampled episodes. Every cell: imported.csv.",
        "",
        "| agent | steps | seconds |",
        "|---|---|---|",
    ]
    for name, _, _ in plan.names():
        report = model_path(plan, name).with_suffix(".json")
        if report.exists():
            found = json.loads(report.read_text())
            lines.append(f"| {name} | {found['steps']:,} | {found['seconds']:.0f} |")
    if weak:
        found = ", ".join(f"{name}, {policy}: {success:.0%}" for (name, policy), success in sorted(weak.items()))
        lines += ["", f"Left out, as the native agent's own success is below {plan.gate:.0%}: {found}."]
    lines += ["", "| policy | method | cells | mean recovery | lowest | cells ≥ bar |", "|---|---|---|---|---|---|"]
    for policy, (method, found_rows) in itertools.product(
        ("sampled", "greedy"), (("affine", affine), ("naive", naive))
    ):
        shares = [row["recovery"] for row in found_rows if row["policy"] == policy and row["recovery"] is not None]
        if shares:
            good = sum(share >= BAR for share in shares)
            lines.append(f"| {policy} | {method} | {len(shares)} | {sum(shares) / len(shares):.1f} % | "
                         f"{min(shares):.1f} % | {good} of {len(shares)} |")  # fmt: skip
    lines += [
        "",
        "| encoder | controller | policy | native | naive | affine | recovery |",
        "|---|---|---|---|---|---|---|",
    ]
    for source, target, policy in dict.fromkeys((row["source"], row["target"], row["policy"]) for row in rows):
        mine = {
            row["method"]: row
            for row in rows
            if (row["source"], row["target"], row["policy"]) == (source, target, policy)
        }
        returns = " | ".join(
            f"{mine[m]['return_mean']:.3f}" if m in mine else "–" for m in ("native", "naive", "affine")
        )
        share = mine["affine"]["recovery"]
        lines.append(f"| {source} | {target} | {policy} | {returns} | {'–' if share is None else f'{share:.1f} %'} |")
    (results / "imported.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("train", "train-one", "cells", "table"))
    parser.add_argument("name", nargs="?", help="of the model that train-one trains")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=Plan.steps)
    parser.add_argument("--folder", type=Path, default=Plan.folder)
    options = parser.parse_args()
    plan = Plan(folder=options.folder, steps=options.steps)

    def run(name: str) -> None:
        settings = ["--steps", str(plan.steps), "--folder", str(plan.folder)]
        subprocess.run([sys.executable, __file__, "train-one", name, *settings], check=True)

    if options.action == "train":
        train(plan, options.workers, run)
    elif options.action == "train-one":
        look, seed = next((look, seed) for name, look, seed in plan.names() if name == options.name)
        train_model(plan, look, seed, model_path(plan, options.name))
    elif options.action == "cells":
        cells(plan)
    else:
        table(plan)


if __name__ == "__main__":
    main()
