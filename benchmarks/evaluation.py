"""Evaluation beside Stable-Baselines3's `evaluate_policy`, which plays one environment at a time.

Both play the same agents in the same MiniGrid from pixels, with one torch thread:

    python benchmarks/evaluation.py                      # agents with random weights: short and long episodes
    python benchmarks/evaluation.py --agent NAME         # a trained one beside them
    python benchmarks/evaluation.py --episodes 32        # a quick look

`evaluate_policy` meets the episodes of the same seeds, so greedy returns must be equal and sampled means agree.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import load_agent
from rlstitch.agents.card import AgentCard
from rlstitch.agents.controller import build_controller
from rlstitch.agents.encoder import build_encoder
from rlstitch.envs import World, make_vec
from rlstitch.rollouts.episodes import episode_seed
from rlstitch.rollouts.evaluation import evaluate

SHORT, LONG = World("MiniGrid-Empty-Random-5x5-v0"), World("MiniGrid-DoorKey-6x6-v0")


def random_weights(name: str, world: World) -> Agent:
    """Return an agent of the usual size that has learned nothing: its sampled actions are nearly uniform."""
    env = make_vec(world, 1, seed=0)
    shape, n = env.single_observation_space.shape, int(env.single_action_space.n)
    env.close()
    torch.manual_seed(0)
    encoder = build_encoder({"kind": "cnn", "arch": "small", "image_shape": shape, "latent_dim": 64})
    controller = build_controller({"latent_dim": 64, "actions": {"kind": "discrete", "n": n}})
    specs = {"encoder": encoder.spec(), "controller": controller.spec()}
    return Agent(encoder, controller, AgentCard(name=name, world=world, seed=0, observation_shape=shape, **specs))


class SeededEpisodes(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Begins its episodes from the seeds of an evaluation, in order."""

    def __init__(self, env: gymnasium.Env[Any, Any], seed: int) -> None:
        super().__init__(env)
        self._seed, self._episode = seed, 0

    def reset(self, **kwargs: Any) -> Any:
        """Begin the next episode."""
        kwargs["seed"] = episode_seed(self._seed, self._episode)
        self._episode += 1
        return self.env.reset(**kwargs)


def peer(agent: Agent, world: World, episodes: int, deterministic: bool) -> tuple[np.ndarray, float]:
    """Return the returns and seconds of `evaluate_policy`."""

    def make() -> gymnasium.Env[Any, Any]:
        env = ImgObsWrapper(RGBImgPartialObsWrapper(gymnasium.make(world.environment), tile_size=world.tile_size))
        return Monitor(SeededEpisodes(env, 0))

    start = time.perf_counter()
    env = DummyVecEnv([make])
    returns, _ = evaluate_policy(agent, env, episodes, deterministic=deterministic, return_episode_rewards=True)
    env.close()
    return np.array(returns), time.perf_counter() - start


def compare(agent: Agent, episodes: int, deterministic: bool, repeats: int) -> dict[str, Any]:
    """Time one cell both ways and check that the returns agree; the fastest of `repeats` counts, for both."""
    # MiniGrid's own wrappers know the standard look alone; an agent of another look is compared in it all the same.
    world = replace(agent.card.world, look="standard")
    kwargs: dict[str, Any] = {"episodes": episodes, "deterministic": deterministic}
    theirs = [peer(agent, world, episodes, deterministic) for _ in range(repeats)]
    ours = [evaluate(agent, world, **kwargs) for _ in range(repeats)]
    returns, alone = theirs[0][0], min(seconds for _, seconds in theirs)
    error = float(np.sqrt(returns.var() / episodes + ours[0].returns.var() / episodes))
    equal = bool(np.allclose(returns, ours[0].returns)) if deterministic else None
    gap = abs(float(returns.mean() - ours[0].returns.mean()))
    if equal is False or gap > 4 * error + 1e-9:
        raise SystemExit(f"returns differ from evaluate_policy: {returns.mean():.3f}, {ours[0].returns.mean():.3f}")
    seconds = min(e.seconds for e in ours)
    return {
        "cell": f"{agent.card.name} {world.environment}",
        "policy": "greedy" if deterministic else "sampled",
        "episodes": episodes,
        "mean length": float(ours[0].lengths.mean()),
        "mean return": float(ours[0].returns.mean()),
        "their mean": float(returns.mean()),
        "sb3 s": alone,
        "our s": seconds,
        "ratio": alone / seconds,
        "steps/s": float(ours[0].lengths.sum()) / seconds,
    }


def main() -> None:
    """Measure, print a table, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--long-episodes", type=int, default=64, help="episodes of the agent that never arrives")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--agent", action="append", default=[], help="name or folder of a trained agent")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    short, long = random_weights("untrained", SHORT), random_weights("untrained", LONG)
    cells = [(load_agent(name), args.episodes, d) for name in args.agent for d in (False, True)]
    cells += [(short, args.episodes, False), (long, args.long_episodes, False), (long, args.long_episodes, True)]
    rows = [compare(agent, episodes, deterministic, args.repeats) for agent, episodes, deterministic in cells]
    for row in rows:
        print("\n".join(f"{key:>16}  {value:.3f}" if isinstance(value, float) else f"{key:>16}  {value}"
                        for key, value in row.items()), "\n")  # fmt: skip
    if args.json:
        versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
        args.json.write_text(json.dumps({"rows": rows, "versions": versions}, indent=2) + "\n")


if __name__ == "__main__":
    main()
