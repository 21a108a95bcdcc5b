"""Identities of a matrix's results are those of commit 847a483: what it measured is not measured again."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlstitch.envs import World
from rlstitch.evaluation.matrix.plan import Member, cell_identity, native_identity, random_identity
from rlstitch.evaluation.options import CellOptions

GRID = World("MiniGrid-DoorKey-5x5-v0", "red", "scrambled", "full", 12)
CARS = World("CarRacing-v3", backend="envpool", actions="discrete", action_repeat=4, frame_stack=2, crop=84, size=48)


@pytest.mark.parametrize(
    ("world", "cell", "native", "random"),
    [
        (
            GRID,
            "aa26875cada89730514e7b68fd4c3e17140f5933b28aa2e1140ea76e989e80db",
            "0501b310c35832db315c985c32d06a8e01a73619bde6bafb5ac151ff58101eb5",
            "7cd211170f561fd3c9249cc4a4effc57b16ea2b4fe99739a38c9f43380fea3b1",
        ),
        (
            CARS,
            "1e564e0b098bdacd9b191ded14506f02bcc85c6d49fd2f870fc15b6fd3935713",
            "571de4d4f09cc7362a7c8e6c6799bbe457e6d7a3b016d02380a46a42fc766e09",
            "dafb2276bdc62023756a5e0d2c4d4df800fc39cf95771c4d6a3be5afc192a839",
        ),
    ],
)
def test_identities_of_the_old_version(world: World, cell: str, native: str, random: str) -> None:
    options = CellOptions()
    assert cell_identity("a" * 64, "b" * 64, "affine", options, world) == cell
    assert native_identity(Member("n", Path("n"), "c" * 64, 3, world), options, world) == native
    assert random_identity(world, options) == random
