"""The report of a matrix whose cells were played in two worlds: page, tables, events."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from matrix_samples import made_up_matrix, play_elsewhere
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlstitch.api.report import find_videos
from rlstitch.api.report import report as report_matrix
from rlstitch.reporting.matrix.data import read_matrix
from rlstitch.reporting.matrix.latents import choose_rows, find_rows
from rlstitch.reporting.matrix.page import payload
from rlstitch.reporting.matrix.tables import correlations, headline, method_table
from rlstitch.rollouts.video import write_mp4
from rlstitch.storage import read_json

PLACE = "red/scrambled"
METHODS = ("naive", "affine")


@pytest.fixture
def matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up matrix of two worlds in `m`, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return play_elsewhere(made_up_matrix(tmp_path / "m", agents=4, methods=METHODS))


def test_each_world_has_its_own_tables_with_natives_on_the_diagonal(matrix):
    data = read_matrix(matrix)
    assert data.places == ("cell", PLACE)
    assert data.table("affine", "recovery") == data.table("affine", "recovery", "cell")
    here, elsewhere = (data.table("affine", "recovery", place) for place in data.places)
    for i, line in enumerate(here):
        for j, value in enumerate(line):
            expected = 42.0 if i == j else None if value is None else value / 2
            assert elsewhere[i][j] == expected
    report_matrix(matrix, latents=0, tensorboard=False)
    names = {path.name for path in (matrix / "tables").iterdir()}
    assert {"recovery-affine.csv", "recovery-affine-red-scrambled.csv", "return-naive-red-scrambled.csv"} <= names
    lines = list(csv.reader((matrix / "tables/recovery-affine-red-scrambled.csv").read_text().splitlines()))
    assert [line[i + 1] for i, line in enumerate(lines[1:])] == ["42.0"] * 4
    reported = read_json(matrix / "report.json")
    assert reported["tables"]["affine"]["recovery"] == here
    assert reported["tables_of_other_worlds"][PLACE]["affine"]["recovery"] == elsewhere
    text = (matrix / "report.md").read_text(encoding="utf-8")
    assert "## affine: recovery" in text
    assert f"## affine in {PLACE}: recovery" in text
    assert f"affine beats naive in {PLACE} in 75.0% of episodes" in text
    assert f"| {PLACE} | native | " in text


def test_the_page_names_the_world_of_every_row_and_line(matrix):
    data = read_matrix(matrix)
    reported = payload(data)
    assert reported["places"] == ("cell", PLACE)
    assert [reported["places"][n] for n in reported["columns"]["place"]] == [
        row.get("place", "cell") for row in data.rows
    ]
    assert method_table(data)[0][:2] == ("world", "method")
    assert "in 2 worlds" in headline(data)
    assert "native recovers" not in headline(data)
    text = report_matrix(matrix, latents=0, tensorboard=False).page.read_text(encoding="utf-8")
    assert f'<tr><th scope="row">{PLACE}</th><th scope="row">native</th>' in text
    assert f">affine, {PLACE}</text>" in text
    result = {(entry["place"], entry["method"]) for entry in correlations(data)}
    assert result == {(place, method) for place in data.places for method in METHODS}


def test_films_and_latents_are_of_the_first_world(matrix):
    data = read_matrix(matrix)
    row = next(row for row in data.rows if row["state"] == "done" and row["method"] == "affine")
    name = f"{row['encoder']}--{row['controller']}--affine"
    assert find_rows(data.rows, [name]) == [row]
    assert {row.get("place", "cell") for row in choose_rows(data.rows, 100)} == {"cell"}
    write_mp4(np.zeros((3, 16, 16, 3), np.uint8), matrix / "videos" / f"{name}.mp4")
    films, _ = find_videos(data)
    assert [film.row for film in films] == [data.rows.index(row)]


def test_events_keep_the_world_behind_the_method(matrix):
    report = report_matrix(matrix, latents=0)
    events = EventAccumulator(str(report.events), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    tags = events.Tags()
    assert {"recovery/affine", f"recovery/affine/{PLACE}"} <= set(tags["images"])
    assert {"matrix/cells/affine", f"matrix/cells/affine/{PLACE}", f"matrix/cells/native/{PLACE}"} <= set(
        tags["scalars"]
    )


def test_a_matrix_that_tells_no_worlds_is_of_its_cells_own(matrix):
    path = matrix / "cells.json"
    rows = [row for row in json.loads(path.read_text()) if row.pop("place", "cell") == "cell"]
    path.write_text(json.dumps(rows))
    data = read_matrix(matrix)
    assert data.places == ("cell",)
    assert method_table(data)[0][0] == "method"
