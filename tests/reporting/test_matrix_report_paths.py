"""The report of a matrix from a stranger: no path leads out of its folder, nothing else is embedded."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matrix_samples import made_up_matrix

from rlstitch.api.report import find_videos, report
from rlstitch.errors import ArtefactError, InvalidInputError, RlstitchError
from rlstitch.reporting.matrix.data import read_matrix
from rlstitch.rollouts.video import write_mp4

NAMES = ["../../out", "/tmp/out", "..", ".hidden", "a/b", "a\\b", "a\0b", "a\nb", "", "n" * 300, "x*", "\u202egpj"]


@pytest.fixture
def matrix(workplace: Path) -> Path:
    """A made-up matrix in `inner/m`, in an empty working folder."""
    return made_up_matrix(workplace / "inner" / "m", agents=4, methods=("naive",))


def change(path: Path, edit: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(edit(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")


def rename(matrix: Path, key: str, name: str) -> None:
    """Put a name in the place of a method, or of an agent."""
    old = read_matrix(matrix).rows[0][key]
    rows = [{k: name if v == old else v for k, v in row.items()} for row in read_matrix(matrix).rows]
    change(matrix / "cells.json", lambda _: rows)
    if key == "method":
        swap = lambda about: about | {"methods": [name if m == old else m for m in about["methods"]]}  # noqa: E731
        change(matrix / "matrix.json", swap)


def tree(folder: Path) -> dict[str, float]:
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("key", ["method", "encoder"])
@pytest.mark.parametrize("name", NAMES)
def test_names_that_no_method_and_no_agent_has_are_refused_before_anything_is_written(
    matrix: Path, workplace: Path, key: str, name: str
) -> None:
    rename(matrix, key, name)
    before = tree(workplace)
    with pytest.raises(ArtefactError, match="expected the name of") as caught:
        report(matrix, latents=0, plots=True)
    assert str(caught.value).isprintable()
    assert tree(workplace) == before


def test_a_column_of_any_name_is_drawn_inside_the_folder(matrix: Path, workplace: Path) -> None:
    change(matrix / "cells.json", lambda rows: [row | {"../../../out": float(i)} for i, row in enumerate(rows)])
    report(matrix, latents=0, plots=True, tensorboard=False)
    assert [path.name for path in workplace.iterdir()] == ["inner"]
    assert [path.name for path in (workplace / "inner").iterdir()] == ["m"]
    assert {path.name for path in matrix.iterdir() if path.is_dir()} == {"tables", "plots"}


@pytest.mark.parametrize("name", ["tables", "plots", "tensorboard"])
def test_a_folder_that_is_a_link_is_not_written_through(matrix: Path, workplace: Path, name: str) -> None:
    (workplace / "home").mkdir()
    (matrix / name).symlink_to(workplace / "home")
    with pytest.raises(RlstitchError, match=r"link|no folder of its own"):
        report(matrix, latents=0, plots=name == "plots", tensorboard=name == "tensorboard")
    assert list((workplace / "home").iterdir()) == []


@pytest.mark.parametrize("name", ["report.html", "tables/recovery-naive.csv"])
def test_a_page_or_table_in_the_place_of_a_pipe_is_refused(matrix: Path, name: str) -> None:
    (matrix / name).parent.mkdir(exist_ok=True)
    os.mkfifo(matrix / name)
    with pytest.raises(InvalidInputError, match="it is a pipe"):
        report(matrix, latents=0, tensorboard=False)


def test_only_videos_that_are_files_of_their_own_are_embedded(matrix: Path, workplace: Path) -> None:
    done = [row for row in read_matrix(matrix).rows if row["state"] == "done"][:5]
    videos = [matrix / "videos" / f"{row['encoder']}--{row['controller']}--{row['method']}.mp4" for row in done]
    write_mp4(np.zeros((3, 16, 16, 3), np.uint8), videos[0])
    secret = workplace / "secret"
    secret.write_text("a password")
    videos[1].symlink_to(secret)
    videos[2].symlink_to(videos[0])
    videos[3].write_text("a password")
    os.mkfifo(videos[4])
    shown, left = find_videos(read_matrix(matrix))
    assert [video.path for video in shown] == [videos[0]]
    assert left == [f"video left out, a link or no MP4: {path}" for path in videos[1:]]
    (matrix / "videos").rename(workplace / "elsewhere")
    (matrix / "videos").symlink_to(workplace / "elsewhere")
    assert find_videos(read_matrix(matrix)) == ([], [])


def test_rows_of_another_state_of_the_matrix_are_refused(matrix: Path) -> None:
    change(matrix / "matrix.json", lambda about: about | {"cells_sha256": "00" * 32})
    with pytest.raises(ArtefactError, match=r"cells\.json: not the file .* run rlstitch matrix again"):
        read_matrix(matrix)
