"""Folders of made-up matrices, generated as the benchmark of the report generates its own."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "matrix_report.py"
METHODS = ("naive", "affine", "auto")


def benchmark() -> ModuleType:
    """The benchmark as a module."""
    if BENCHMARK.stem not in sys.modules:
        spec = importlib.util.spec_from_file_location(BENCHMARK.stem, BENCHMARK)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return sys.modules[BENCHMARK.stem]


def made_up_matrix(folder: Path, *, agents: int = 7, methods: tuple[str, ...] = METHODS) -> Path:
    """Write the tables of a matrix that was never measured; it has cells of every state."""
    benchmark().generate(folder, agents, methods)
    return folder


def play_elsewhere(folder: Path, place: str = "red/scrambled") -> Path:
    """Add a second world to a matrix: all its cells with other figures, and the natives there."""
    path = folder / "cells.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    elsewhere = [row | {"place": place, "world": f"{row['world']}, elsewhere"} for row in rows]
    for row in elsewhere:
        if row["recovery"] is not None:
            row["recovery"] /= 2
    done = next(row for row in elsewhere if row["state"] == "done")
    natives = [
        done | {"encoder": name, "controller": name, "method": "native", "map": None, "recovery": 42.0}
        | {"same_seed": False, "counted": True, "r2": None, "kl": None, "action_agreement": None}
        for name in sorted({row["controller"] for row in rows})
    ]  # fmt: skip
    path.write_text(json.dumps([*rows, *elsewhere, *natives]), encoding="utf-8")
    path = folder / "matrix.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    for key in ("summary", "comparisons"):
        about[key] += [entry | {"place": place} for entry in about[key]]
    about["summary"].append(about["summary"][-1] | {"method": "native"})
    path.write_text(json.dumps(about | {"worlds": ["cell", place]}), encoding="utf-8")
    return folder
