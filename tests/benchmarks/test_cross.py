"""Crosses by YAML files: the cells, the rows of every method, the pages, and that nothing is measured twice."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stitch_samples import untrained

from cross import Cross, Method, Workplace, expand, main
from cross_page import interval, line, over_seed_pairs, page, table, verdicts
from rlstitch.agents.artefact import save_agent
from rlstitch.storage.json_files import read_json

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = "MiniGrid-LavaCrossingS9N1-v0"
FILES = sorted((BENCHMARKS / "crosses").glob("*.yaml"))
RELATIVE = {"steps": 20, "similarity": "cosine", "batch_size": 16}
METHODS = (
    Method("naive", "naive", pairs=24),
    Method("affine", "affine", pairs=24),
    Method("affine, anchors", "affine", anchors=16),
    Method("relative", "relative", anchors=16, relativize=RELATIVE),
    Method("controller cloned", "controller cloned", pairs=24),
    Method("affine map of pixels", "affine map of pixels", pairs=24),
    Method("shuffled pairs", "affine-shuffled", pairs=24),
    Method("random encoder", "affine-untrained", pairs=24),
    Method("own encoder", "affine-self", pairs=24),
    Method("refined", "affine-refined-1", pairs=24),
)


@pytest.fixture
def cross(workplace: Path) -> Cross:
    for name, seed, look in (("small-red-s1", 1, "red"), ("small-green-s2", 2, "green"), ("small-blue-s1", 1, "blue")):
        agent = untrained(name, seed=seed, environment=SMALL, variation=look)
        save_agent(agent, workplace / "agents" / name)
    names = expand("small-{red,blue}-s1") + ["small-green-s2", "small-green-s3"]
    return Cross("Small", "About.", workplace / "small", {"small": names}, METHODS, gate=None, episodes=2)


def row(encoder: str, controller: str, recovery: float, **more: object) -> dict:
    values = {"group": "g", "encoder": encoder, "controller": controller, "label": "relative", "policy": "sampled",
              "points": 512, "distinct_views": None, "recovery": recovery, "recovery_low": recovery - 5,
              "recovery_high": recovery + 5, "return_mean": recovery / 100, "random_return": 0.0,
              "native_return": 1.0}  # fmt: skip
    return {**values, **more}


ROWS = [
    row("red-s1", "red-s1", 99.0),
    row("red-s1", "green-s2", 90.0),
    row("blue-s1", "green-s2", 100.0),
    row("green-s2", "red-s1", 80.0),
    row("red-s1", "green-s3", 86.0),
]
BARS = Cross("T", "", Path("t"), {"g": []}, (Method("relative", "relative"),), bar=90.0, mean_bar=95.0)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_page_of_every_table_is_that_of_its_rows(path: Path) -> None:
    cross = Cross.read(path)
    results = BENCHMARKS.parent / cross.results
    rows = read_json(results.with_suffix(".json"))
    assert results.with_suffix(".md").read_text() == page(cross, rows)
    assert {entry["label"] for entry in rows} <= {method.label for method in cross.methods}
    assert set(cross.judged) <= {method.label for method in cross.methods}


def test_braces_expand_as_in_a_shell() -> None:
    assert expand("a-{b,c}-s{1,2}") == ["a-b-s1", "a-b-s2", "a-c-s1", "a-c-s2"]
    assert expand("plain") == ["plain"]


def test_cells_are_pairs_of_agents_that_exist_and_differ_in_seed(cross: Cross) -> None:
    cells = set(cross.cells("small", Path("agents"), METHODS[0]))
    assert cells == {
        ("small-red-s1", "small-green-s2"), ("small-green-s2", "small-red-s1"),
        ("small-blue-s1", "small-green-s2"), ("small-green-s2", "small-blue-s1"),
    }  # fmt: skip
    assert ("small-red-s1", "small-red-s1") in set(cross.cells("small", Path("agents"), METHODS[3]))
    only = replace(METHODS[0], among=("red-s1", "green-s2"))
    assert len(set(cross.cells("small", Path("agents"), only))) == 2
    one_way = set(replace(cross, one_way=True).cells("small", Path("agents"), METHODS[0]))
    assert one_way == {("small-red-s1", "small-green-s2"), ("small-blue-s1", "small-green-s2")}
    gated = replace(cross, gate=0.95)
    assert list(gated.cells("small", Path("agents"), METHODS[0])) == [], "agents without a success rate do not pass"


def test_every_method_gives_a_row(cross: Cross) -> None:
    place = Workplace(cross, Path("agents"))
    for method in METHODS:
        measured = place.row("small", "small-red-s1", "small-green-s2", method)
        assert (measured["label"], measured["episodes"]) == (method.label, 2)
        assert (measured["encoder"], measured["controller"]) == ("small-red-s1", "small-green-s2")
        assert measured["points"] == {"naive": 0}.get(method.label, measured["points"])
        assert math.isfinite(measured["return_mean"])
    assert measured["distinct_views"] >= 24


def test_a_second_run_measures_nothing(cross: Cross, workplace: Path, monkeypatch, capsys) -> None:
    text = (
        "title: T\nabout: A\nresults: small\ngate: null\nepisodes: 2\ngroups: {small: [small-red-s1, small-green-s2]}\n"
    )
    (workplace / "small.yaml").write_text(
        text + "methods: [{label: naive, pairs: 24}, {label: affine-self, pairs: 24}]\n"
    )
    monkeypatch.setattr(sys, "argv", ["cross.py", "small.yaml", "--workers", "1"])
    main()
    assert "2 cells to measure" in capsys.readouterr().out
    before = (workplace / "small.json").read_bytes()
    main()
    assert "0 cells to measure" in capsys.readouterr().out
    assert (workplace / "small.json").read_bytes() == before
    assert "4 rows have no recovery" in (workplace / "small.md").read_text(), "untrained agents"


def test_an_interval_is_students() -> None:
    mean, half = interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert half == pytest.approx(4.302653 * 1.0 / 3**0.5, rel=1e-6)
    assert interval([7.0])[0] == 7.0
    assert math.isnan(interval([7.0, 8.0])[1])


def test_the_interval_is_over_seed_pairs_and_the_mean_over_cells() -> None:
    mean, half = over_seed_pairs(ROWS[1:])
    assert mean == pytest.approx((90 + 100 + 80 + 86) / 4)
    assert half == pytest.approx(4.302653 * np.std([95, 80, 86], ddof=1) / 3**0.5, rel=1e-6)


def test_a_line_keeps_agents_with_their_own_parts_apart() -> None:
    text = "512 | – | 4 | 99.0 | 0.890 | 89.0 ± 18.8 | 88.0 | 80.0 | 3 of 4"
    assert line(BARS, ROWS) == text
    rows = [row | {"success": 0.5} for row in ROWS]
    assert line(replace(BARS, success=True), rows) == text + " | 50%"


def test_random_and_native_stand_in_every_table() -> None:
    lines = table(BARS, [*ROWS, row("red-s1", "green-s2", 3.0, label="naive", points=0)])
    assert [entry.split(" | ")[1] for entry in lines[2:]] == ["random", "native", "relative", "naive"]
    assert lines[3] == "| g | native | – | – | – | – | 1.000 | 100 | – | – | – |"


def test_verdicts() -> None:
    assert verdicts(BARS, ROWS[:1]) == []
    assert verdicts(BARS, ROWS) == [
        "- g, relative: mean 89.0, **missed** (95); upper ends at 90 or more: 3 of 4, **missed**.",
        "- all 4 cells: mean 89.0.",
    ]
