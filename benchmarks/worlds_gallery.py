"""The images of worlds in docs/gallery.md: `python benchmarks/worlds_gallery.py` (needs the extras box2d and atari)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from rlstitch.envs import World, make_vec

SIDE, GAP, STEPS = 144, 8, 50
SKIES, GAMES = ("standard", "white", "red"), ("Pong", "Boxing", "Breakout")
SHEETS = {
    "lunar-lander": [World("LunarLander-v3", look, sensor="pixels", size=96) for look in SKIES],
    "atari": [World(f"ALE/{game}-v5", sensor="pixels", size=SIDE) for game in GAMES],
}


def frame(world: World) -> Image.Image:
    """An image of a world after some random actions."""
    env, rng = make_vec(world, 1, seed=3), np.random.default_rng(0)
    observations, _ = env.reset(seed=3)
    for _ in range(STEPS):
        observations, *_ = env.step(rng.integers(env.single_action_space.n, size=1))
    env.close()
    return Image.fromarray(observations[0][..., -3:]).resize((SIDE, SIDE), Image.Resampling.NEAREST)


if __name__ == "__main__":
    for name, worlds in SHEETS.items():
        sheet = Image.new("RGB", (len(worlds) * (SIDE + GAP) - GAP, SIDE), "white")
        for number, world in enumerate(worlds):
            sheet.paste(frame(world), (number * (SIDE + GAP), 0))
        sheet.save(Path(__file__).parents[1] / "docs" / "images" / f"{name}.png", optimize=True)
