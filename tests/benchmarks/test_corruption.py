"""Pairs gone wrong on purpose: each way against its definition."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from corruption import few_rows, noisy_images, noisy_latents, shifted_rows, wrong_rows
from rlstitch.errors import InvalidInputError


def test_pixel_noise_has_the_deviation_asked_for():
    grey = np.full((20, 16, 16, 3), 128, dtype=np.uint8)
    noisy = noisy_images(grey, 0.1, seed=3)
    assert (noisy.dtype, noisy.shape) == (np.uint8, grey.shape)
    assert (noisy.astype(float) - 128).std() == pytest.approx(25.5, rel=0.02)
    assert abs((noisy.astype(float) - 128).mean()) < 0.5
    np.testing.assert_array_equal(noisy, noisy_images(grey, 0.1, seed=3))
    assert (noisy != noisy_images(grey, 0.1, seed=4)).any()
    np.testing.assert_array_equal(noisy_images(grey, 0.0), grey)
    assert (grey == 128).all()


@pytest.mark.parametrize("value", [0, 255])
def test_pixel_noise_does_not_wrap_around(value):
    noisy = noisy_images(np.full((4, 8, 8, 3), value, dtype=np.uint8), 0.2)
    far = noisy > 127 if value == 0 else noisy < 128
    assert far.mean() < 0.02  # beyond 2.5 deviations


def test_latent_noise_is_in_units_of_each_dimension():
    z = np.random.default_rng(0).normal(size=(4000, 3)).astype(np.float32) * [1, 10, 0]
    noisy = noisy_latents(z, 0.5, seed=1)
    assert noisy.dtype == z.dtype
    np.testing.assert_allclose((noisy - z).std(0), 0.5 * z.std(0), rtol=0.05)
    np.testing.assert_array_equal(noisy_latents(z, 0.0), z)


@pytest.mark.parametrize("steps", [0, 1, 2, -1, 3, 9])
def test_shifted_rows_against_a_loop(steps):
    episodes = np.array([4, 4, 4, 4, 1, 1, 7, 7, 7])
    expected = [
        (i, j) for i in range(9) for j in range(9) if episodes[i] == episodes[j] and j - i == steps
    ]  # fmt: skip
    x, y = shifted_rows(episodes, steps)
    assert list(zip(x.tolist(), y.tolist(), strict=True)) == expected


def test_an_episode_in_parts_is_refused():
    with pytest.raises(InvalidInputError, match="episodes: expected the rows of an episode to stand together"):
        shifted_rows(np.array([0, 1, 0]), 1)
    assert [len(rows) for rows in shifted_rows(np.array([], dtype=np.int64), 1)] == [0, 0]


@pytest.mark.parametrize(("count", "share", "wrong"), [(100, 0.2, 20), (7, 1.0, 7), (10, 0.1, 2), (10, 0.0, 0)])
def test_a_share_of_the_rows_is_wrong_and_none_is_lost(count, share, wrong):
    rows = wrong_rows(count, share, seed=2)
    assert (rows != np.arange(count)).sum() == wrong
    np.testing.assert_array_equal(np.sort(rows), np.arange(count))
    np.testing.assert_array_equal(rows, wrong_rows(count, share, seed=2))
    if wrong > 5:
        assert (rows != wrong_rows(count, share, seed=3)).any() or count == wrong


def test_few_rows_are_nested():
    eight, twenty = few_rows(50, 8, seed=1), few_rows(50, 20, seed=1)
    assert len(set(eight.tolist())) == 8
    assert set(eight.tolist()) < set(twenty.tolist())
    np.testing.assert_array_equal(few_rows(5, 99), np.arange(5))


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: noisy_images(np.zeros((1, 2, 2, 3), np.uint8), -0.1), "deviation: expected a finite number"),
        (lambda: noisy_latents(np.zeros((1, 2)), float("nan")), "level: expected a finite number of at least 0"),
        (lambda: wrong_rows(5, 1.1), r"share: expected a number in \[0, 1\], found 1.1"),
        (lambda: wrong_rows(1, 1.0), "count: expected at least 2 rows"),
        (lambda: few_rows(5, 0), "few: expected at least 1, found 0"),
    ],
)
def test_what_makes_no_sense_is_refused(call, part):
    with pytest.raises(InvalidInputError, match=part):
        call()
