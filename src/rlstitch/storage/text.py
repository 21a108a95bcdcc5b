"""Text that is safe to print, to embed in a page, and to write in an error message."""

from __future__ import annotations

__all__ = ["printable", "shorten"]


def printable(text: object, *, squeeze: bool = True, limit: int | None = None) -> str:
    """Return text in which every character is visible: no control characters, no change of writing direction.

    Args:
        text: any object; its `str` is used.
        squeeze: replace every run of white space, line breaks included, by one space.
        limit: characters of `text` that are used, at most.
    """
    line = str(text)[:limit]
    line = " ".join(line.split()) if squeeze else line
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def shorten(text: str, width: int) -> str:
    """Cut the middle out of a text that is longer than `width` characters; names differ at their ends."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"
