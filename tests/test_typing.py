"""Public names have real types for a user's type checker and editor, although they are imported lazily."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rlstitch
import rlstitch.latent

SOURCES = Path(__file__).resolve().parents[1] / "src"
PUBLIC = [
    *((rlstitch, name) for name in rlstitch.__all__),
    *((rlstitch.latent, name) for name in rlstitch.latent.__all__),
]
MISUSES = (
    "rlstitch.latent.fit_affine()",
    "rlstitch.train()",
    "rlstitch.stitch('red')",
    "rlstitch.stitch('red', 'green', metod='affine')",
    "rlstitch.evaluate('red', episodes='ten')",
    "answer: int = rlstitch.load_agent('red')",
    "from rlstitch.latent import fit_afine",
    "rlstitch.stich",
)


def script(folder: Path) -> Path:
    """Write a user's script that reveals the type of every public name, then makes mistakes."""
    lines = ["import rlstitch", "from rlstitch.latent import *  # as in a notebook"]
    lines += [f"reveal_type({module.__name__}.{name})" for module, name in PUBLIC]
    path = folder / "user.py"
    path.write_text("\n".join([*lines, *MISUSES, ""]))
    return path


def check(path: Path, command: list[str], cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command, str(path)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def test_mypy_knows_every_public_name(tmp_path: Path) -> None:
    path = script(tmp_path)
    # Strict settings, folder and paths are those of `make lint`, so that its cache serves: half a minute less.
    output = check(path, ["mypy", "--no-error-summary"], SOURCES.parent, MYPYPATH=SOURCES.name)
    types = re.findall(r'user\.py:(\d+): note: Revealed type is "(.*)"', output)
    assert [int(line) for line, _ in types] == list(range(3, len(PUBLIC) + 3)), output
    unknown = [name for (_, name), (_, text) in zip(PUBLIC, types, strict=True) if text == "Any"]
    assert unknown == []
    mistakes = {int(line) for line in re.findall(r"user\.py:(\d+): error", output)}
    assert mistakes == set(range(len(PUBLIC) + 3, len(PUBLIC) + 3 + len(MISUSES))), output


def test_pyright_knows_every_public_name(tmp_path: Path) -> None:
    path = script(tmp_path)
    settings = {"extraPaths": [str(SOURCES)], "typeCheckingMode": "basic"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    report = json.loads(check(path, ["basedpyright", "--outputjson"], tmp_path))["generalDiagnostics"]
    types = [entry["message"] for entry in report if entry["severity"] == "information"]
    assert len(types) == len(PUBLIC)
    assert not [text for text in types if re.search(r'is "(Any|Unknown)"', text)]
    mistakes = {entry["range"]["start"]["line"] for entry in report if entry["severity"] == "error"}
    assert mistakes == set(range(len(PUBLIC) + 2, len(PUBLIC) + 2 + len(MISUSES))), report


@pytest.mark.parametrize(
    ("name", "positional", "others"),
    [
        ("evaluate", "agent", "env look task backend episodes seed deterministic video variation progress"),
        ("relativize", "agent", "env anchors drivers similarity episodes seed name save force progress"),
        ("encode", "modality model source out", "keys batch_size device pooling revision force on_progress"),
        (
            "stitch",
            "encoder policy",
            "env method pairs episodes seed refine controls deterministic video name save force progress",
        ),
        (
            "graft",
            "controller",
            "env sensor look world rounds states steps arch episodes seed deterministic name save resume force "
            "progress",
        ),
        (
            "import_agent",
            "model",
            "name world file revision activation extractor extractor_arguments split normalization temperature "
            "episodes seed force agents progress",
        ),
        (
            "matrix",
            "agents",
            "env methods episodes pairs seed deterministic workers same_seed controls without derived worlds video out "
            "ray resources on_progress",
        ),
    ],
)
def test_functions_of_a_value_object_keep_their_arguments(name: str, positional: str, others: str) -> None:
    parameters = inspect.signature(getattr(rlstitch, name)).parameters
    by_position = [key for key, one in parameters.items() if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert by_position == positional.split()
    assert parameters.keys() >= {*by_position, *others.split()}
    with pytest.raises(TypeError, match="unknown"):
        getattr(rlstitch, name)(unknown=1)


@pytest.mark.parametrize("module", [rlstitch, rlstitch.latent], ids=lambda module: module.__name__)
def test_dir_lists_public_names_only(module: object) -> None:
    assert dir(module) == module.__all__  # type: ignore[attr-defined]
    assert all(hasattr(module, name) for name in dir(module))
