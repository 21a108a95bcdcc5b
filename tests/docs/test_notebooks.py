"""The notebooks run, in their quick form; what is stored of one that is whole is what its cells print."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from notebooks import code_cells, read, run_cell, stored

DOCS = Path(__file__).resolve().parents[2] / "docs"
NOTEBOOKS = sorted(DOCS.rglob("*.ipynb"))
NUMBER = re.compile(r"-?\d+\.\d+")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_with_small_outputs(path: Path) -> None:
    assert any(stored(cell) for cell in code_cells(read(path)))
    assert path.stat().st_size < 50_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_cells_print_what_is_stored(path: Path, workplace: Path) -> None:
    if path.stem == "word_vectors":
        pytest.importorskip("ot")
        if "RLSTITCH_DATA" not in os.environ:
            pytest.skip("needs the word vectors")
    notebook = read(path)
    quick, names = notebook["metadata"].get("quick", {}), {}
    unused = set(quick)
    for cell in code_cells(notebook):
        source = "".join(cell["source"])
        for text, other in quick.items():
            unused -= {text} if text in source else set()
            source = source.replace(text, other)
        result, expected = run_cell(source, names, path.name), stored(cell)
        assert bool(result) == bool(expected)
        if not quick:
            assert NUMBER.sub("#", result) == NUMBER.sub("#", expected)
            # Another processor rounds otherwise; the sense stays.
            numbers = [float(number) for number in NUMBER.findall(result)]
            assert numbers == pytest.approx([float(number) for number in NUMBER.findall(expected)], abs=0.02)
    assert not unused
