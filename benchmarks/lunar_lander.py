"""LunarLander: how far its images are from Gymnasium's shrunken ones, and how many are drawn a second.

    python benchmarks/lunar_lander.py [--episodes 12] [--steps 100]

Both step the same episodes, by Gymnasium's own heuristic and by random actions in turn. Rates are of one process, in
processor time, stepping included. Needs `pip install "rlstitch[box2d]"`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
SIDES = (32, 48, 64, 84, 96)
NUM_ENVS = 32


def moments(episodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Every tenth image of Gymnasium's of some episodes, and the scenes of the same moments."""
    import gymnasium
    from gymnasium.envs.box2d.lunar_lander import heuristic

    from rlstitch.envs.families.lunar_lander.lander import SceneObservation, make_lander

    theirs, ours = gymnasium.make("LunarLander-v3", render_mode="rgb_array"), SceneObservation(make_lander())
    rng = np.random.default_rng(0)
    images, scenes = [], []
    for episode in range(episodes):
        state, _ = theirs.reset(seed=episode)
        ours.reset(seed=episode)
        theirs.render()
        ended, step = False, 0
        while not ended:
            action = int(rng.integers(4)) if episode % 2 else int(heuristic(theirs, state))
            state, _, terminated, truncated, _ = theirs.step(action)
            scene = ours.step(action)[0]
            image = theirs.render()
            if step % 10 == 0:
                images.append(image)
                scenes.append(scene)
            ended, step = terminated or truncated, step + 1
    return np.stack(images), np.stack(scenes)


def rate(step: Callable[[], Any], count: int, frames: int) -> float:
    """Frames a second of processor time."""
    start = time.process_time()
    for _ in range(count):
        step()
    return count * frames / (time.process_time() - start)


def gymnasium_step() -> Callable[[], Any]:
    """One step of Gymnasium's environment that observes what it renders."""
    import gymnasium

    env = gymnasium.wrappers.AddRenderObservation(gymnasium.make("LunarLander-v3", render_mode="rgb_array"))
    env.reset(seed=0)

    def step() -> None:
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()

    return step


def our_step(side: int | None) -> Callable[[], Any]:
    """One step of `NUM_ENVS` environments: images of a side, or states."""
    from rlstitch.envs import World, make_vec

    env = make_vec(World("LunarLander-v3", sensor="pixels" if side else "state", size=side), NUM_ENVS, seed=0)
    env.reset()
    return lambda: env.step(env.action_space.sample())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--episodes", type=int, default=12)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()

    from rlstitch.envs.families.lunar_lander.drawing import Drawing
    from rlstitch.envs.frames import shrink

    images, scenes = moments(options.episodes)
    slow = rate(gymnasium_step(), 10 * options.steps, 1)
    print(f"{len(images)} images; Gymnasium draws and steps {slow:,.0f} a second")
    print(f"| side | mean difference | pixels off by > 8 levels | by > 32 | images/s | ratio |\n{'|---' * 6}|")
    for side in SIDES:
        wrong = np.abs(shrink(images, side).astype(int) - Drawing("standard", side, side)(scenes))
        off = [100 * (wrong.max(axis=-1) > level).mean() for level in (8, 32)]
        fast = rate(our_step(side), options.steps, NUM_ENVS)
        print(f"| {side} | {wrong.mean():.2f} | {off[0]:.2f} % | {off[1]:.3f} % | {fast:,.0f} | {fast / slow:.1f} |")
    print(f"states: {rate(our_step(None), options.steps, NUM_ENVS):,.0f} a second")


if __name__ == "__main__":
    main()
