"""What drawing costs: MiniGrid's wrappers beside the tile look-up, and the rate of the whole vector environment.

Drawing alone is a wrapper's step less the same environment's symbolic step. Run: python benchmarks/renderer.py
"""

from __future__ import annotations

import argparse
import statistics
import time

import gymnasium
import numpy as np
from minigrid.wrappers import RGBImgObsWrapper, RGBImgPartialObsWrapper

from rlstitch.envs import World, make_vec, render_views

ENVIRONMENTS = ("MiniGrid-DoorKey-5x5-v0", "MiniGrid-SimpleCrossingS9N1-v0", "MiniGrid-KeyCorridorS3R3-v0")
WRAPPERS = {"agent": RGBImgPartialObsWrapper, "full": RGBImgObsWrapper}
ROUNDS = 5


def seconds_a_step(env: gymnasium.Env, actions: list[int]) -> float:
    """Seconds for a step of one environment, resets included."""
    env.reset(seed=0)
    start = time.perf_counter()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return (time.perf_counter() - start) / len(actions)


def seconds_a_frame(views: np.ndarray, out: np.ndarray, repeats: int) -> float:
    """Seconds for drawing one frame of a batch of symbolic views."""
    start = time.perf_counter()
    for _ in range(repeats):
        render_views(views, out=out)
    return (time.perf_counter() - start) / repeats / len(views)


def measure(environment: str, view: str, num_envs: int, steps: int) -> None:
    """Prints one line: medians of interleaved rounds, so that a busy machine slows all of them alike."""
    generator = np.random.default_rng(0)
    ours = make_vec(World(environment, view=view), num_envs, seed=0)
    batches = generator.integers(0, ours.single_action_space.n, (steps // num_envs, num_envs))
    actions = batches.reshape(-1).tolist()[: steps // 4]
    frames, _ = ours.reset()
    views, out = ours.symbolic(), np.empty_like(frames)
    seconds_a_frame(views, out, 3)  # draws the tiles
    rounds: dict[str, list[float]] = {"symbolic": [], "wrapper": [], "ours": [], "step": []}
    for _ in range(ROUNDS):
        rounds["symbolic"].append(seconds_a_step(gymnasium.make(environment), actions))
        rounds["wrapper"].append(seconds_a_step(WRAPPERS[view](gymnasium.make(environment)), actions))
        rounds["ours"].append(seconds_a_frame(views, out, max(1, steps // num_envs)))
        start = time.perf_counter()
        for batch in batches:
            ours.step(batch)
        rounds["step"].append((time.perf_counter() - start) / batches.size)
    symbolic, wrapper, drawn, step = (statistics.median(rounds[name]) for name in rounds)
    drawing = wrapper - symbolic
    print(
        f"{environment:34} {view:5} {frames.shape[1]:4}x{frames.shape[2]:<4}"
        f" {drawing * 1e6:10.1f} {drawn * 1e6:10.2f} {drawing / drawn:7.1f} x {1 / wrapper:11,.0f} {1 / step:11,.0f}"
    )


def main() -> None:
    """Measures every environment and view."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--steps", type=int, default=8000, help="environment steps of a round")
    arguments = parser.parse_args()
    print(
        f"{'environment':34} {'view':5} {'pixels':9} {'MiniGrid us':>10} {'ours us':>10} {'ratio':>8}"
        f" {'wrapper/s':>11} {'steps/s':>11}"
    )
    for environment in ENVIRONMENTS:
        for view in WRAPPERS:
            measure(environment, view, arguments.num_envs, arguments.steps)


if __name__ == "__main__":
    main()
