"""Other colours for MiniGrid's own objects."""

import numpy as np
import pytest
from minigrid.core.constants import COLOR_NAMES, COLORS
from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Box, Door, Floor, Goal, Key, Lava, Wall

from rlstitch.envs import get_variation, render_views
from rlstitch.envs.families.car_racing.cars import split_look
from rlstitch.errors import InvalidInputError

OBJECTS = [
    *(kind(colour) for colour in COLOR_NAMES for kind in (Wall, Floor, Key, Ball, Box, Goal)),
    *(Door(colour, *state) for colour in COLOR_NAMES for state in ((True, False), (False, False), (False, True))),
    Lava(),
]


def tile_of(obj, look, direction=4, highlighted=0, size=8):
    code = obj.encode() if obj else (1, 0, 0)
    view = np.array([[[[*code, direction, highlighted]]]], dtype=np.uint8)
    return render_views(view, variation=look, tile_size=size)[0]


def test_objects_are_drawn_as_minigrid_would_with_another_table(monkeypatch):
    """The oracle changes MiniGrid's own table; we leave it alone."""
    chosen = {"red": (1, 200, 3), "grey": (90, 10, 200), "purple": (250, 250, 0)}
    look = "recolour:" + ",".join(f"{name}={bytes(colour).hex()}" for name, colour in chosen.items())
    ours = [tile_of(obj, look, highlighted=1) for obj in OBJECTS]
    assert COLORS["red"].tolist() == [255, 0, 0]
    monkeypatch.setattr(Grid, "tile_cache", {})
    for name, colour in chosen.items():
        monkeypatch.setitem(COLORS, name, np.array(colour))
    for obj, tile in zip(OBJECTS, ours, strict=True):
        np.testing.assert_array_equal(tile, Grid.render_tile(obj, None, True, 8).astype(np.uint8))


def test_what_is_not_named_keeps_its_colour():
    look = "recolour:red=00ff00"
    for obj in OBJECTS:
        if obj.color != "red" or obj.type == "lava":
            np.testing.assert_array_equal(tile_of(obj, look), tile_of(obj, "standard"))
    np.testing.assert_array_equal(tile_of(None, look, direction=1), tile_of(None, "standard", direction=1))
    np.testing.assert_array_equal(tile_of(Key("red"), look), tile_of(Key("green"), "standard"))


def test_agent_and_lava():
    agent = tile_of(None, "recolour:agent=0000ff", direction=2, size=16)
    assert agent[8, 8].tolist() == [0, 0, 255]
    np.testing.assert_array_equal(agent[..., [2, 1, 0]], tile_of(None, "standard", direction=2, size=16))
    lava = tile_of(Lava(), "recolour:lava=0000ff", size=32)
    assert (lava == (0, 0, 255)).all(axis=-1).sum() > 400
    assert (lava == 0).all(axis=-1).any()  # its waves stay black
    both = tile_of(Key("yellow"), "red+recolour:yellow=00ffff,agent=123456", size=9)
    floor = get_variation("red").floor
    assert (both == floor).all(axis=-1).any()
    np.testing.assert_array_equal(both, tile_of(Key("yellow"), "recolour:yellow=00ffff+red", size=9))


def test_palettes_are_merged():
    merged = get_variation("recolour:red=000001").then(get_variation("recolour:red=000002,blue=000003"))
    assert merged.palette == (("blue", (0, 0, 3)), ("red", (0, 0, 2)))


def test_finished_pictures_have_no_palette():
    with pytest.raises(
        InvalidInputError, match="'recolour:red=000001' changes the colours of MiniGrid tiles; finished"
    ):
        get_variation("recolour:red=000001").apply(np.zeros((1, 4, 4, 3), np.uint8))


def test_carracing_takes_grounds_that_it_has():
    look = split_look("invert+blue")
    assert (look.ground, look.far, look.pixels.pixels) == ("blue", False, get_variation("inverted").pixels)
    with pytest.raises(InvalidInputError, match="has the grounds green, red, blue, yellow, violet, found 'tint:1,2,3'"):
        split_look("tint:1,2,3")
    with pytest.raises(InvalidInputError, match="changes the colours of MiniGrid's objects"):
        split_look("recolour:red=000001+blur:1")
