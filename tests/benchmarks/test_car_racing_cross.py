"""The table of the CarRacing cross, from figures that are on the disk."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "car_racing_cross.py"
GREEN, RED = "carracing-green-s1", "carracing-red-s2"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("car_racing_cross", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def test_what_is_on_the_disk_is_not_played_again(script: ModuleType, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    levels = {"random": 0.0, GREEN: 800.0, RED: 800.0}
    cells = {f"{GREEN}--{RED}--affine-64": 400.0, f"{RED}--{GREEN}--affine-64": 800.0}
    for name, level in {**levels, **cells}.items():
        figures = {"returns": (level + rng.normal(size=30)).tolist(), "agreement": 0.5, "kl": 0.1}
        (tmp_path / f"{name}.json").write_text(json.dumps(figures))
    measured = script.Cells({}, pairs=64, episodes=20, out=tmp_path)
    rows = [measured.row(*couple, "affine") for couple in ((GREEN, RED), (RED, GREEN))]
    assert [row["recovery"] for row in rows] == pytest.approx([50, 100], abs=0.5)
    assert all(row["recovery_low"] < row["recovery"] < row["recovery_high"] for row in rows)
    assert script.table(rows).splitlines()[2].startswith("| green-s1 | red-s2 | affine | 400 [")
    found = script.mean_line(rows, "affine")
    half = 12.706 * 25  # Student's t of one degree of freedom; the standard error of 50 and 100
    low, high = json.loads(found.split(" cells ")[1].split(" ", 1)[1])
    assert found.startswith("affine: mean of 2 cells 7")
    assert [low, high] == pytest.approx([75 - half, 75 + half], abs=8)


def test_more_episodes_than_there_are_need_agents(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "random.json").write_text(json.dumps({"returns": [1.0]}))
    with pytest.raises(KeyError, match=GREEN):
        script.Cells({}, pairs=64, episodes=1, out=tmp_path).baselines(GREEN)
