"""A sweep: axes in one YAML file, expanded to the configs of its trainings."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from rlstitch.config.files import find_config, find_named, parse_yaml_file, preset_stem
from rlstitch.config.keys import flatten, full_key, full_keys
from rlstitch.config.training import (
    Integer,
    NonNegative,
    TrainConfig,
    build_config,
    default_name,
    environment_stem,
)
from rlstitch.errors import InvalidInputError, RlstitchError
from rlstitch.storage import data_roots, file_name, validated

MAX_RUNS = 100_000
_FOLDERS = ("grids", "sweeps")
PRESET = "preset"
# Part of every default name; the other axes are added to it.
_IN_NAME = {PRESET, "world.look", "world.keys", "world.task", "seed", "representation"}
_SHOWN_PROBLEMS = 8


def _listed(value: object) -> object:
    """Take `seed: 1` for `seed: [1]` wherever values of an axis stand."""
    if isinstance(value, Mapping):
        return {key: item if isinstance(item, (list, tuple)) else [item] for key, item in value.items()}
    return value


Axes = Annotated[dict[str, Annotated[list[Any], Field(min_length=1, max_length=10_000)]], BeforeValidator(_listed)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Override(_Section):
    """Settings of the runs whose axes have one of the values of `when`."""

    when: Axes
    settings: dict[str, Any] = Field(alias="set")


class Resources(_Section):
    """Resources of one run under Ray; `gpus` may be a fraction."""

    cpus: Annotated[NonNegative, Field(le=1024)] = 1
    gpus: Annotated[NonNegative, Field(le=64)] = 0
    shared: bool = False
    """Whether every node has access to the working folder; else Ray transfers the files."""


class SweepConfig(_Section):
    """The content of a sweep's file; keys of axes and settings are `preset` and those of a training's config."""

    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Template of the agents' names, such as `{preset}-{look}-s{seed}`; None: the default name and every other axis."""
    axes: Axes = {}
    include: tuple[Axes, ...] = ()
    """Further products of axes."""
    exclude: tuple[Axes, ...] = ()
    settings: dict[str, Any] = Field(default={}, alias="set")
    """For all runs; axes and overrides take precedence."""
    overrides: tuple[Override, ...] = ()
    resources: Resources = Resources()
    workers: Annotated[Integer, Field(ge=1, le=1024)] | None = None

    @model_validator(mode="after")
    def _known_axes(self) -> Self:
        if not self.axes and not self.include:
            raise ValueError("axes: expected at least one axis, or a product under include")
        known = {key for block in self.blocks for key in block}
        conditions = [("exclude", entry) for entry in self.exclude] + [("when", entry.when) for entry in self.overrides]
        problems = [
            f"{where}: {key!r} is no axis (they are {', '.join(sorted(known))})"
            for where, entry in conditions
            for key in entry
            if key not in known
        ]
        count = sum(math.prod(len(values) for values in block.values()) for block in self.blocks)
        if count > MAX_RUNS:
            problems.append(f"axes: expected at most {MAX_RUNS:,} runs, found {count:,}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def blocks(self) -> list[dict[str, list[Any]]]:
        """The products of axes."""
        return ([self.axes] if self.axes else []) + list(self.include)


@dataclass(frozen=True)
class Run:
    """One training of a sweep."""

    axes: Mapping[str, Any]
    """Its values of the axes."""
    config: TrainConfig

    @property
    def key(self) -> str:
        """Name and hash, as its folder is called."""
        return f"{self.config.name}-{self.config.hash8}"


@dataclass(frozen=True)
class Sweep:
    """A sweep, expanded."""

    name: str
    """The stem of its file."""
    runs: tuple[Run, ...]
    config: SweepConfig


def load_sweep(source: str | Path) -> Sweep:
    """Read a sweep and expand it.

    Args:
        source: path of a YAML file, or the name of a sweep in `configs/sweeps` or `configs/grids`.

    Raises:
        UnknownNameError: no such file and no such sweep.
        InvalidInputError: the file or one of its runs is wrong, or two different runs have one name; the message has
            the first problems.
    """
    path = _find_sweep(source)
    config = validated(SweepConfig, parse_yaml_file(path), str(path))
    runs: dict[str, Run] = {}
    problems: dict[str, str] = {}
    for axes in _points(config):
        try:
            run = Run(axes, _resolve(config, axes, path))
        except RlstitchError as error:
            problems.setdefault(str(error), _place(axes))
            continue
        other = runs.setdefault(run.config.name, run)
        if other.config.hash8 != run.config.hash8:
            reason = f"two runs are called {run.config.name!r}; set `name: ...` so that they differ"
            problems.setdefault(reason, f"{_place(other.axes)} and {_place(axes)}")
    if problems:
        shown = [f"{place}: {reason}" for reason, place in itertools.islice(problems.items(), _SHOWN_PROBLEMS)]
        more = f"; and {len(problems) - len(shown)} more" if len(problems) > len(shown) else ""
        raise InvalidInputError(f"{path}: {'; '.join(shown)}{more}")
    return Sweep(path.stem, tuple(runs.values()), config)


def _find_sweep(source: str | Path) -> Path:
    folders = [root / name for root in reversed(data_roots("configs")) for name in _FOLDERS]
    sweeps = {file.stem: file for folder in folders for file in sorted(folder.glob("*.yaml"))}
    return find_named("sweep", source, sweeps, [*_FOLDERS, *(f"configs/{name}" for name in _FOLDERS)])


def _points(config: SweepConfig) -> Iterable[dict[str, Any]]:
    """Every combination of values, the first axis outermost, without those that are excluded."""
    for block in config.blocks:
        for values in itertools.product(*block.values()):
            point = dict(zip(block, values, strict=True))
            if not any(_matches(entry, point) for entry in config.exclude):
                yield point


def _matches(condition: Mapping[str, Sequence[Any]], point: Mapping[str, Any]) -> bool:
    return all(key in point and point[key] in values for key, values in condition.items())


def _resolve(config: SweepConfig, axes: Mapping[str, Any], path: Path) -> TrainConfig:
    """Return a run's config: preset, settings, axes and the overrides that match, each stronger than those before."""
    problems: list[str] = []
    given = flatten(config.settings, problems) | full_keys(axes.items(), problems)
    for override in config.overrides:
        if _matches(override.when, axes):
            given |= flatten(override.settings, problems)
    if problems:
        raise InvalidInputError("; ".join(problems))
    preset = axes.get(PRESET, given.get(PRESET))
    given.pop(PRESET, None)
    base: dict[str, Any] = {}
    if preset is not None:
        path, base = _preset(str(preset))
    if "name" not in given:
        given["name"] = _name(config.name, axes, {**flatten(base, []), **given}, path.stem if preset else None)
    return build_config(base, given, path)


@lru_cache(maxsize=256)
def _preset(source: str) -> tuple[Path, dict[str, Any]]:
    path = find_config(source)
    return path, parse_yaml_file(path)


def _name(template: str | None, axes: Mapping[str, Any], flat: Mapping[str, Any], preset: str | None) -> str:
    stem = preset_stem(environment_stem(flat) if preset is None else preset)
    if template is None:
        named = _IN_NAME if preset is not None else _IN_NAME | {"world.environment"}
        others = {key: value for key, value in axes.items() if full_key(key) not in named}
        extra = [f"{key.rpartition('.')[2]}-{_shown(value)}" for key, value in others.items()]
        return default_name("-".join([stem, *extra]), flat)
    values = {**flat, **full_keys(axes.items(), []), PRESET: stem}

    def value_of(match: re.Match[str]) -> str:
        key = match.group(1)
        if full_key(key) not in values:
            raise InvalidInputError(f"name: {{{key}}} is no axis and no setting of this run")
        return _shown(values[full_key(key)])

    return file_name(re.sub(r"\{([\w.]+)\}", value_of, template))


def _shown(value: object) -> str:
    return "-".join(str(item) for item in value) if isinstance(value, list) else str(value)


def _place(axes: Mapping[str, Any]) -> str:
    return "(" + ", ".join(f"{key:.60} {value!s:.60}" for key, value in axes.items()) + ")"
