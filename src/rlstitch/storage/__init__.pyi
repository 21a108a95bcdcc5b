from .files import read_bytes, sha256_of, write_bytes
from .folders import staged_folder
from .json_files import canonical_json, read_json, write_json, write_table
from .spaces import (
    load_space,
    load_translation,
    save_space,
    save_translation,
    space_from_dataset,
    space_to_dataset,
)
from .tensors import pack_tensors, read_tensors, unpack_tensors, write_tensors
from .workspace import data_roots

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
