import numpy as np
import pytest
from minigrid.core.grid import Grid
from minigrid.core.world_object import Door, Key, Wall

from rlstitch.envs.families.minigrid.grids import visible_cells, window_offsets


@pytest.mark.parametrize("size", [3, 5, 7, 9, 11])
@pytest.mark.parametrize("density", [0.1, 0.4])
def test_sight_equals_minigrids_own(size, density):
    """The naive twin: `Grid.process_vis`, one view at a time. Views wider than 7 take the way without a table."""
    generator = np.random.default_rng(size)
    transparent = generator.random((25, size, size)) > density
    for free, seen in zip(transparent, visible_cells(transparent), strict=True):
        grid = Grid(size, size)
        for y, x in np.ndindex(size, size):
            grid.set(x, y, None if free[y, x] else Wall())
        expected = grid.process_vis((size // 2, size - 1))
        np.testing.assert_array_equal(seen, expected.T)


def test_what_blocks_sight():
    """MiniGrid's own rule: walls and shut doors do, keys and open doors do not."""
    assert [obj.see_behind() for obj in (Wall(), Door("red"), Door("red", True), Key())] == [False, False, True, True]


def test_an_agent_sees_all_of_an_open_field_and_nothing_from_within_walls():
    assert visible_cells(np.ones((1, 7, 7), np.bool_)).all()
    seen = visible_cells(np.zeros((1, 7, 7), np.bool_))
    assert seen.sum() == 1
    assert seen[0, 6, 3]


def test_window_lies_ahead_of_the_agent():
    """Facing up, the window is the block above; each quarter turn turns it."""
    length = 100
    offsets = window_offsets(3, length)
    up = [[-2 * length - 1, -2 * length, -2 * length + 1], [-length - 1, -length, -length + 1], [-1, 0, 1]]
    assert offsets[3].tolist() == up
    assert offsets[0, 0].tolist() == [2 - length, 2, 2 + length]  # to the right, left hand side first
    assert (offsets[:, 2, 1] == 0).all()
