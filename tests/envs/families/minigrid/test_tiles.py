import numpy as np
import pytest
from minigrid.core.constants import COLOR_NAMES, COLOR_TO_IDX, OBJECT_TO_IDX
from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Box, Door, Floor, Goal, Key, Lava, Wall

from rlstitch.envs import TileAtlas, get_variation, render_views
from rlstitch.envs.families.minigrid.tiles import NUM_TILES, decode_index, encode_views
from rlstitch.envs.looks.look import VARIATIONS, Variation
from rlstitch.errors import InvalidInputError, UnknownNameError

EMPTY = (1, 0, 0)


def objects():
    """Every object that MiniGrid has, in every colour and state, and none."""
    yield None
    yield Lava()
    for colour in COLOR_NAMES:
        for kind in (Wall, Floor, Key, Ball, Box, Goal):
            yield kind(colour)
        for is_open, is_locked in ((True, False), (False, False), (False, True)):
            yield Door(colour, is_open, is_locked)


def view_of(obj, direction=4, highlighted=0):
    return np.array([[[[*(obj.encode() if obj else EMPTY), direction, highlighted]]]], dtype=np.uint8)


def tile_image(view, variation="standard", tile_size=8):
    return render_views(view, variation=variation, tile_size=tile_size)[0]


@pytest.mark.parametrize(("tile_size", "directions"), [(3, range(5)), (5, [4, 0]), (8, [4, 1])])
def test_every_tile_equals_minigrids_own(tile_size, directions):
    for obj in objects():
        for direction in directions:
            for highlighted in (False, True):
                agent = None if direction == 4 else direction
                expected = Grid.render_tile(obj, agent, highlighted, tile_size).astype(np.uint8)
                result = tile_image(view_of(obj, direction, highlighted), tile_size=tile_size)
                np.testing.assert_array_equal(result, expected)


def test_a_larger_tile_equals_minigrids_own():
    for obj, direction, highlighted in ((None, 4, 1), (Key("red"), 2, 0), (Door("blue", False, True), 4, 1)):
        expected = Grid.render_tile(obj, None if direction == 4 else direction, bool(highlighted), 32).astype(np.uint8)
        np.testing.assert_array_equal(tile_image(view_of(obj, direction, highlighted), tile_size=32), expected)


def test_no_look_touches_minigrids_cache():
    view = view_of(Ball("red"), 0, 1)
    tile_image(view, tile_size=7)
    before = {key: image.copy() for key, image in Grid.tile_cache.items()}
    for name in VARIATIONS:
        tile_image(view, name, tile_size=7)[:] = 77
    assert all(np.array_equal(Grid.tile_cache[key], image) for key, image in before.items())
    np.testing.assert_array_equal(tile_image(view, tile_size=7), Grid.render_tile(Ball("red"), 0, True, 7).astype("u1"))


def test_a_black_floor_is_minigrids_own():
    black = TileAtlas(Variation("black", floor=(0, 0, 0)), 6)
    for obj in (None, Goal(), Key("blue"), Box("green"), Door("red", True, False)):
        for direction, highlighted in ((4, 0), (3, 1)):
            view = view_of(obj, direction, highlighted)
            np.testing.assert_array_equal(black.render(encode_views(view))[0], tile_image(view, tile_size=6))


@pytest.mark.parametrize("name", ["red", "green", "blue", "yellow"])
def test_a_floor_colour_lies_under_objects(name):
    floor = get_variation(name).floor
    empty = tile_image(view_of(None), name, tile_size=9)
    assert (empty[2:, 2:] == floor).all()  # within the grid's lines
    for full in (Wall("grey"), Goal("green")):
        np.testing.assert_array_equal(tile_image(view_of(full), name), tile_image(view_of(full)))
    ball = tile_image(view_of(Ball("purple")), name, tile_size=9)
    assert ball[4, 4].tolist() == [112, 39, 195]
    assert ball[8, 8].tolist() == list(floor)
    lit = tile_image(view_of(None, highlighted=1), name, tile_size=9)
    assert (lit[8, 8] > floor).all()


def test_inverted_is_the_negative_and_looks_are_joined():
    views = np.concatenate([view_of(Key("red"), 4, 1), view_of(None, 2, 0)])
    np.testing.assert_array_equal(render_views(views, variation="inverted"), 255 - render_views(views))
    np.testing.assert_array_equal(
        render_views(views, variation="red+inverted"), 255 - render_views(views, variation="red")
    )
    np.testing.assert_array_equal(render_views(views, variation="inverted+inverted"), render_views(views))
    assert get_variation("green+red").floor == get_variation("red").floor


