"""The named tensors of a `policy.pth` of torch's, read without torch's own reader and without running anything.

The file is a zip of raw numbers and a pickle, a list of instructions that says which tensors they are; see
`instructions`. Tensors are made over numbers that are there. Where it asks for anything else the file is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from zipfile import ZIP_STORED

import torch
from torch import Tensor

from rlstitch.agents.sb3.instructions import Made, Name, follow
from rlstitch.errors import ArtefactError
from rlstitch.storage import limits, open_archive, printable, read_member

_DTYPES = {
    "torch FloatStorage": torch.float32,
    "torch DoubleStorage": torch.float64,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16,
    "torch CharStorage": torch.int8,
    "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
}
_TENSOR, _PARAMETER = "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"
_NAMES = {*_DTYPES, _TENSOR, _PARAMETER, "collections OrderedDict"}


def read_tensors(content: bytes, where: str) -> dict[str, Tensor]:
    """Return the tensors of a file by name; they share the memory of its numbers.

    Args:
        content: of the file.
        where: its name, for the errors.

    Raises:
        ArtefactError: where it is no such file, damaged, holds anything but named tensors, or asks for code to be run.
    """
    with open_archive(content, f"{where} is not usable") as archive:
        if any(member.compress_type != ZIP_STORED for member in archive.infolist()):
            raise ArtefactError(f"{where}: expected uncompressed tensors, found compressed ones")
        names = {name.partition("/")[2]: name for name in archive.namelist()}
        if "data.pkl" not in names or len(names) != len(archive.namelist()):
            raise ArtefactError(f"{where}: expected one folder with a list of tensors, found {len(names)} members")
        if names.get("byteorder") and read_member(archive, names["byteorder"], 100) != b"little":
            raise ArtefactError(f"{where}: expected numbers in the order of little-endian machines")
        instructions = read_member(archive, names["data.pkl"], limits.SB3_PICKLE_BYTES)
        numbers = {
            name.removeprefix("data/"): bytearray(read_member(archive, full, limits.SB3_POLICY_BYTES))
            for name, full in names.items()
            if name.startswith("data/")
        }
        made = follow(instructions, where, takes=_NAMES.__contains__, hint="Stable-Baselines3 models hold tensors only")
        if not isinstance(made, dict) or not made:
            raise ArtefactError(f"{where}: expected named tensors, found {type(made).__name__}")
        loaded = {name: _tensor(value, name, numbers, where) for name, value in made.items()}
    if sum(value.nbytes for value in loaded.values()) > 3 * len(content):  # a shared extractor stands there three times
        raise ArtefactError(f"{where}: its tensors are larger than the file")
    return loaded


def _tensor(value: Any, name: str, numbers: Mapping[str, bytearray], where: str) -> Tensor:
    """The tensor that is described; raises ValueError or LookupError where it makes no sense."""
    if isinstance(value, Made) and value.name == _PARAMETER:
        value = value.arguments[0]
    if not isinstance(value, Made) or value.name != _TENSOR:
        raise ArtefactError(f"{where}: expected named tensors, found {printable(name, limit=100)!r}")
    stored, offset, size, stride = value.arguments[:4]
    values = _storage(stored, numbers)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if any(n < 0 for n in size) or any(step < 0 for step in stride) or offset < 0:
        raise ValueError("a tensor has a negative size")
    if 0 not in size and (last >= len(values) or math.prod(size) > len(values)):
        raise ValueError(f"a tensor of {size} lies beyond the {len(values):,} numbers that there are")
    return values.as_strided(size, stride, offset)


def _storage(stored: Any, numbers: Mapping[str, bytearray]) -> Tensor:
    """All numbers of a member, one after another: as many as the list says, and not one more than there are."""
    if not isinstance(stored, Made) or stored.name:
        raise ValueError("expected numbers of a tensor")
    kind, dtype, key, _, count = stored.arguments
    if kind != "storage" or not isinstance(dtype, Name):
        raise ValueError("expected numbers of a type")
    type_ = _DTYPES[dtype.text]
    values = torch.frombuffer(numbers[key], dtype=type_) if numbers[key] else torch.zeros(0, dtype=type_)
    if not 0 <= count <= len(values):
        raise ValueError(f"says that there are {count:,} numbers where there are {len(values):,}")
    return values[:count]
