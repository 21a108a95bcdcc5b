"""Imports go down only, no package outgrows the others, and what should cost nothing to import costs nothing."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import tomllib
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src" / "rlstitch").rglob("*.py"))
HEAVY = {"torch", "gymnasium", "stable_baselines3", "minigrid", "numpy", "scipy", "sklearn", "pydantic", "moviepy"}


def loaded_by(code: str) -> set[str]:
    """Top-level packages that are loaded after `code` ran in a process of its own."""
    ask = f"{code}\nimport sys\nprint('|'.join(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split("|"))


@functools.cache
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def count_statements(path: Path) -> int:
    """Statements by the syntax tree, docstrings and other stand-alone texts left out."""
    nodes = [node for node in nodes_of(path) if isinstance(node, ast.stmt)]
    texts = [node for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    return len(nodes) - sum(isinstance(node.value.value, str) for node in texts)


def test_no_package_outgrows_the_others() -> None:
    packages: Counter[str] = Counter()
    folders: Counter[str] = Counter()
    for path in SOURCES:
        place = path.relative_to(ROOT / "src" / "rlstitch")
        packages[place.parts[0]] += (size := count_statements(path))
        folders[str(place.parent)] += size
    total = packages.total()
    assert {name: size for name, size in packages.items() if size > 0.22 * total} == {}
    assert {name: size for name, size in folders.items() if size > 0.08 * total} == {}


def test_imports_go_down_only() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    contracts = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert contracts.returncode == 0, contracts.stdout


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import rlstitch", HEAVY),
        ("import rlstitch; dir(rlstitch); rlstitch.__version__", HEAVY),
        ("import rlstitch.latent", {"gymnasium", "stable_baselines3", "minigrid"}),
        ("from rlstitch.latent import *", {"gymnasium", "stable_baselines3", "minigrid"}),
        ("import rlstitch.cli.main", HEAVY),
        ("import rlstitch.config.training", HEAVY - {"pydantic", "numpy"}),
        ("from rlstitch.cli.main import main; main(['list'])", HEAVY - {"pydantic", "numpy"}),
    ],
)
def test_what_an_import_loads(code: str, unwanted: set[str]) -> None:
    assert not loaded_by(code) & unwanted


def test_the_version_is_that_of_the_package() -> None:
    import rlstitch

    assert rlstitch.__version__ == version("rlstitch")


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    import rlstitch

    with pytest.raises(AttributeError, match="stich"):
        rlstitch.stich  # noqa: B018


def test_every_direct_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    expected = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    names = {re.split(r"[<>=!~\[; ]", line, maxsplit=1)[0].lower() for line in expected}
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pinned = {name.lower(): pin for name, _, pin in (line.partition("==") for line in lines)}
    assert set(pinned) == names
    assert all(re.fullmatch(r"\d[\w.]*", pin) for pin in pinned.values()), "a local version cannot be had elsewhere"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_house_rules(path: Path) -> None:
    assert path.read_text().count("\n") <= 600
    for node in nodes_of(path):
        where = f"line {getattr(node, 'lineno', 0)}"
        assert not isinstance(node, ast.Assert), f"{where}: assert outside of tests"
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else ""
            tidies_up = ast.unparse(node.body[-1]) == "raise"
            assert tidies_up or caught not in {"", "Exception", "BaseException"}, f"{where}: catches too much"
        if isinstance(node, ast.FunctionDef):
            code = node.body[1:] if ast.get_docstring(node) else node.body
            length = (node.end_lineno or 0) - code[0].lineno + 1 if code else 0
            assert length <= 70, f"{where}: {node.name} does not fit a screen"
            parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            assert len(parameters) <= 10, f"{where}: {node.name} takes more than ten arguments, not a value object"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            assert not names & {"pickle", "cloudpickle", "dill", "shelve", "marshal"}, f"{where}: pickle"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert ast.unparse(node.func) not in {"torch.load", "torch.save"}, f"{where}: pickle"


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "docs"])
def test_variables_have_names_that_say_what_they_hold(folder: str) -> None:
    vague = {"found", "told", "wanted", "there"}
    named = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in nodes_of(path)
        if isinstance(node, ast.Name | ast.arg)
        and (name := node.id if isinstance(node, ast.Name) else node.arg) in vague
    ]
    assert named == []


ENVIRONMENT_ID = re.compile(r"(MiniGrid|BabyAI|CarRacing|LunarLander|ALE)[-/]")
FAMILIES = ROOT / "src" / "rlstitch" / "envs" / "families"


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if not path.is_relative_to(FAMILIES)],
    ids=lambda path: str(path.relative_to(ROOT / "src")),
)
def test_environments_are_named_in_their_family_alone(path: Path) -> None:
    nodes = nodes_of(path)
    docstrings = {
        id(node.value) for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    texts = [node for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    named = [node.value for node in texts if id(node) not in docstrings and ENVIRONMENT_ID.search(node.value)]
    assert named == []