def test_looks_differ_from_each_other():
    view = view_of(None, 3, 1)
    names = set(VARIATIONS) - {"black"}  # MiniGrid's own floor is black
    assert len({tile_image(view, name).tobytes() for name in names}) == len(names)


def test_a_look_of_neighbouring_pixels_is_applied_to_the_whole_frame():
    flipped = TileAtlas(Variation("flipped", pixels=lambda images: images[:, :, ::-1], pointwise=False), 8)
    views = random_views(3, 2, 4)
    np.testing.assert_array_equal(flipped.render(encode_views(views)), render_views(views)[:, :, ::-1])


def random_views(count, height, width, seed=0):
    generator = np.random.default_rng(seed)
    pool = list(objects())
    views = np.empty((count, height, width, 5), dtype=np.uint8)
    for place in np.ndindex(count, height, width):
        views[place] = view_of(pool[generator.integers(len(pool))], generator.integers(5), generator.integers(2))
    return views


def test_tiles_are_put_together_as_minigrid_does():
    """The naive twin: `Grid.render`, one grid at a time."""
    generator = np.random.default_rng(1)
    pool = list(objects())
    for width, height in ((3, 5), (6, 4)):
        grid = Grid(width, height)
        for x in range(width):
            for y in range(height):
                grid.set(x, y, pool[generator.integers(len(pool))])
        highlight = generator.random((width, height)) < 0.5
        view = np.empty((1, height, width, 5), dtype=np.uint8)
        for x in range(width):
            for y in range(height):
                view[0, y, x] = view_of(grid.get(x, y), 2 if (x, y) == (1, 2) else 4, highlight[x, y])
        np.testing.assert_array_equal(render_views(view, tile_size=4)[0], grid.render(4, (1, 2), 2, highlight))


def test_index_and_view_are_inverses():
    index = np.arange(NUM_TILES).reshape(1, 10, -1)
    assert (encode_views(decode_index(index)) == index).all()
    views = random_views(2, 3, 4)
    np.testing.assert_array_equal(decode_index(encode_views(views)), views)


def test_unseen_and_agent_cells_are_drawn_empty():
    for name in ("unseen", "agent"):
        view = np.array([[[[OBJECT_TO_IDX[name], COLOR_TO_IDX["red"], 0, 4, 0]]]], dtype=np.uint8)
        np.testing.assert_array_equal(tile_image(view), tile_image(view_of(None)))


def test_frames_are_written_where_asked():
    views = random_views(2, 3, 4)
    out = np.empty((2, 24, 32, 3), dtype=np.uint8)
    assert render_views(views, out=out) is out
    np.testing.assert_array_equal(out, render_views(views))
    with pytest.raises(InvalidInputError, match=r"out: expected contiguous uint8 \(2, 24, 32, 3\)"):
        render_views(views, out=out[:, :-1])
    with pytest.raises(InvalidInputError, match="out: expected contiguous"):
        render_views(views, out=np.empty((2, 32, 24, 3), dtype=np.uint8).swapaxes(1, 2))


def test_no_views_make_no_frames():
    assert render_views(np.zeros((0, 7, 7, 5), dtype=np.uint8)).shape == (0, 56, 56, 3)


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (np.zeros((7, 7, 5), np.uint8), r"views: expected uint8 \(N, h, w, 5\), found uint8 \(7, 7, 5\)"),
        (np.zeros((1, 7, 7, 3), np.uint8), r"found uint8 \(1, 7, 7, 3\)"),
        (np.zeros((1, 7, 7, 5), np.int64), "found int64"),
        (np.full((1, 1, 1, 5), 11, np.uint8), r"numbers below \(11, 6, 3, 5, 2\), found up to \(11, 11"),
        (np.array([[[[1, 0, 0, 4, 2]]]], np.uint8), "found up to"),
    ],
)
def test_views_that_cannot_be_drawn_are_refused(views, message):
    with pytest.raises(InvalidInputError, match=message):
        render_views(views)


def test_sizes_and_looks_that_cannot_be_drawn_are_refused():
    with pytest.raises(InvalidInputError, match="tile_size: expected at least 1, found 0"):
        render_views(view_of(None), tile_size=0)
    with pytest.raises(UnknownNameError, match="look 'pink'"):
        render_views(view_of(None), variation="pink")


def test_pixels_of_any_image():
    images = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)
    np.testing.assert_array_equal(get_variation("inverted").apply(images), 255 - images)
    assert get_variation("standard").apply(images) is images
    with pytest.raises(InvalidInputError, match=r"'red' tints the floor of MiniGrid tiles; .* standard, inverted"):
        get_variation("red").apply(images)
    with pytest.raises(InvalidInputError, match="images: expected uint8, found float32"):
        get_variation("inverted").apply(images.astype(np.float32))
