"""The named tensors of a `policy.pth` of torch's, read without torch's own reader and without running anything.

The file is a zip of raw numbers and a pickle, a list of instructions that says which tensors they are. The few
instructions that such a list needs are followed here one by one: they build texts, whole numbers, tuples, dictionaries
and tensors over numbers that are there. At any other the file is refused.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Mapping
from typing import Any, NamedTuple
from zipfile import ZIP_STORED

import torch
from torch import Tensor

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
_DICTIONARY, _TENSOR, _PARAMETER = (
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
)
_LITERALS = {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BININT", "BININT1", "BININT2", "LONG1"}
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


class _Global(NamedTuple):
    """A name that the list gives to something of Python's; it is not looked up."""

    name: str


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
        loaded = _follow(instructions, numbers, where)
    if not isinstance(loaded, dict) or not loaded:
        raise ArtefactError(f"{where}: expected named tensors, found {type(loaded).__name__}")
    for name, value in loaded.items():
        if not isinstance(value, Tensor):
            raise ArtefactError(f"{where}: expected named tensors, found {printable(name, limit=100)!r}")
    if sum(value.nbytes for value in loaded.values()) > 3 * len(content):  # a shared extractor stands there three times
        raise ArtefactError(f"{where}: its tensors are larger than the file")
    return loaded


def _follow(instructions: bytes, numbers: Mapping[str, bytearray], where: str) -> Any:
    """Follow the instructions of a list of tensors; raises ValueError or LookupError where they make no sense."""
    stack: list[Any] = []
    kept: dict[Any, Any] = {}

    def items() -> list[Any]:
        """Take what stands above the last mark off the stack."""
        place = max(i for i, value in enumerate(stack) if value is _MARK)
        taken = stack[place + 1 :]
        del stack[place:]
        return taken

    for code, argument, _ in pickletools.genops(instructions):
        match code.name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                stack.append(_MARK)
            case "GLOBAL":
                if argument not in (*_DTYPES, _DICTIONARY, _TENSOR, _PARAMETER):
                    raise _refused(str(argument), where)
                stack.append(_Global(str(argument)))
            case "EMPTY_DICT":
                stack.append({})
            case "TUPLE":
                stack.append(_tuple(items()))
            case "BINPUT" | "LONG_BINPUT":
                kept[argument] = stack[-1]
            case "MEMOIZE":
                kept[len(kept)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(kept[argument])
            case "BINPERSID":
                stack.append(_storage(stack.pop(), numbers))
            case "REDUCE":
                arguments = stack.pop()
                stack.append(_made(stack.pop(), arguments))
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _set(stack[-1], [key, value])
            case "SETITEMS":
                pairs = items()
                _set(stack[-1], pairs)
            case "BUILD":  # of an OrderedDict: versions of modules, not needed
                stack.pop()
            case name if name in _LITERALS:
                stack.append(argument)
            case name if name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            case name if name in _TUPLES:
                taken = stack[-_TUPLES[name] :]
                del stack[-_TUPLES[name] :]
                stack.append(_tuple(taken))
            case other:
                raise _refused(other, where)
    if len(stack) != 1:
        raise ValueError("its list of tensors is cut off")
    return stack[0]


def _tuple(values: list[Any]) -> tuple[Any, ...]:
    if any(isinstance(value, tuple) and any(isinstance(inner, tuple) and inner for inner in value) for value in values):
        raise ValueError("nested too deeply")
    return tuple(values)


def _set(target: Any, pairs: list[Any]) -> None:
    keys = pairs[::2]
    if not isinstance(target, dict) or len(pairs) % 2 or not all(isinstance(key, str) for key in keys):
        raise ValueError("expected names and tensors")
    target.update(zip(keys, pairs[1::2], strict=True))


def _storage(described: Any, numbers: Mapping[str, bytearray]) -> Tensor:
    """All numbers of a member, one after another: as many as the list says, and not one more than there are."""
    kind, dtype, key, _, count = described
    if kind != "storage" or not isinstance(dtype, _Global):
        raise ValueError("expected numbers of a type")
    type_ = _DTYPES[dtype.name]
    values = torch.frombuffer(numbers[key], dtype=type_) if numbers[key] else torch.zeros(0, dtype=type_)
    if not 0 <= count <= len(values):
        raise ValueError(f"says that there are {count:,} numbers where there are {len(values):,}")
    return values[:count]


def _made(function: Any, arguments: Any) -> Any:
    """What the list asks to be made: an empty dictionary or a tensor."""
    if not isinstance(function, _Global) or not isinstance(arguments, tuple):
        raise ValueError("expected something to be made of values")
    if function.name == _DICTIONARY and not arguments:
        return {}
    if function.name == _PARAMETER and isinstance(arguments[0], Tensor):
        return arguments[0]
    if function.name != _TENSOR:
        raise ValueError(f"{function.name} makes no tensor")
    values, offset, size, stride = arguments[:4]
    if not isinstance(values, Tensor):
        raise ValueError("expected numbers of a tensor")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if any(n < 0 for n in size) or any(step < 0 for step in stride) or offset < 0:
        raise ValueError("a tensor has a negative size")
    if 0 not in size and (last >= len(values) or math.prod(size) > len(values)):
        raise ValueError(f"a tensor of {size} lies beyond the {len(values):,} numbers that there are")
    return values.as_strided(size, stride, offset)


def _refused(asked: str, where: str) -> ArtefactError:
    return ArtefactError(
        f"{where} asks for {printable(asked, limit=100)!r}; refused, nothing was run (Stable-Baselines3 models hold "
        "tensors only)"
    )
