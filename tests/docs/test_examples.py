"""The examples of the documentation run, page by page, and the pages say what they should."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
from doc_blocks import PAGES as ALL
from doc_blocks import ROOT, Block, Page, blocks, shortened

import rlstitch.latent as latent
from rlstitch.cli.main import COMMANDS

DOCS = ROOT / "docs"
PAGES = sorted((DOCS / "latent").glob("*.md"))
AREAS = [page for page in PAGES if page.stem != "index"]
WITH_PYTHON = [page for page in ALL if any(block.kind == "python" and not block.reason for block in blocks(page))]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).with_suffix("").as_posix()


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_examples_run(page: Path, workplace: Path) -> None:
    if page.stem in {"bootstrap", "no_pairs"}:
        pytest.importorskip("ot")
    names: dict[str, object] = {"__name__": "__example__"}
    for block in blocks(page):
        if block.kind == "python" and not block.reason:
            exec(compile(shortened(block).padded, str(page), "exec"), names)


def test_every_page_of_the_latent_core_has_an_example() -> None:
    assert set(PAGES) <= set(WITH_PYTHON)


def check_names(block: Block) -> None:
    """Its imports exist, and the functions of rlstitch that it calls have the keywords that it gives."""
    tree = ast.parse(block.text)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names: dict[str, object] = {}
    exec(compile(ast.Module(imports, []), str(block), "exec"), names)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        root = ast.unparse(call.func).partition(".")[0]
        if root in names:
            function = eval(ast.unparse(call.func), names)
            given = {keyword.arg for keyword in call.keywords} - {None}
            assert not given or given <= inspect.signature(function).parameters.keys(), (str(block), given)


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_blocks_that_are_not_python_or_not_run_are_right(page: Path, workplace: Path) -> None:
    following = Page(workplace)
    for block in blocks(page):
        try:
            if block.kind == "python":
                if block.reason:
                    check_names(block)
            elif not block.reason:
                following.check(block)
        except (Exception, SystemExit) as error:
            error.add_note(str(block))
            raise


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_commands_in_running_text_exist(page: Path) -> None:
    named = re.findall(r"`rlstitch ([a-z]+)", page.read_text(encoding="utf-8"))
    assert [name for name in named if name not in {*COMMANDS, "grid", "vs"}] == []


@pytest.mark.parametrize("page", AREAS, ids=lambda page: page.stem)
def test_a_page_has_its_parts(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    parts = ["**Invariances", "**When to use", "**Cost.**", "**Source.**", "\n```text\n"]
    assert [part for part in parts if part not in text] == []


def test_every_public_name_is_in_the_reference() -> None:
    reference = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    listed = re.findall(r"^::: rlstitch\.latent[\w.]*\.(\w+)$", reference, re.MULTILINE)
    assert sorted(listed) == latent.__all__
