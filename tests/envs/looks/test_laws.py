"""Laws that every look keeps, on pictures of any shape."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rlstitch.envs import get_variation, render_views
from rlstitch.envs.families.minigrid.tiles import get_atlas
from rlstitch.envs.looks.look import LOOKS

EXTRA = (
    "hue:47.5",
    "saturation:3",
    "zoom:0.6,fill=204060",
    "zoom:1.7,filter=nearest",
    "shift:-3,2,edge=wrap",
    "shift:2,-1,fill=ff8000",
    "crop:0.5,fill=102030",
    "noise:0.2,seed=7",
    "texture:grain,bg=808080,tol=90,size=1,ink=00ff00,seed=2",
    "texture:dots,bg=000000,tol=100,size=2",
    "texture:rows,bg=000000,tol=100,size=1",
    "texture:stripes,bg=ffffff,tol=100,size=3",
    "inverted+noise:0.05+hue:120+blur:0.7",
)
PIXEL_LOOKS = tuple(kind.example for kind in LOOKS.values() if kind.layer in ("none", "pixels")) + EXTRA
DRAWN_LOOKS = tuple(kind.example for kind in LOOKS.values() if kind.layer in ("tint", "recolour"))
POINTWISE = tuple(name for name in PIXEL_LOOKS if get_variation(name).pointwise)

few = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
sides = st.integers(1, 9)
batches = st.lists(st.integers(1, 3), max_size=2)


def pictures(channels=(3,), leading=batches):
    """Images uint8 (..., H, W, C)."""
    shapes = st.tuples(leading, sides, sides, st.sampled_from(channels)).map(lambda s: (*s[0], *s[1:]))
    return shapes.flatmap(lambda shape: hnp.arrays(np.uint8, shape))


def takes_grey(name):
    return "texture" not in name


def random_images(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("name", PIXEL_LOOKS)
@few
@given(data=st.data())
def test_shape_and_dtype_are_kept_and_the_images_are_not_written(name, data):
    images = data.draw(pictures(channels=(1, 2, 3, 6) if takes_grey(name) else (3, 6)))
    images.flags.writeable = False
    look = get_variation(name)
    first = look.apply(images)
    assert first.dtype == np.uint8
    assert first.shape == images.shape
    np.testing.assert_array_equal(look.apply(images.copy()), first)


@pytest.mark.parametrize("name", PIXEL_LOOKS)
@few
@given(images=pictures(leading=st.tuples(st.integers(0, 4))))
def test_a_batch_is_the_loop_over_its_images(name, images):
    look = get_variation(name)
    loop = [look.apply(image) for image in images]
    np.testing.assert_array_equal(look.apply(images), np.reshape(loop, images.shape))


@pytest.mark.parametrize("name", PIXEL_LOOKS)
def test_a_stack_of_frames_is_the_stack_of_their_looks(name):
    look, stack = get_variation(name), random_images((2, 6, 5, 9))
    frames = [look.apply(stack[..., start : start + 3]) for start in (0, 3, 6)]
    np.testing.assert_array_equal(look.apply(stack), np.concatenate(frames, axis=-1))


@pytest.mark.parametrize("name", [name for name in PIXEL_LOOKS if takes_grey(name)])
def test_grey_channels_are_pictures_of_their_own(name):
    look, stack = get_variation(name), random_images((2, 6, 5, 4))
    frames = [look.apply(stack[..., channel : channel + 1]) for channel in range(4)]
    np.testing.assert_array_equal(look.apply(stack), np.concatenate(frames, axis=-1))


@pytest.mark.parametrize("name", PIXEL_LOOKS)
def test_memory_order_does_not_matter(name):
    look, images = get_variation(name), random_images((4, 8, 6, 3))
    for view in (images[::-1, ::2], images.swapaxes(1, 2), np.asfortranarray(images)):
        np.testing.assert_array_equal(look.apply(view), look.apply(np.ascontiguousarray(view)))


@pytest.mark.parametrize("name", PIXEL_LOOKS)
def test_no_images_stay_none(name):
    for shape in ((0, 4, 5, 3), (2, 0, 5, 3), (2, 5, 0, 6)):
        assert get_variation(name).apply(np.zeros(shape, np.uint8)).shape == shape


@pytest.mark.parametrize("first", ["inverted", "hue:120", "noise:0.1", "zoom:1.5", "contrast:2"])
@pytest.mark.parametrize("second", ["channels:bgr", "blur:1", "greyscale", "shift:1,1"])
def test_looks_are_done_from_left_to_right(first, second):
    images = random_images((2, 7, 6, 3))
    expected = get_variation(second).apply(get_variation(first).apply(images))
    joined = get_variation(f"{first}+{second}")
    np.testing.assert_array_equal(joined.apply(images), expected)
    np.testing.assert_array_equal(get_variation(first).then(get_variation(second)).apply(images), expected)
    assert joined.pointwise == (get_variation(first).pointwise and get_variation(second).pointwise)


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_looks_do_not_know_where_a_pixel_lies(name):
    images = random_images((3, 5, 4, 3))
    order = np.random.default_rng(1).permutation(60)
    mixed = images.reshape(60, 1, 3)[order].reshape(images.shape)
    expected = get_variation(name).apply(images).reshape(60, 1, 3)[order].reshape(images.shape)
    np.testing.assert_array_equal(get_variation(name).apply(mixed), expected)


def views_of_many_tiles():
    views = np.zeros((2, 4, 11, 5), dtype=np.uint8)
    views[..., 0] = np.arange(11)
    views[..., 1] = (np.arange(4)[:, None] + np.arange(11)) % 6
    views[..., 2] = np.arange(11) % 3
    views[..., 3] = 4
    views[0, 2, 3, 3] = 1
    views[1, ..., 4] = 1
    return views


@pytest.mark.parametrize("name", PIXEL_LOOKS)
def test_a_drawn_frame_is_the_look_of_the_drawn_frame(name):
    """Pointwise looks, done on tiles, commute with putting tiles together; the others are done on frames."""
    views, ground = views_of_many_tiles(), "blue+recolour:grey=805030,lava=00ffff"
    expected = get_variation(name).apply(render_views(views, variation=ground, tile_size=3))
    np.testing.assert_array_equal(render_views(views, variation=f"{ground}+{name}", tile_size=3), expected)


def test_pointwise_looks_cost_frames_nothing():
    for name in POINTWISE:
        assert get_atlas(f"red+{name}", 4).look.split_pixels()[1] is None
    on_tiles, on_frames = get_variation("inverted+hue:30+blur:1+inverted").split_pixels()
    assert [type(step).__name__ for step in on_tiles.steps] == ["Table", "Mix"]
    assert [type(step).__name__ for step in on_frames.steps] == ["Blur", "Table"]


def test_every_look_differs_from_every_other():
    views = views_of_many_tiles()
    # MiniGrid's own floor is black.
    names = [kind.example for kind in LOOKS.values() if kind.layer != "camera" and kind.name != "black"]
    drawn = {name: render_views(views, variation=name, tile_size=8).tobytes() for name in names}
    assert len(set(drawn.values())) == len(names)
