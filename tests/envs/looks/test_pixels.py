"""What each pixel look does: golden values, plain loops as oracles, and its own laws."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from PIL import Image

from rlstitch.envs import get_variation
from rlstitch.envs.looks.colours import LUMA, UNIT, hue, saturation
from rlstitch.envs.looks.noise import Texture, levels_of, mix
from rlstitch.errors import InvalidInputError


def random_images(shape=(2, 11, 9, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def one_pixel(name, *levels):
    return get_variation(name).apply(np.array([[levels]], dtype=np.uint8))[0, 0].tolist()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("inverted", [55, 155, 225]),
        ("brightness:1.5", [255, 150, 45]),
        ("brightness:0", [0, 0, 0]),
        ("contrast:2", [255, 73, 0]),
        ("contrast:0", [128, 128, 128]),
        ("gamma:0.5", [226, 160, 87]),
        ("solarize:128", [55, 100, 30]),
        ("greyscale", [122, 122, 122]),
        ("saturation:0.5", [161, 111, 76]),
        ("saturation:2", [255, 78, 0]),
        ("channels:bgr", [30, 100, 200]),
        ("channels:gbr", [100, 30, 200]),
        ("hue:120", [30, 200, 100]),
        ("hue:240", [100, 30, 200]),
        ("hue:60", [120, 190, 20]),
        ("hue:180", [20, 120, 190]),
    ],
)
def test_golden_pixels(name, expected):
    assert one_pixel(name, 200, 100, 30) == expected


@pytest.mark.parametrize("name", ["brightness:1", "contrast:1", "gamma:1", "saturation:1", "hue:0", "zoom:1", "crop:1"])
def test_ones_that_change_nothing(name):
    images = random_images()
    np.testing.assert_array_equal(get_variation(name).apply(images), images)


def test_greyscale_is_pillows():
    images = random_images((40, 50, 3))
    expected = np.asarray(Image.fromarray(images).convert("L"))
    np.testing.assert_array_equal(get_variation("greyscale").apply(images), np.stack([expected] * 3, axis=-1))


def test_mixtures_keep_greys_and_are_near_the_real_numbers():
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=-1)
    images = random_images((30, 30, 3))
    for step, matrix in (
        (saturation(1.7), 1.7 * np.eye(3) + (1 - 1.7) * np.array([LUMA] * 3) / UNIT),
        (hue(77), rotation(77)),
    ):
        np.testing.assert_array_equal(step(grey), grey)
        expected = np.clip(images.astype(float) @ matrix.T, 0, 255)
        assert np.abs(step(images) - expected).max() < 0.51


def rotation(degrees):
    """About (1, 1, 1), by Rodrigues' formula."""
    axis = np.ones(3) / math.sqrt(3)
    cross = np.cross(np.eye(3), axis).T * -1
    angle = math.radians(degrees)
    return np.eye(3) * math.cos(angle) + math.sin(angle) * cross + (1 - math.cos(angle)) * np.outer(axis, axis)


def test_hues_that_are_thirds_of_a_turn_are_exact():
    images = random_images()
    third = get_variation("hue:120").apply
    np.testing.assert_array_equal(third(images), images[..., [2, 0, 1]])
    np.testing.assert_array_equal(third(third(third(images))), images)


def gaussian(image, sigma):
    """The blur of real numbers, a loop over pixels and neighbours."""
    radius = math.ceil(3 * sigma)
    shares = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(-radius, radius + 1)]
    padded = np.pad(image.astype(float), ((radius,) * 2, (radius,) * 2, (0, 0)), mode="edge")
    out = np.zeros(image.shape)
    for y, x in np.ndindex(image.shape[:2]):
        window = padded[y : y + 2 * radius + 1, x : x + 2 * radius + 1]
        out[y, x] = np.einsum("i,j,ijc->c", shares, shares, window) / sum(shares) ** 2
    return out


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5])
def test_blur_is_gaussian(sigma):
    image = random_images((14, 10, 3))
    assert np.abs(get_variation(f"blur:{sigma}").apply(image) - gaussian(image, sigma)).max() < 1.0
    plain = np.full((9, 9, 3), 201, dtype=np.uint8)
    np.testing.assert_array_equal(get_variation(f"blur:{sigma}").apply(plain), plain)


