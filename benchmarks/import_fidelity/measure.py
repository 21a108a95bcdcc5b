"""Do imported agents compute and earn what their source library's do?

    python benchmarks/import_fidelity/measure.py [--out docs/results/import-fidelity.json]

Each model is made by its own library, trained for a moment, saved and imported. Both sides are then stepped with the
same seed and the same random actions for 1,000 observations, starts of episodes among them: ours through the imported
agent's world, theirs through their library's wrappers. Greedy returns are those of `evaluate_policy` and of `evaluate`
on ten equal seeds. sb3-contrib must be installed for its rows.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sources import SOURCES, Source, register, saved
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

from rlstitch.agents import Agent, BoxActions
from rlstitch.api.import_agent import import_agent
from rlstitch.envs import World, make_vec
from rlstitch.rollouts.episodes import episode_seed
from rlstitch.rollouts.evaluation import evaluate

OBSERVATIONS, EPISODES = 1_000, 10


@torch.no_grad()
def compare_outputs(source: Source, model: Any, environments: VecEnv, agent: Agent) -> tuple[float, int]:
    """Return the greatest difference of outputs, and how many episodes began."""
    rng = np.random.default_rng(0)
    ours = make_vec(agent.card.world, 1, seed=3)
    environments.seed(3)
    theirs, (seen, _) = environments.reset(), ours.reset()
    differences, begun = [], 1
    for _ in range(OBSERVATIONS):
        expected = source.outputs(model, theirs)
        numbers = agent.action_parameters(seen)[:, : expected.shape[1]]
        if source.algorithm in ("TD3", "DDPG"):
            numbers = numbers.tanh()
        differences.append((numbers - expected).abs().max().item())
        space = environments.action_space
        action = rng.uniform(space.low, space.high) if hasattr(space, "low") else rng.integers(space.n)
        theirs, _, done, _ = environments.step(np.array([action], dtype=space.dtype))
        seen, *_ = ours.step(np.array([action], dtype=space.dtype))
        begun += int(done[0])
    ours.close()
    return max(differences), begun


def returns(model: Any, environments: VecEnv, agent: Agent) -> tuple[list[float], list[float]]:
    """Greedy returns of the source library's evaluation and of ours."""
    theirs = []
    for episode in range(EPISODES):
        environments.seed(episode_seed(0, episode))
        theirs.append(float(evaluate_policy(model, environments, n_eval_episodes=1, warn=False)[0]))
    return theirs, list(evaluate(agent, episodes=EPISODES, deterministic=True, num_envs=1).returns)


def measure(source: Source, folder: Path) -> dict[str, Any]:
    """Return the row of one kind of model."""
    model, environments = source.make(source)
    path, options = saved(source, model, environments, folder)
    world = World(source.environment, **source.world)
    agent = import_agent(path, name="imported", world=world, episodes=0, agents=folder / "agents", **options).agent
    difference, begun = compare_outputs(source, model, environments, agent)
    theirs, ours = returns(model, environments, agent)
    return {
        "algorithm": source.algorithm,
        "library": source.library,
        "environment": source.environment,
        "observation": source.observation,
        "stacked": source.stacked,
        "normalized": source.normalized,
        "actions": "Box" if isinstance(agent.controller.actions, BoxActions) else "Discrete",
        "difference": difference,
        "episodes begun": begun,
        "return": float(np.mean(theirs)),
        "greatest difference of returns": float(np.abs(np.subtract(theirs, ours)).max()),
    }


def main() -> None:
    """Parse, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of rows")
    options = parser.parse_args()
    register()
    torch.set_num_threads(1)
    rows = []
    for number, source in enumerate(SOURCES):
        if options.only and number not in options.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            row = measure(source, Path(folder))
        rows.append(row)
        print(number, row, flush=True)
    packages = ("rlstitch", "torch", "stable-baselines3", "sb3-contrib", "gymnasium", "minigrid")
    result = {"rows": rows, "versions": {name: version(name) for name in packages}}
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
