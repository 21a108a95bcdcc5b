"""The figures that stand in the tables of relativized agents, against values worked out by hand."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from relative_cross_page import cross_table, interval, line_of, over_seed_pairs, verdicts, write_sweep


def row(encoder: str, controller: str, recovery: float, *, method: str = "relative", anchors: int = 512) -> dict:
    way = {
        "similarity": "cosine",
        "normalization": "whiten",
        "shrinkage": 0.05,
        "anchors": anchors,
        "asked": anchors,
        "noise": 0.2,
        "driven": False,
    }
    figures = {"recovery": recovery, "low": recovery - 5, "high": recovery + 5, "return": recovery / 100}
    ends = {"random": 0.0, "native": 1.0, "greedy": False}
    return {"preset": "doorkey", "encoder": encoder, "controller": controller, "method": method} | way | figures | ends


ROWS = [
    row("red-s1", "red-s1", 99.0),
    row("red-s1", "green-s2", 90.0),
    row("blue-s1", "green-s2", 100.0),
    row("green-s2", "red-s1", 80.0),
    row("red-s1", "green-s3", 86.0),
]


def test_an_interval_is_students():
    mean, half = interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert half == pytest.approx(4.302653 * 1.0 / 3**0.5, rel=1e-6)
    assert interval([7.0])[0] == 7.0
    assert math.isnan(interval([7.0, 8.0])[1])  # no interval worth telling


def test_cells_of_one_seed_pair_count_once():
    mean, half = over_seed_pairs(ROWS[1:])
    assert mean == pytest.approx((95.0 + 80.0 + 86.0) / 3)
    assert half == pytest.approx(4.302653 * np.std([95, 80, 86], ddof=1) / 3**0.5, rel=1e-6)


def test_a_line_keeps_agents_alone_apart():
    assert line_of(ROWS) == "4 | 99.0 | 87.0 ± 18.8 | 88.0 | 80.0 | 3 of 4"


def test_random_and_native_stand_in_every_table():
    lines = cross_table([*ROWS, row("red-s1", "green-s2", 3.0, method="naive", anchors=0)])
    assert [line.split(" | ")[1] for line in lines[2:]] == ["random", "native", "naive", "cosine"]
    assert lines[3] == "| doorkey | native | 1.000 | – | – | – | 100 | – | – | – |"
    assert lines[4] == "| doorkey | naive | 0.030 | – | 1 | – | 3.0 | 3.0 | 3.0 | 0 of 1 |"


def test_the_bars_are_about_gaussian_kernels_on_all_views():
    best = [{**found, "similarity": "gaussian", "driven": True} for found in ROWS]
    assert [line.split(" | ")[1] for line in cross_table([*ROWS, *best])[4:]] == ["cosine", "gaussian, all views"]
    assert verdicts(ROWS[:1]) == []
    assert verdicts([*ROWS, *best]) == [
        "- doorkey: mean 87.0, **missed** (95); upper ends at 90 or more: 3 of 4, **missed**.",
        "- all 4 cells: mean 89.0.",
    ]


def test_the_sweep_is_written_and_drawn(tmp_path: Path):
    write_sweep([*ROWS, row("red-s1", "green-s2", 3.0, method="naive", anchors=0)], tmp_path / "sweep")
    assert "| relative | cosine | whiten | 0.05 | 0.2 | 512 | 4 |" in (tmp_path / "sweep.md").read_text()
    assert (tmp_path / "sweep.png").stat().st_size > 1000
