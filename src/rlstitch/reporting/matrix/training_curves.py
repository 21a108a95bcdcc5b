"""Training curves of the agents of a matrix, read from their run folders."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from rlstitch.errors import ArtefactError
from rlstitch.reporting.matrix.data import MatrixData
from rlstitch.storage import limits, read_bytes
from rlstitch.storage.workspace import RUNS

MAX_CURVES = 24
"""More would hide each other."""
_DIGITS = "[0-9a-f]" * 8


Curve = list[tuple[float, float]]
"""(steps, success rate) of each evaluation."""


def training_curves(data: MatrixData, runs: Path = RUNS) -> dict[str, Curve]:
    """Return success over steps by agent, for each agent with exactly one run of its name under `runs`.

    Of several runs of one name it is unknown which the agent came from. Agents without a success rate or with a damaged
    file have no curve; there is none at all for more than `MAX_CURVES` agents.
    """
    curves = {}
    for name in data.agents:
        if Path(name).name != name or any(sign in name for sign in "*?["):
            continue
        paths = [path / "curve.csv" for path in runs.glob(f"{name}-{_DIGITS}") if (path / "curve.csv").is_file()]
        if len(paths) == 1 and (curve := _read(paths[0])):
            curves[name] = curve
    return curves if len(curves) <= MAX_CURVES else {}


def _read(path: Path) -> Curve:
    """Return the points of a file; none if it is damaged or holds fewer than two."""
    try:
        text = read_bytes(path, max_bytes=limits.CURVE_BYTES).decode()
        points = [(float(row["steps"]), float(row["success"])) for row in csv.DictReader(io.StringIO(text))]
    except (ArtefactError, KeyError, TypeError, ValueError):
        return []
    return points if len(points) > 1 and all(0.0 <= success <= 1.0 for _, success in points) else []
