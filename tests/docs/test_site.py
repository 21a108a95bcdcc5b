"""The site builds without a warning, and its pages load nothing from elsewhere."""

from __future__ import annotations

import html
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rlstitch.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
# What a browser fetches when it opens a page; links that a reader may follow are no such thing.
FETCHED = re.compile(
    r'<(?:script|img|iframe|source)[^>]*\ssrc="?(https?:[^\s">]*)|<link[^>]*\shref="?(https?:[^\s">]*)'
)


def test_the_site_builds_and_is_self_contained(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings_handlers.python")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    warnings = [line for line in built.stderr.splitlines() if "WARNING" in line or "ERROR" in line]
    # Tables of results are written by long runs and may not be there yet.
    assert [line for line in warnings if "Doc file 'results/" not in line] == []
    pages = {page.relative_to(tmp_path / "site").as_posix(): page for page in (tmp_path / "site").rglob("*.html")}
    assert {
        "index.html",
        "latent/translation.html",
        "api/measures.html",
        "tutorial/word_vectors.html",
        "guides/get_started.html",
    } <= pages.keys()
    texts = {name: page.read_text(encoding="utf-8") for name, page in pages.items()}
    assert {name: result for name, text in texts.items() if (result := FETCHED.findall(text))} == {}
    # Every command and the functions behind them have an entry.
    assert [
        name for name in COMMANDS if name != "latent" and f"usage: rlstitch {name} " not in texts["commands.html"]
    ] == []
    assert "usage: rlstitch latent encode" in texts["commands.html"]
    assert all(
        f'id="rlstitch.api.{name}.{name}"' in texts["api/toolkit.html"] for name in ("train", "stitch", "diagnose")
    )
    # The arguments of functions that take a value object are shown, with their defaults.
    shown = html.unescape(re.sub(r"<[^>]*>|\s", "", texts["api/toolkit.html"]))
    assert re.search(r"stitch\(encoder:AgentLike,.*?,episodes:int=100.*?\)->StitchOutcome", shown)
    # Examples of docstrings are shown as code, not as quotations.
    assert "procrustes_distance(square" in re.sub("<[^>]*>", "", texts["api/measures.html"])
    assert all("<blockquote>" not in text for name, text in texts.items() if name.startswith("api/"))


def test_links_of_the_architecture_page_lead_to_files_and_are_plain_text_on_the_site() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((\.\./(?:src|tests)/[^)]*)\)", page)
    assert len(links) >= 9
    assert [link for link in links if not (ROOT / "docs" / link).resolve().is_file()] == []
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(hooks := importlib.util.module_from_spec(spec))
    assert hooks.on_page_markdown("see [`a.py`](../src/rlstitch/a.py).") == "see `a.py`."
    assert "](../src" not in hooks.on_page_markdown(page)
