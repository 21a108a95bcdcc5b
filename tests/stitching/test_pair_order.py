"""Whole episodes as two agents see them: in order, and of the same states."""

from __future__ import annotations

import numpy as np
import pytest
from stitch_samples import untrained

from rlstitch.errors import InvalidInputError
from rlstitch.stitching.pairs import gather_episodes, gather_images


@pytest.fixture(scope="module")
def green():
    return untrained("green", seed=2, variation="green")


def test_episodes_are_whole_in_order_and_the_same_for_both(red, green):
    x, y, episode = gather_episodes(red, green, episodes=5, max_steps=20, seed=1)
    assert len(x) == len(y) == len(episode)
    assert (np.diff(episode) >= 0).all()
    assert set(episode.tolist()) == set(range(5))
    assert np.bincount(episode).max() <= 21
    # One agent under its own look twice: the same pictures.
    same_x, same_y, _ = gather_episodes(red, red, episodes=5, max_steps=20, seed=1)
    np.testing.assert_array_equal(same_x, same_y)
    again = gather_episodes(red, green, episodes=5, max_steps=20, seed=1)
    np.testing.assert_array_equal(again[0], x)


def test_images_are_distinct_views_of_both_looks(red, green):
    x, y = gather_images(red, green, count=25, seed=2)
    assert x.shape == y.shape == (25, 56, 56, 3)
    assert len({row.tobytes() for row in x}) == 25
    with pytest.raises(InvalidInputError, match="count: expected at least 1, found 0"):
        gather_images(red, green, count=0)
