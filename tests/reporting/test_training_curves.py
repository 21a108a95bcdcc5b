"""Training curves in the report of a matrix."""

from __future__ import annotations

from pathlib import Path

import pytest
from matrix_samples import made_up_matrix

from rlstitch.reporting.matrix.data import read_matrix
from rlstitch.reporting.matrix.matrix_plots import training_curves
from rlstitch.reporting.matrix.page import render_matrix

HEADER = "steps,return,success,length\n"


def test_curves_of_single_runs_are_drawn_and_others_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = read_matrix(made_up_matrix(tmp_path / "m", agents=6))
    assert training_curves(data) == {}
    assert ">Training<" not in render_matrix(data)
    one, twice, damaged, strange, short, none = data.encoders
    for name, text in (
        (f"{one}-0123abcd", "100,0.1,0.25,9\n200,0.2,0.5,8\n"),
        (f"{one}-other", "100,0.1,0.25,9\n"),
        (f"{twice}-00000000", "100,0.1,0.25,9\n200,0.2,0.5,8\n"),
        (f"{twice}-00000001", "100,0.1,0.25,9\n200,0.2,0.5,8\n"),
        (f"{damaged}-00000000", "100,0.1,,9\n200,0.2,0.5,8\n"),
        (f"{strange}-00000000", "100,0.1,7,9\n200,0.2,0.5,8\n"),
        (f"{short}-00000000", "100,0.1,1,9\n"),
    ):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "curve.csv").write_text(HEADER + text)
    assert training_curves(data) == {one: [(100.0, 0.25), (200.0, 0.5)]}
    assert ">Training<" in render_matrix(data)
    assert none in data.encoders
