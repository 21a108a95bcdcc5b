"""Text for terminals and pages: visible, short, aligned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlstitch.storage.text import aligned, fitted, printable, shorten


@given(st.text(max_size=80), st.integers(1, 90))
def test_shortened_text_is_never_longer(text: str, width: int) -> None:
    short = shorten(text, width)
    assert len(short) <= width
    assert short == text or (len(short) == width and "…" in short)


def test_printable_text_hides_nothing() -> None:
    assert printable("a\x1b[31m\u202eb\n c") == "a\ufffd[31m\ufffdb c"
    assert printable("a\nb" * 50, squeeze=False, limit=3) == "a\ufffdb"


def test_columns_are_aligned() -> None:
    rows = [("name", "n"), ("a", "10"), ("bcdef", "")]
    assert aligned(rows) == ["name   n", "a      10", "bcdef"]
    assert aligned(rows, left=1) == ["name    n", "a      10", "bcdef"]


TABLE = [["agent", "look", "return", "success"], ["doorkey-red-s1--affine", "red", "0.95", "97%"]]


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        ("", ["agent                   look  return  success", "doorkey-red-s1--affine  red     0.95      97%"]),
        ("43", ["agent                 look  return  success", "doorkey-re…1--affine  red     0.95      97%"]),
    ],
)
def test_a_table_shortens_names_by_as_little_as_it_takes(
    columns: str, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert fitted(TABLE, left=2) == lines


def test_a_table_leaves_out_columns_from_the_right_and_rows_from_the_bottom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    header = ["method", *(f"metric {number}" for number in range(9))]
    lines = fitted([header, *([f"m{row}"] + ["0.123"] * 9 for row in range(70))], left=1, where="cells.csv")
    assert lines[0].split() == ["method", "metric", "0", "metric", "1", "metric", "2"]
    assert (len(lines), lines[60].split()[0]) == (62, "m59")
    assert lines[-1] == (
        "left out: columns metric 3, metric 4, metric 5, metric 6, metric 7, metric 8 and 10 rows (see cells.csv)"
    )
    assert max(map(len, lines[:-1])) <= 40


def test_a_table_that_no_file_holds_keeps_all_rows() -> None:
    """Such as the agents that `rlstitch list` shows: those of the user come last by name as often as not."""
    lines = fitted([["agent"], *([f"a{row}"] for row in range(70))], left=1)
    assert [line.split()[0] for line in lines[1:]] == [f"a{row}" for row in range(70)]


@given(st.lists(st.lists(st.text(max_size=90), min_size=5, max_size=5), min_size=1, max_size=5), st.integers(0, 5))
def test_a_table_of_anything_has_a_line_a_row(rows: list[list[str]], left: int) -> None:
    lines = fitted(rows, left=left)
    assert len(lines) - len(rows) == lines[-1].startswith("left out: ")
    assert "".join(lines).isprintable()


def test_a_cell_cannot_forge_a_row() -> None:
    assert fitted([["agent"], ["a\nforged\x1b[31m\u202e"]], left=1) == ["agent", "a\ufffdforged\ufffd[31m\ufffd"]
