"""How the agents of a matrix were trained: the curves that their runs left, where these are still there."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from rlstitch.errors import ArtefactError
from rlstitch.reporting.matrix.data import MatrixData
from rlstitch.reporting.matrix.svg import Curve
from rlstitch.storage import read_bytes
from rlstitch.storage.workspace import RUNS

MAX_CURVES = 24
"""More lie on each other."""
_DIGITS = "[0-9a-f]" * 8
_MAX_BYTES = 16 * 2**20


def training_curves(data: MatrixData, runs: Path = RUNS) -> list[Curve]:
    """Return success over steps of each agent that has one run under `runs`, and only one, of its name.

    Of several runs of one name it cannot be told which one the agent came from. Agents without a success rate have no
    curve, nor has one whose file is damaged; nobody has where more than 24 agents do.
    """
    found = []
    for name in sorted({*data.encoders, *data.controllers}):
        if Path(name).name != name or any(sign in name for sign in "*?["):
            continue
        paths = [path / "curve.csv" for path in runs.glob(f"{name}-{_DIGITS}") if (path / "curve.csv").is_file()]
        curve = _read(name, paths[0]) if len(paths) == 1 else None
        found += [] if curve is None else [curve]
    return found if len(found) <= MAX_CURVES else []


def _read(name: str, path: Path) -> Curve | None:
    try:
        text = read_bytes(path, max_bytes=_MAX_BYTES).decode()
        points = [(float(row["steps"]), float(row["success"])) for row in csv.DictReader(io.StringIO(text))]
    except (ArtefactError, KeyError, TypeError, ValueError):
        return None
    if len(points) < 2 or not all(0.0 <= success <= 1.0 for _, success in points):
        return None
    steps, successes = zip(*points, strict=True)
    return Curve(name, steps, successes)
