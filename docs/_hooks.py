"""What mkdocs does besides its own: notebooks and commands become pages, and every page of docs/results is listed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from pathlib import Path
from typing import Any
from unittest import mock

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from rlstitch.cli.main import COMMANDS, main

LATENT = ("list", "run", "encode", "compare", "translate")


def on_config(config: Any) -> Any:
    """Fill the empty list of results."""
    folder = Path(config["docs_dir"]) / "results"
    for entry in config["nav"]:
        if "Results" in entry:
            pages = sorted(page.name for page in folder.glob("*.md"))
            entry["Results"] = [f"results/{page}" for page in sorted(pages, key="README.md".__ne__)]
    return config


def on_files(files: Files, config: Any) -> Files:
    """A page of every command; beside each notebook, a page of its cells and their stored outputs, not executed."""
    files.append(File.generated(config, "commands.md", content=commands_page()))
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        text = Path(str(notebook.abs_src_path)).read_text(encoding="utf-8")
        page = notebook.src_uri.removesuffix("ipynb") + "md"
        files.append(File.generated(config, page, content=to_markdown(json.loads(text), page)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to source files, which work where the repository is read, become plain file names on the site."""
    return re.sub(r"\[(`[^`]+`)\]\(\.\./(?:src|tests)/[^)]*\)", r"\1", markdown)


def commands_page() -> str:
    """The help of every command, as it is printed on a terminal of 100 columns."""
    parts = [
        "# Commands",
        "What `rlstitch COMMAND --help` prints; common to all commands: [command line](command-line.md).",
    ]
    for command in [*(name for name in COMMANDS if name != "latent"), *(f"latent {name}" for name in LATENT)]:
        with (
            contextlib.redirect_stdout(io.StringIO()) as text,
            mock.patch.dict(os.environ, COLUMNS="100", NO_COLOR="1"),
        ):
            main([*command.split(), "--help"])
        parts += [f"## rlstitch {command}", _fence(text.getvalue(), "text")]
    return "\n\n".join(parts) + "\n"


def to_markdown(notebook: dict[str, Any], name: str) -> str:
    """A notebook of format 4 as Markdown: code and text outputs in fences."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if source.startswith("!"):  # lines of a shell
            source = _fence(re.sub("^!", "", source, flags=re.MULTILINE), "")
        elif cell["cell_type"] == "code":
            source = _fence(source, "python")
        parts.append(source)
        for output in cell.get("outputs", []):
            if output["output_type"] not in ("stream", "execute_result"):
                raise PluginError(f"{name}: outputs must be text, found {output['output_type']!r}")
            parts.append(_fence("".join(output.get("text") or output["data"]["text/plain"]), "text"))
    return "\n\n".join(parts) + "\n"


def _fence(text: str, language: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"
