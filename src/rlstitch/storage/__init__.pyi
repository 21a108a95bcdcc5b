from .archives import open_archive, read_array, read_array_header, read_member
from .files import open_file, read_bytes, sha256_of, translated_errors, write_bytes
from .folders import staged_folder
from .json_files import canonical_json, check_tree, read_json, write_json, write_table
from .locks import exclusive_lock
from .space_stream import SpaceStream, part_files
from .spaces import (
    load_space,
    load_translation,
    save_space,
    save_translation,
    space_from_dataset,
    space_to_dataset,
)
from .tensors import pack_tensors, read_tensors, unpack_tensors, write_tensors
from .text import aligned, printable
from .validation import describe_problems, dotted_keys, first_problem, validated
from .workspace import (
    AGENTS,
    ANCHORS,
    NAME_PATTERN,
    RUNS,
    VIDEOS,
    command_line,
    data_roots,
    new_agent_folder,
    require_new_file,
)

__all__ = [
    "AGENTS",
    "ANCHORS",
    "NAME_PATTERN",
    "RUNS",
    "VIDEOS",
    "SpaceStream",
    "aligned",
    "canonical_json",
    "check_tree",
    "command_line",
    "data_roots",
    "describe_problems",
    "dotted_keys",
    "exclusive_lock",
    "first_problem",
    "load_space",
    "load_translation",
    "new_agent_folder",
    "open_archive",
    "open_file",
    "pack_tensors",
    "part_files",
    "printable",
    "read_array",
    "read_array_header",
    "read_bytes",
    "read_json",
    "read_member",
    "read_tensors",
    "require_new_file",
    "save_space",
    "save_translation",
    "sha256_of",
    "space_from_dataset",
    "space_to_dataset",
    "staged_folder",
    "translated_errors",
    "unpack_tensors",
    "validated",
    "write_bytes",
    "write_json",
    "write_table",
    "write_tensors",
]
