"""Named tensors in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.storage import limits
from rlstitch.storage.files import read_bytes, write_bytes
from rlstitch.storage.json_files import parse_json
from rlstitch.storage.text import printable

_METADATA_KEY = "rlstitch"


def pack_tensors(tensors: Mapping[str, Tensor | NDArray[Any]], *, metadata: Mapping[str, str] | None = None) -> bytes:
    """Return tensors as the bytes of a safetensors file: equal tensors and metadata give equal bytes.

    Raises:
        InvalidInputError: a tensor is not finite, naming it, or of a type that the format does not know.
    """
    plain: dict[str, Tensor] = {}
    for name, value in tensors.items():
        try:
            # A copy of its own: torch wants writable memory, and safetensors refuses tensors that share any.
            source = value.detach() if isinstance(value, Tensor) else torch.from_numpy(np.array(value, order="C"))
        except (TypeError, ValueError) as error:  # texts, objects, another machine's order of bytes
            raise InvalidInputError(f"tensor {name!r}: cannot be stored: {error}") from None
        if not _is_finite(source):
            raise InvalidInputError(f"tensor {name!r}: holds NaN or infinity")
        plain[name] = source.to("cpu", copy=True).contiguous()
    # The format's library writes several metadata keys in an order of its own each time: one key keeps bytes equal.
    header = {_METADATA_KEY: json.dumps(dict(metadata), sort_keys=True)} if metadata else None
    try:
        return safetensors.torch.save(plain, header)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise InvalidInputError(f"tensors: cannot be stored: {error}") from None


def unpack_tensors(content: bytes, where: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the bytes of a safetensors file: its tensors and its metadata.

    Args:
        content: the bytes.
        where: the file's name, for the errors.

    Raises:
        ArtefactError: the bytes are no safetensors file, are truncated, or hold NaN or infinity.
    """
    try:
        described = content[8 : 8 + min(int.from_bytes(content[:8], "little"), limits.TENSOR_HEADER_BYTES)]
        if described.count(b"{") > limits.TENSORS:
            raise ValueError(f"expected at most {limits.TENSORS:,} tensors")
        tensors = safetensors.torch.load(content)
        header = json.loads(described)
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError, AssertionError) as error:
        reason = printable(error, limit=200) or type(error).__name__
        raise ArtefactError(f"{where}: not a usable safetensors file: {reason}") from None
    for name, tensor in tensors.items():
        if not _is_finite(tensor):
            raise ArtefactError(f"{where}: tensor {name!r} holds NaN or infinity")
    return tensors, _own_metadata(header.get("__metadata__") or {}, where)


def _own_metadata(stored: dict[str, str], where: str) -> dict[str, str]:
    if _METADATA_KEY not in stored:
        return stored
    metadata = parse_json(stored[_METADATA_KEY], f"{where}: its metadata")
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ArtefactError(f"{where}: its metadata is not a mapping of texts")
    return metadata


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor | NDArray[Any]], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as a safetensors file, atomically.

    Raises:
        InvalidInputError: a tensor is not finite, naming it, or of a type that the format does not know.
        ArtefactError: the operating system refuses.
    """
    write_bytes(path, pack_tensors(tensors, metadata=metadata))


def read_tensors(path: Path, *, max_bytes: int = limits.TENSOR_BYTES) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file: its tensors, on the CPU, and its metadata.

    Raises:
        ArtefactError: the file is missing, too large, truncated, no safetensors file, or holds NaN or infinity.
    """
    return unpack_tensors(read_bytes(path, max_bytes=max_bytes), str(path))


def _is_finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    if tensor.dtype.itemsize == 1:  # no `isfinite` for 8-bit floats
        tensor = tensor.float()
    return bool(torch.isfinite(tensor).all())
