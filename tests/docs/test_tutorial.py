"""The tutorial's stored outputs are what its cells print."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "tutorial" / "word_vectors.ipynb"
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
NUMBER = re.compile(r"-?\d+\.\d+")


def stored(cell: dict[str, list[dict[str, list[str]]]]) -> str:
    return "".join(line for output in cell["outputs"] for line in output["text"])


def test_it_is_committed_with_small_outputs() -> None:
    assert all(stored(cell) for cell in CELLS)
    assert NOTEBOOK.stat().st_size < 50_000


@pytest.mark.skipif("RLSTITCH_DATA" not in os.environ, reason="needs the word vectors")
def test_its_cells_print_what_is_stored() -> None:
    pytest.importorskip("ot")
    names: dict[str, object] = {}
    for cell in CELLS:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("".join(cell["source"]), str(NOTEBOOK), "exec"), names)
        found, expected = printed.getvalue(), stored(cell)
        assert NUMBER.sub("#", found) == NUMBER.sub("#", expected)
        # Another processor rounds otherwise; the sense stays.
        numbers = [float(number) for number in NUMBER.findall(found)]
        assert numbers == pytest.approx([float(number) for number in NUMBER.findall(expected)], abs=0.02)
