"""Do agents that plain Stable-Baselines3 trained stitch as well as our own? DoorKey-5x5, NatureCNN, two looks.

    python benchmarks/imported_agents.py train [--workers 2]   # some ten minutes an agent; skips models that are there
    python benchmarks/imported_agents.py import                # skips agents that are there
    python benchmarks/cross.py benchmarks/crosses/imported.yaml --agents runs/imported/agents

Models and agents lie in `runs/imported`: any command may be stopped and started again. Training knows nothing of
rlstitch: Gymnasium, MiniGrid's own wrappers and `PPO("CnnPolicy")`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENVIRONMENT = "MiniGrid-DoorKey-5x5-v0"
LOOKS = ("standard", "inverted")


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

    def names(self) -> list[tuple[str, str, int]]:
        """Name, look and seed of every agent."""
        return [(f"sb3-doorkey-{look}-s{seed}", look, seed) for look in self.looks for seed in self.seeds]


def train_model(plan: Plan, look: str, seed: int, path: Path) -> None:
    """Train one model and save it, with how it went beside it; plain Stable-Baselines3."""
    import gymnasium
    import torch
    from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    class Negative(gymnasium.ObservationWrapper[Any, Any, Any]):
        """The negative of every image."""

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


def import_models(plan: Plan) -> None:
    """Import every model that there is and was not imported yet."""
    from rlstitch.api.import_agent import import_agent
    from rlstitch.envs import World

    agents = plan.folder / "agents"
    for name, look, _ in plan.names():
        if model_path(plan, name).exists() and not (agents / name / "agent.json").exists():
            world = World(ENVIRONMENT, look=look)
            import_agent(model_path(plan, name), name=name, world=world, episodes=plan.episodes, seed=1, agents=agents)


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("train", "train-one", "import"))
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
    else:
        import_models(plan)


if __name__ == "__main__":
    main()
