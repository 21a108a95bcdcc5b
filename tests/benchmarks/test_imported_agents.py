"""The benchmark of imported agents, in tiny numbers: from training to the table, and again without doing it twice."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "imported_agents.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("imported_agents", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def test_from_training_to_the_table(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(script.Plan().names()) == 4
    assert len(script.Plan().crossings()) == 8, "every ordered pair of different seeds"
    plan = script.Plan(folder=Path("work"), looks=("inverted",), steps=32, num_envs=2, n_steps=16, episodes=1, pairs=24)
    looks = {name: (look, seed) for name, look, seed in plan.names()}

    begun: list[str] = []

    def stopped(name: str) -> None:
        begun.append(name)
        if name == "sb3-doorkey-inverted-s1":
            script.train_model(plan, *looks[name], script.model_path(plan, name))

    def run(name: str) -> None:
        begun.append(name)
        script.train_model(plan, *looks[name], script.model_path(plan, name))

    script.train(plan, 1, stopped)
    script.cells(plan)
    assert not (tmp_path / "work/cells").exists(), "one model makes no pair"
    script.train(plan, 1, run)
    assert begun == [*looks, "sb3-doorkey-inverted-s2"]
    script.cells(plan)
    done = sorted((tmp_path / "work/cells").iterdir())
    assert len(done) == 2
    before = [path.stat().st_mtime_ns for path in done]
    script.cells(plan)
    assert [path.stat().st_mtime_ns for path in done] == before, "none is measured twice"

    results = tmp_path / "results"
    script.table(replace(plan, gate=1.1), results)
    assert "Left out" in (text := (results / "imported.md").read_text())
    assert "| sb3-doorkey-inverted-s1 | sb3-doorkey-inverted-s2 |" not in text
    script.table(replace(plan, gate=0.0), results)
    text = (results / "imported.md").read_text()
    assert "| sb3-doorkey-inverted-s2 | 32 |" in text
    assert "| sb3-doorkey-inverted-s1 | sb3-doorkey-inverted-s2 | greedy |" in text
    rows = json.loads((results / "imported.json").read_text())
    assert len(rows) == 2 * 2 * 4, "random, native, naive, affine; sampled and greedy"
    assert {row["world"] for row in rows if row["method"] == "native"} == {f"{script.ENVIRONMENT}, inverted"}
    with (results / "imported.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == len(rows)
