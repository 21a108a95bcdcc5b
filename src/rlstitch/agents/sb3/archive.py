"""Reading a Stable-Baselines3 model's zip without running anything out of it.

`data` is JSON. Where a value of it is no JSON, Stable-Baselines3 puts a pickle there, in base64: those are dropped
unread. `policy.pth` is a zip of torch's, with a small pickle that says which tensors there are: its instructions are
compared with the few that plain tensors need before `torch.load(weights_only=True)`, which interprets them itself and
calls nothing else, sees them. The other members are not opened.
"""

from __future__ import annotations

import io
import json
import pickletools
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # the error alone; nothing is unpickled here
from typing import Any, BinaryIO

import torch
from torch import Tensor

from rlstitch.errors import ArtefactError
from rlstitch.storage import limits, printable, translated_errors

_PICKLE_AT_FAULT = "Stable-Baselines3 models hold tensors only"

_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(
        f"torch {kind}Storage"
        for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
    ),
}
# Instructions by which a pickle names or makes an object without the instruction that the list above holds.
_REFUSED = {"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID"}
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, NotImplementedError, RuntimeError, ValueError,
)  # fmt: skip
_LOAD_ERRORS = (
    UnpicklingError, ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, RuntimeError,
    TypeError, ValueError, struct.error,
)  # fmt: skip


_OTHER_FILES = {
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file itself with `git lfs pull`, or from its page",
    b"<": "a web page; download the file itself",
}
"""What is often found in the place of a zip, by how it begins."""
_OLD_TORCH = b"l\xfc\x9cF\xf9 j\xa8P\x19"
"""The number, pickled, at the beginning of what torch saved before 1.6."""


@dataclass(frozen=True)
class ModelFile:
    """What a Stable-Baselines3 zip says in plain values: its settings, and the tensors of its policy (float32, CPU)."""

    path: Path
    data: dict[str, Any]
    tensors: dict[str, Tensor]


def read_model(path: Path | str) -> ModelFile:
    """Read a Stable-Baselines3 model.

    Raises:
        ArtefactError: where the file is missing, no such zip, damaged, too large, or asks for code to be run.
    """
    path = Path(path)
    with translated_errors("read", path):
        try:
            with path.open("rb") as stream, _zip(stream, path) as archive:
                names = [info.filename for info in archive.infolist()]
                if len(names) > limits.SB3_MEMBERS or any(names.count(name) != 1 for name in ("data", "policy.pth")):
                    raise ArtefactError(
                        f"{path}: expected a Stable-Baselines3 model, a zip with 'data' and 'policy.pth'; "
                        f"found {len(names)} members: {printable(', '.join(names[:8]), limit=300)}"
                    )
                data = _member(archive, "data", limits.SB3_DATA_BYTES, path)
                policy = _member(archive, "policy.pth", limits.SB3_POLICY_BYTES, path)
        except _ZIP_ERRORS as error:
            raise ArtefactError(f"{path}: not a usable Stable-Baselines3 zip: {_line(error)}") from None
    return ModelFile(path, _plain_values(data, path), _tensors(policy, path))


def _zip(stream: BinaryIO, path: Path) -> zipfile.ZipFile:
    start = stream.read(64).lstrip()
    for beginning, kind in _OTHER_FILES.items():
        if start.startswith(beginning):
            raise ArtefactError(f"{path}: expected a Stable-Baselines3 zip, found {kind}")
    return zipfile.ZipFile(stream)


def _member(archive: zipfile.ZipFile, name: str, limit: int, path: Path) -> bytes:
    with archive.open(name) as stream:
        content = stream.read(limit + 1)  # what comes out, whatever size the directory claims
    if len(content) > limit:
        raise ArtefactError(f"{path}: {name} is larger than {limit:,} bytes")
    return content


def _plain_values(content: bytes, path: Path) -> dict[str, Any]:
    try:
        data = json.loads(content.decode(), parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"{path}: data is not usable JSON: {_line(error)}") from None
    if not isinstance(data, dict):
        raise ArtefactError(f"{path}: data: expected a JSON object, found {type(data).__name__}")
    return {
        key: {name: item for name, item in value.items() if name != ":serialized:"}
        if isinstance(value, dict)
        else value
        for key, value in data.items()
    }


def _tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    if _OLD_TORCH in content[:64]:
        raise ArtefactError(
            f"{path}: policy.pth is in the format of torch before 1.6, a pickle, which is not opened; if you trust the "
            "file, load it in Stable-Baselines3 with torch 1.6 or newer and save it again"
        )
    try:
        _check_archive(content, path)
    except _ZIP_ERRORS as error:
        raise ArtefactError(f"{path}: policy.pth is not usable: {_line(error)}") from None
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except _LOAD_ERRORS as error:
        raise ArtefactError(f"{path}: policy.pth is not usable: {_line(error)}") from None
    if not isinstance(loaded, dict) or not loaded:
        raise ArtefactError(f"{path}: policy.pth: expected named tensors, found {type(loaded).__name__}")
    total = 0
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or value.layout != torch.strided:
            raise ArtefactError(f"{path}: policy.pth: expected named tensors, found {printable(name, limit=100)!r}")
        total += value.numel()
    if total > 4 * limits.PARAMETERS:  # a shared extractor stands three times in the file
        raise ArtefactError(f"{path}: policy.pth: {total:,} numbers, expected at most {4 * limits.PARAMETERS:,}")
    for name, value in loaded.items():
        if not bool(torch.isfinite(value).all()):
            raise ArtefactError(f"{path}: policy.pth: tensor {printable(name, limit=100)!r} holds NaN or infinity")
    return {
        name: value.detach().float().contiguous() if value.is_floating_point() else value.detach().contiguous()
        for name, value in loaded.items()
    }


def _check_archive(content: bytes, path: Path) -> None:
    """Refuse a file of tensors that would unfold, or whose pickle names anything but tensors."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = archive.infolist()
        if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
            raise ArtefactError(f"{path}: policy.pth: expected uncompressed tensors, found compressed ones")
        if sum(info.file_size for info in infos) > len(content):
            raise ArtefactError(f"{path}: policy.pth: its members claim more bytes than it has")
        pickles = [info.filename for info in infos if info.filename.endswith(".pkl")]
        if len(pickles) != 1:
            raise ArtefactError(f"{path}: policy.pth: expected one list of tensors, found {len(pickles)}")
        instructions = _member(archive, pickles[0], limits.SB3_PICKLE_BYTES, path)
    for code, argument, _ in pickletools.genops(instructions):
        unknown = code.name == "GLOBAL" and argument not in _GLOBALS
        if unknown or code.name in _REFUSED:
            asked = printable(argument, limit=100) if unknown else code.name
            raise ArtefactError(f"{path}: policy.pth asks for {asked!r}; refused, nothing was run ({_PICKLE_AT_FAULT})")


def _line(error: BaseException) -> str:
    """Return an error's first sentence in one line: torch's continue with advice on unsafe settings."""
    text = " ".join(str(error).split()) or type(error).__name__
    return printable(text.split(". ")[0], limit=200)
