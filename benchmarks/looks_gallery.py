"""The pictures of docs/looks.md: each look on a MiniGrid scene and on CarRacing (which needs the extra box2d).

`python benchmarks/looks_gallery.py [--folder docs/looks]` writes one PNG a look: MiniGrid left, CarRacing right.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Box, Door, Goal, Key, Lava
from PIL import Image

from rlstitch.envs import LOOKS, get_variation, render_views
from rlstitch.envs.families.car_racing.cars import make_car, split_look
from rlstitch.envs.families.minigrid.tiles import Images, Views

MORE = (
    "red+inverted",
    "zoom:0.6,fill=402060",
    "shift:24,8,edge=wrap",
    "texture:stripes,bg=000000",
    "texture:rows,bg=000000",
    "texture:dots,bg=000000",
    "texture:grain,bg=000000",
)
GRASS = "bg=64d764,tol=15,ink=307030"
TILE, SIDE, GAP, STEPS = 16, 96, 8, 70


def scene() -> Views:
    """A grid of six by six with one of everything."""
    grid = Grid(6, 6)
    grid.wall_rect(0, 0, 6, 6)
    grid.set(3, 1, Door("yellow", is_locked=True))
    grid.set(1, 1, Key("yellow"))
    grid.set(1, 3, Ball("blue"))
    grid.set(2, 4, Box("purple"))
    grid.set(4, 4, Goal())
    grid.set(4, 2, Lava())
    views = np.zeros((1, 6, 6, 5), dtype=np.uint8)
    for x in range(6):
        for y in range(6):
            obj = grid.get(x, y)
            agent = 0 if (x, y) == (2, 2) else 4
            lit = int(x >= 2 and 1 <= y <= 3)
            views[0, y, x] = (*(obj.encode() if obj else (1, 0, 0)), agent, lit)
    return views


def car_frame(look: str) -> Images:
    """CarRacing after a while of gas, under a look."""
    ground, far, rest = split_look(look)
    car = make_car(ground, discrete=True, far=far)
    frame, _ = car.reset(seed=4)
    for _ in range(STEPS):
        frame, *_ = car.step(3)
    car.close()
    return rest.apply(frame)


def file_name(look: str) -> str:
    """The name of a look's picture."""
    return re.sub(r"[^a-z0-9.]+", "-", look.lower()) + ".png"


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1] / "docs" / "looks")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    views = scene()
    for look in (*(kind.example for kind in LOOKS.values()), *MORE):
        variation = get_variation(look)
        parts = []
        if variation.camera is None:
            parts.append(render_views(views, variation=look, tile_size=TILE)[0])
        if not variation.palette and not (variation.tint or "").startswith("tint:"):
            parts.append(car_frame(look.replace("bg=000000", GRASS)))
        width = len(parts) * SIDE + (len(parts) - 1) * GAP
        sheet = np.full((SIDE, width, 3), 255, dtype=np.uint8)
        for number, part in enumerate(parts):
            sheet[:, number * (SIDE + GAP) : number * (SIDE + GAP) + SIDE] = part
        path = folder / file_name(look)
        Image.fromarray(sheet).save(path, optimize=True)
        print(f"| `{look}` | ![{look}](looks/{path.name}) |")


if __name__ == "__main__":
    main()
