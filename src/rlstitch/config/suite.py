"""A suite of cells and methods for `rlstitch benchmark`, in one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from rlstitch.config.files import find_named, parse_yaml_file
from rlstitch.config.training import Integer
from rlstitch.storage import data_roots, validated

_FOLDER = "benchmarks"
Name = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[Integer, Field(ge=1)]


class Suite(BaseModel):
    """The content of a suite's file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    groups: Annotated[dict[Name, Annotated[tuple[Name, ...], Field(min_length=2)]], Field(min_length=1)]
    """Names of agents; those of one group are crossed, where their seeds differ."""
    methods: Annotated[tuple[Name, ...], Field(min_length=1)]
    controls: bool = True
    """Whether the controls of each method are measured, too."""
    episodes: Count = 100
    pairs: Count = 1024
    seed: Annotated[Integer, Field(ge=0)] = 0
    greedy: bool = False


def load_suite(source: str | Path) -> Suite:
    """Read a suite.

    Args:
        source: path of a YAML file, or the name of a suite in `configs/benchmarks`.

    Raises:
        UnknownNameError: no such file and no such suite.
        InvalidInputError: the file is wrong.
    """
    roots = [root / _FOLDER for root in reversed(data_roots("configs"))]
    suites = {file.stem: file for root in roots for file in sorted(root.glob("*.yaml"))}
    path = find_named("suite", source, suites, (_FOLDER, f"configs/{_FOLDER}"))
    return validated(Suite, parse_yaml_file(path), str(path))
