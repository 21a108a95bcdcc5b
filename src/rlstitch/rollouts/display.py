"""How people see a world: whole and in colours, whatever its agent observes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rlstitch.envs import World, family_of, with_sensor
from rlstitch.envs.single import make_single

Frame = npt.NDArray[np.uint8]
"""`(H, W, 3)`"""
_TILE = 32
"""Pixels of a tile of MiniGrid seen from above, as in its own window."""


def plain_world(world: World) -> World:
    """Return the world as one image at a time, as large as it is drawn; of vectors, what the environment renders."""
    sees_vectors = with_sensor(world).sensor != "pixels"
    plain = replace(world, frame_stack=1, size=None, crop=None, sensor="pixels" if sees_vectors else world.sensor)
    keys = [part.key for part in family_of(plain).layout(plain) if part.kind == "image" and part.key]
    return replace(plain, keys=tuple(keys[:1]) or plain.keys)


def world_from_above(world: World) -> World | None:
    """Return the world as a whole; None where `plain_world` shows all of it.

    It is another view of a MiniGrid whose agent sees its own surroundings.
    """
    if world.view != "agent" or world.backend != "gymnasium" or not family_of(world).symbolic:
        return None
    return replace(plain_world(world), view="full", tile_size=max(_TILE, world.tile_size))


def playing_speed(world: World) -> float:
    """Return how many steps a second people watch: as many as the environment states, 1 to 60, else 10."""
    family = family_of(world)
    kwargs = world.make_kwargs if family.gymnasium_kwargs else {}
    made = make_single(world.environment, (*family.modules, *world.modules), **kwargs)
    made.close()
    frames = made.metadata.get("render_fps")
    return min(60.0, max(1.0, float(frames or 10) / world.action_repeat))


def coloured(image: npt.NDArray[Any]) -> Frame:
    """Turn a grey image `(H, W, 1)` into one of equal colours."""
    return image.repeat(3, axis=2) if image.shape[2] == 1 else image