def test_a_very_wide_blur_of_a_very_small_picture():
    image = random_images((2, 2, 3))
    assert np.abs(get_variation("blur:20").apply(image) - image.mean(axis=(0, 1))).max() < 6


@pytest.mark.parametrize("factor", [2.0, 1.3, 0.5, 0.3])
def test_zoom_to_the_nearest_pixel(factor):
    image = random_images((12, 9, 3))
    result = get_variation(f"zoom:{factor},filter=nearest,fill=010203").apply(image)
    for y, x in np.ndindex(12, 9):
        row, column = (y + 0.5 - 6) / factor + 6, (x + 0.5 - 4.5) / factor + 4.5
        expected = image[int(row), int(column)] if 0 < row < 12 and 0 < column < 9 else (1, 2, 3)
        assert result[y, x].tolist() == list(expected)


def test_smooth_zoom_is_pillows():
    """Twice as large about the centre: the middle half, resized with the same triangle."""
    image = random_images((16, 12, 3))
    middle = Image.fromarray(image).resize((12, 16), Image.Resampling.BILINEAR, box=(3, 4, 9, 12))
    inner = (slice(1, -1), slice(1, -1))  # Pillow does not look beyond its box
    assert np.abs(get_variation("zoom:2").apply(image)[inner] - np.asarray(middle)[inner].astype(int)).max() <= 1
    half = Image.fromarray(image).resize((6, 8), Image.Resampling.BILINEAR)
    result = get_variation("zoom:0.5,fill=090909").apply(image)
    assert np.abs(result[4:12, 3:9] - np.asarray(half).astype(int)).max() <= 1
    assert (result[:4] == 9).all()
    assert (result[:, 9:] == 9).all()


def test_shift_wraps_or_pads():
    images = random_images()
    wrapped = get_variation("shift:3,-2,edge=wrap").apply(images)
    np.testing.assert_array_equal(wrapped, np.roll(images, (-2, 3), axis=(1, 2)))
    padded = get_variation("shift:3,-2,fill=0a0b0c").apply(images)
    np.testing.assert_array_equal(padded[:, :-2, 3:], images[:, 2:, :-3])
    assert (padded[:, -2:] == (10, 11, 12)).all()
    assert (padded[:, :, :3] == (10, 11, 12)).all()
    np.testing.assert_array_equal(get_variation("shift:-3,2,edge=wrap").apply(wrapped), images)
    assert not get_variation("shift:100").apply(images).any()


def test_crop_keeps_the_middle_where_it_is():
    images = random_images((2, 10, 20, 3))
    result = get_variation("crop:0.5,fill=ffffff").apply(images)
    border = np.ones((10, 20), dtype=bool)
    border[3:7, 5:15] = False  # 2.5 rows are rounded up
    np.testing.assert_array_equal(result[:, ~border], images[:, ~border])
    assert (result[:, border] == 255).all()
    assert get_variation("crop:0.01").apply(np.full((3, 5, 3), 9, np.uint8)).any()


def test_noise_is_gaussian_and_depends_on_the_picture_and_the_seed():
    grey = np.full((64, 64, 3), 128, dtype=np.uint8)
    look = get_variation("noise:0.1")
    noise = look.apply(grey).astype(float) - 128
    assert abs(noise.mean()) < 0.7
    assert abs(noise.std() - 25.5) < 0.6
    assert abs(np.mean(np.abs(noise) < 25.5) - 0.683) < 0.02
    for shifted in (np.roll(noise, 1, axis=0), np.roll(noise, 1, axis=1), np.roll(noise, 1, axis=2)):
        assert abs(np.corrcoef(noise.ravel(), shifted.ravel())[0, 1]) < 0.03
    other = grey.copy()
    other[40, 7, 1] += 1
    for unlike in (look.apply(other), get_variation("noise:0.1,seed=1").apply(grey)):
        assert abs(np.corrcoef(noise.ravel(), unlike.astype(float).ravel())[0, 1]) < 0.03


def scrambled(word):
    """`mix` of one number, in whole numbers of any size."""
    word ^= word >> 16
    for factor in (0x21F0AAAD, 0x735A2D97):
        word = word * factor % 2**32
        word ^= word >> 15
    return word


