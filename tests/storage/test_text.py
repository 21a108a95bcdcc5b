"""Text for terminals and pages: visible, short, aligned."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rlstitch.storage.text import aligned, printable, shorten


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
