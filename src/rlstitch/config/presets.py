"""Presets: configs that are found by name, in the working folder or in the package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from rlstitch.envs.registry import all_families, installed_families
from rlstitch.errors import UnknownNameError
from rlstitch.storage.workspace import data_roots


def list_presets() -> dict[str, Path]:
    """Return names and paths of the presets: of the working folder, of the package, and of installed families.

    One that comes first hides others of the same name.
    """
    presets: dict[str, Path] = {}
    for root in [
        *data_roots("configs"),
        *(family.presets for family in installed_families().values() if family.presets),
    ]:
        for path in sorted(root.glob("*.yaml")):
            presets.setdefault(path.stem, path)
    return dict(sorted(presets.items()))


def find_config(source: str | Path) -> Path:
    """Return the path of a config file: `source` itself where it is a file, else the preset of that name.

    `configs/<name>.yaml` works from any folder, because a user of the wheel has no `configs/` of their own.

    Raises:
        UnknownNameError: neither a file nor a preset.
    """
    return find_named("config file or preset", source, list_presets(), ("configs",))


def find_named(kind: str, source: str | Path, files: Mapping[str, Path], folders: Iterable[str]) -> Path:
    """Return a file: `source` itself where it is one, else that of its name, which may stand after one of `folders`.

    Raises:
        UnknownNameError: neither a file nor a known name; the nearest names are offered.
    """
    path = Path(source)
    if path.is_file():
        return path
    name = path.stem if path.suffix in {".yaml", ".yml"} else path.name
    if name in files and str(path.parent) in {".", *folders}:
        return files[name]
    raise UnknownNameError(kind, str(source) if path.suffix and path.parent.name else name, files)


def preset_stem(name: str) -> str:
    """Return what stands for a preset in a default name: without the prefix that a family's presets share."""
    for family in all_families():
        name = name.removeprefix(family.preset_prefix)
    return name
