"""The examples of the documentation run, page by page, and the pages say what they should."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import rlstitch.latent as latent

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted((DOCS / "latent").glob("*.md"))
AREAS = [page for page in PAGES if page.stem != "index"]
CODE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path) -> list[str]:
    """The Python blocks of a page, each moved down to its own lines so that a traceback points into the page."""
    text = page.read_text(encoding="utf-8")
    return ["\n" * (text[: found.start(1)].count("\n")) + found[1] for found in CODE.finditer(text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_run(page: Path) -> None:
    examples = blocks(page)
    assert examples, "a page needs an example"
    if page.stem in {"bootstrap", "no_pairs"}:
        pytest.importorskip("ot")
    names: dict[str, object] = {"__name__": "__example__"}
    for example in examples:
        exec(compile(example, str(page), "exec"), names)


@pytest.mark.parametrize("page", AREAS, ids=lambda page: page.stem)
def test_a_page_has_its_parts(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    parts = ["**Invariances", "**When to use", "**Cost.**", "**Source.**", "\n```\n"]
    assert [part for part in parts if part not in text] == []


def test_every_public_name_is_in_the_reference() -> None:
    reference = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    listed = re.findall(r"^::: rlstitch\.latent[\w.]*\.(\w+)$", reference, re.MULTILINE)
    assert sorted(listed) == latent.__all__