def noisy(image, sigma, seed):
    """One level after the other."""
    levels = image.ravel().tolist()
    places = [scrambled(number ^ scrambled(seed)) for number in range(len(levels))]
    digest = sum(level * (scrambled(place) | 1) for level, place in zip(levels, places, strict=True)) % 2**32
    gauss = NormalDist(0, sigma * 255)
    for number, place in enumerate(places):
        chance = ((scrambled((place + scrambled(digest)) % 2**32) >> 16) + 0.5) / 65536
        levels[number] = min(max(levels[number] + round(gauss.inv_cdf(chance)), 0), 255)
    return np.reshape(levels, image.shape)


@pytest.mark.parametrize(("shape", "seed"), [((3, 5, 3), 0), ((6, 4, 1), 2**31 - 1)])
def test_noise_is_the_loop_over_levels(shape, seed):
    image = random_images(shape)
    np.testing.assert_array_equal(get_variation(f"noise:0.2,seed={seed}").apply(image), noisy(image, 0.2, seed))


def test_golden_noise():
    """A change of these values changes what agents that were trained on them see."""
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10
    expected = [[6, 0, 16], [27, 55, 59], [64, 77, 76], [119, 99, 110]]
    assert get_variation("noise:0.05,seed=3").apply(image)[0].tolist() == expected
    assert levels_of(0.5)[[0, 1 << 15, -1]].tolist() == [-255, 0, 255]


def test_scrambling_is_one_to_one():
    words = np.arange(1 << 16, dtype=np.uint32) * np.uint32(65537)
    assert len(np.unique(mix(words))) == 1 << 16


def textured(image, kind, background, tolerance, size, ink):
    out = image.copy()
    for y, x in np.ndindex(image.shape[:2]):
        near = all(abs(int(a) - b) <= tolerance for a, b in zip(image[y, x], background, strict=True))
        on = {"stripes": x // size, "rows": y // size, "checks": x // size + y // size}[kind] % 2 == 0
        if near and on:
            out[y, x] = ink
    return out


@pytest.mark.parametrize("kind", ["stripes", "rows", "checks"])
def test_texture_is_the_loop_over_pixels(kind):
    image = random_images((12, 15, 3))
    result = get_variation(f"texture:{kind},bg=7f6050,tol=100,size=3,ink=0102ff").apply(image)
    np.testing.assert_array_equal(result, textured(image, kind, (127, 96, 80), 100, 3, (1, 2, 255)))
    assert (result != image).any()


@pytest.mark.parametrize("kind", ["dots", "grain"])
def test_textures_cover_a_share(kind):
    plain = np.zeros((64, 64, 3), dtype=np.uint8)
    result = get_variation(f"texture:{kind},bg=000000,ink=ffffff").apply(plain)
    assert set(np.unique(result)) == {0, 255}
    assert 0.3 < (result == 255).mean() < 0.6


def test_texture_under_a_mask_of_ones_own():
    images, step = random_images((2, 8, 8, 3)), Texture("checks", (0, 0, 0), size=2, ink=(9, 8, 7))
    mask = np.random.default_rng(1).random((2, 8, 8)) < 0.5
    result = step.paint(images, mask)
    on = np.add.outer(np.arange(8) // 2, np.arange(8) // 2) % 2 == 0
    np.testing.assert_array_equal(result, np.where((mask & on)[..., None], np.uint8((9, 8, 7)), images))
    with pytest.raises(InvalidInputError, match=r"expected RGB \(..., H, W, 3\) for a look with colours, found \(2, 8"):
        step.paint(images[..., :1], mask)
    with pytest.raises(InvalidInputError, match=r"mask: expected bool \(2, 8, 8\)"):
        step.paint(images, mask[:, :4])


def test_images_that_are_none_are_refused():
    with pytest.raises(InvalidInputError, match=r"images: expected \(..., H, W, C\), found \(8, 3\)"):
        get_variation("inverted").apply(np.zeros((8, 3), np.uint8))
    with pytest.raises(InvalidInputError, match="expected RGB"):
        get_variation("texture:dots,bg=000000").apply(np.zeros((8, 8, 1), np.uint8))
