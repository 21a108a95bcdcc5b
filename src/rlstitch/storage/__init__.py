"""Reading and writing: atomic, checked, no pickle. Names are loaded where used, so that JSON needs no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlstitch.storage.files import read_bytes, sha256_of, write_bytes
    from rlstitch.storage.folders import staged_folder
    from rlstitch.storage.json_files import canonical_json, read_json, write_json, write_table
    from rlstitch.storage.spaces import (
        load_space,
        load_translation,
        save_space,
        save_translation,
        space_from_dataset,
        space_to_dataset,
    )
    from rlstitch.storage.tensors import pack_tensors, read_tensors, unpack_tensors, write_tensors
    from rlstitch.storage.workspace import data_roots

__all__ = [
    "canonical_json",
    "data_roots",
    "load_space",
    "load_translation",
    "pack_tensors",
    "read_bytes",
    "read_json",
    "read_tensors",
    "save_space",
    "save_translation",
    "sha256_of",
    "space_from_dataset",
    "space_to_dataset",
    "staged_folder",
    "unpack_tensors",
    "write_bytes",
    "write_json",
    "write_table",
    "write_tensors",
]

_HOMES = {
    "files": ("read_bytes", "sha256_of", "write_bytes"),
    "folders": ("staged_folder",),
    "json_files": ("canonical_json", "read_json", "write_json", "write_table"),
    "workspace": ("data_roots",),
    "spaces": (
        "load_space",
        "load_translation",
        "save_space",
        "save_translation",
        "space_from_dataset",
        "space_to_dataset",
    ),
    "tensors": ("pack_tensors", "read_tensors", "unpack_tensors", "write_tensors"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"rlstitch.storage.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
