"""Run the notebooks of the documentation and store what their cells print.

    python benchmarks/notebooks.py docs/guides/*.ipynb

Each runs in an empty folder. The tests run them in a quick form: `quick` in a notebook's metadata says which texts of
its cells are replaced there.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from rlstitch.cli.main import main as rlstitch

ROOT = Path(__file__).resolve().parents[1]


def read(path: Path) -> dict[str, Any]:
    """A notebook of format 4."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells that are run."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def stored(cell: dict[str, Any]) -> str:
    """What a cell printed when the notebook was stored."""
    return "".join(line for output in cell["outputs"] for line in output["text"])


def run_cell(source: str, names: dict[str, Any], where: str) -> str:
    """Run one cell, Python or lines of `!rlstitch ...`; returns what it prints on standard output.

    Raises:
        RuntimeError: a command ends with another status than 0.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if not source.startswith("!rlstitch"):
            exec(compile(source, where, "exec"), names)
            return printed.getvalue()
        for line in source.splitlines():
            if status := rlstitch(shlex.split(line.removeprefix("!rlstitch"))):
                raise RuntimeError(f"{where}: {line} ended with {status}")
    return printed.getvalue()


def execute(path: Path) -> None:
    """Run a notebook's cells and store their outputs in it."""
    notebook, names = read(path), {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for number, cell in enumerate(code_cells(notebook), start=1):
            text = run_cell("".join(cell["source"]), names, path.name).replace(f"{ROOT}/", "")
            output = {"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)}
            cell.update(execution_count=number, outputs=[output] if text else [])
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ["COLUMNS"] = "120"
    for argument in sys.argv[1:]:
        execute(Path(argument).resolve())
