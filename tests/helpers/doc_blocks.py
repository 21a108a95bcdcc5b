"""Fenced blocks of the documentation, and what is checked of each kind."""

from __future__ import annotations

import fnmatch
import re
import shlex
import textwrap
import tomllib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from rlstitch.cli.main import parse
from rlstitch.config.suite import load_suite
from rlstitch.config.sweep import load_sweep
from rlstitch.config.training import load_config, new_config

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"^(?:[ ]*<!-- not run: (?P<reason>[^\n]+?) -->\n\s*)?(?P<indent>[ ]*)```(?P<kind>\w*)\n(?P<text>.*?)^[ ]*```$",
    re.DOTALL | re.MULTILINE,
)
SCRIPTS = {"python", "sh", "bash", ".ci/run"}
"""Programs whose first argument is a file of the repository."""
OTHERS = {"git", "cd", ".", "source", "python3", "tensorboard", "jupyter", "hf", "mkdir"}
"""Programs whose arguments are not looked at."""


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, its first line in the page, and why it is not run ("": it is)."""

    page: Path
    kind: str
    text: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def padded(self) -> str:
        """The text moved down to its own lines, so that a traceback points into the page."""
        return "\n" * (self.line - 1) + self.text


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, m["kind"], textwrap.dedent(m["text"]), text[: m.start("text")].count("\n") + 1, m["reason"] or "")
        for m in BLOCK.finditer(text)
    ]


class Page:
    """Follows the commands of one page: the files that it shows and the agents that it makes are known afterwards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agents = {agent.parent.name for agent in (ROOT / "agents").glob("*/agent.json")}

    @cached_property
    def extras(self) -> set[str]:
        return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])

    def check(self, block: Block) -> None:
        """Raise where a block of another language than Python is wrong."""
        if block.kind in ("", "bash", "sh"):
            for line in block.text.replace("\\\n", " ").splitlines():
                for command in re.split(r"&&|\|", re.sub(r"> \S+", "", line)):
                    self.command(shlex.split(command, comments=True))
        elif block.kind == "yaml":
            self.config(block.text)
        elif block.kind == "toml":
            tomllib.loads(block.text)
        else:
            assert block.kind == "text", f"a block of {block.kind!r}: expected python, yaml, toml, text or a shell's"

    def config(self, text: str) -> None:
        """A training, a sweep or a suite; `# NAME.yaml` in its first line names its file for later commands."""
        named = re.match(r"# (\S+\.yaml)\b", text)
        path = self.folder / (named[1] if named else "config.yaml")
        path.write_text(text, encoding="utf-8")
        values = yaml.safe_load(text)
        readers = {"axes": load_sweep, "include": load_sweep, "groups": load_suite}
        next((read for key, read in readers.items() if key in values), load_config)(path)

    def command(self, words: list[str]) -> None:
        if not words or words[0] in OTHERS:
            return
        program, *arguments = words
        if program == "rlstitch":
            if not {"--help", "--tyro-print-completion"} & set(arguments):
                self.rlstitch(arguments)
        elif program == "make":
            assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), arguments
        elif program in ("pip", "pipx", "uvx", "uv"):
            named = re.findall(r"\[([\w,-]+)\]", " ".join(arguments))
            assert {extra for group in named for extra in group.split(",")} <= self.extras, arguments
        else:
            assert program in SCRIPTS, f"unknown program {program!r}"
            assert (ROOT / (arguments[0] if arguments else program)).exists(), words

    def rlstitch(self, arguments: list[str]) -> None:
        """Parse as the program does; presets, files and agents must exist or be made above on the page."""
        command = parse(arguments)
        kind = type(command).__name__
        if kind == "Train":
            config = self._training(command)
            self._known(config.start.encoder, config.start.controller)
            self.agents.add(config.name)
        elif kind == "Sweep":
            load_sweep(ROOT / command.config)
        elif kind == "Import":
            self.agents.add(command.name)
        elif kind == "Pull":
            self.agents.add(command.name or command.repo.rpartition("/")[2])
        elif kind == "Show" and not command.agent.startswith("minigrid"):
            self._known(command.agent)
        elif kind not in ("Show", "Latent", "Report", "List", "Info", "Demo"):
            given = [getattr(command, name, None) for name in ("agent", "encoder", "policy", "controller")]
            self._known(*given, *getattr(command, "agents", ()))
            suffix = {"Relativize": "relativized", "Graft": f"grafted-{getattr(command, 'sensor', '')}"}.get(kind)
            self.agents.add(getattr(command, "name", None) or f"{given[0] or given[3]}-{suffix}")

    def _training(self, command: Any) -> Any:
        if command.config is None:
            return new_config(command.overrides())
        shown = self.folder / command.config
        return load_config(shown if shown.is_file() else command.config, command.overrides())

    def _known(self, *names: str | None) -> None:
        unknown = [name for name in names if name and not fnmatch.filter(self.agents, name)]
        assert not unknown, f"no agent of the repository or of a command above: {unknown}"


def shortened(block: Block) -> Block:
    """A Python block that plays fewer episodes."""
    return replace(block, text=re.sub(r"episodes=\d+", "episodes=2", block.text))
