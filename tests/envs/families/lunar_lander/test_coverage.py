"""Exact areas: those of shapes that are known, and of any convex polygon by counting points."""

from __future__ import annotations

import numpy as np
from matplotlib.path import Path

from rlstitch.envs.families.lunar_lander.coverage import cover


def counted(polygon: np.ndarray, rows: int, columns: int, points: int = 40) -> np.ndarray:
    """The naive way: the share of each cell's points that lie inside."""
    x, y = ((np.arange(count * points) + 0.5) / points for count in (columns, rows))
    inside = Path(polygon).contains_points(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2))
    return inside.reshape(rows, points, columns, points).mean(axis=(1, 3))


def test_a_rectangle_covers_what_its_sides_say() -> None:
    corners = np.array([[[1, 1], [3.5, 1], [3.5, 2.25], [1, 2.25]]], dtype=np.float32)
    expected = np.outer([0, 1, 0.25], [0, 1, 1, 0.5])
    np.testing.assert_allclose(cover(corners, 3, 4)[0], expected, atol=2e-4)
    np.testing.assert_allclose(cover(corners[:, ::-1], 3, 4)[0], expected, atol=2e-4)  # in either sense of rotation


def test_polygons_that_reach_beyond_the_grid_are_cut_off_there() -> None:
    corners = np.array([[[-3, 1], [30, 1], [30, 90], [-3, 90]]], dtype=np.float32)
    np.testing.assert_allclose(cover(corners, 4, 3)[0], np.outer([0, 1, 1, 1], [1, 1, 1]), atol=2e-4)
    assert not cover(corners + 100, 4, 3).any()


def test_areas_are_those_of_counted_points() -> None:
    rng = np.random.default_rng(0)
    angles = np.sort(rng.uniform(0, 2 * np.pi, (8, 5)), axis=1)
    corners = np.stack([4 + 3 * np.cos(angles), 5 + 6 * np.sin(angles)], axis=-1).astype(np.float32)
    for polygon, areas in zip(corners, cover(corners, 8, 7), strict=True):
        np.testing.assert_allclose(areas, counted(polygon, 8, 7), atol=0.01)
