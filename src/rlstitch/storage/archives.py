"""Zip archives and NumPy's arrays from strangers: bounded and unambiguous before anything of them is built."""

from __future__ import annotations

import contextlib
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError, RlstitchError
from rlstitch.storage import limits
from rlstitch.storage.files import open_file
from rlstitch.storage.text import printable

# What zipfile, its decompressors and NumPy raise for a file that is damaged or of another kind.
_BAD = (
    OSError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, LookupError, NotImplementedError,
    OverflowError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
_BAD_HEADER = (*_BAD, SyntaxError, MemoryError, TokenError)  # Python's own parser reads the headers of arrays
_END, _END_64 = b"PK\5\6", b"PK\6\7"  # of a directory, and of one that has 64-bit sizes


@contextlib.contextmanager
def open_archive(source: Path | bytes, problem: str, *, max_bytes: int | None = None) -> Iterator[ZipFile]:
    """Open a zip archive whose members are few, have different names, and unpack to a bounded number of bytes.

    Names that differ only in case count as equal: other libraries find members so.

    Args:
        source: a file, or the bytes of one.
        problem: begins the messages, as `x.npz: not a usable npz file`.
        max_bytes: of all members, unpacked; None: what `limits.unpacked_bytes` says.

    Raises:
        ArtefactError: here, or within the block, where the archive or a member is damaged; a `ValueError` of the block
            becomes one, too.
    """
    with contextlib.ExitStack() as stack:
        try:
            stream: IO[bytes] = stack.enter_context(
                io.BytesIO(source) if isinstance(source, bytes) else open_file(source)
            )
            archive = stack.enter_context(ZipFile(_checked_directory(stream)))
            _check_members(archive, stream.seek(0, io.SEEK_END), max_bytes)
            yield archive
        except RlstitchError:
            raise
        except _BAD as error:
            reason = printable(error, limit=200) or type(error).__name__
            raise ArtefactError(f"{problem}: {reason}") from None


def read_member(archive: ZipFile, name: str, max_bytes: int) -> bytes:
    """Return the bytes of a member; raises ValueError where it is missing or larger than `max_bytes`."""
    info = archive.getinfo(name)
    if info.file_size > max_bytes:
        raise ValueError(f"{name} is larger than {max_bytes:,} bytes")
    with archive.open(info) as stream:
        return stream.read(info.file_size + 1)  # a bound for what is unpacked at once, whatever the member holds


def read_array(archive: ZipFile, name: str) -> NDArray[Any]:
    """Return the array in the member `<name>.npy`; raises ValueError where it is none, or holds objects."""
    info = archive.getinfo(f"{name}.npy")
    content = io.BytesIO(read_member(archive, info.filename, info.file_size))
    try:
        shape, fortran, dtype = read_array_header(content)
        values = bytearray(content.read())
        if math.prod(shape) * dtype.itemsize != len(values):
            raise ValueError(f"its header says {dtype} {shape}, found {len(values):,} bytes")
    except ValueError as error:
        raise ValueError(f"the array {name}: {error}") from None
    return np.frombuffer(values, dtype).reshape(shape, order="F" if fortran else "C")


def read_array_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether in Fortran order, and type of the `.npy` array that begins here.

    Raises ValueError where it is none, holds objects, or its shape has a negative size.
    """
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, fortran, dtype = readers[np.lib.format.read_magic(stream)](stream)
    except _BAD_HEADER as error:
        raise ValueError(f"not an array of NumPy: {printable(error, limit=100)}") from None
    if dtype.hasobject or dtype.fields or not dtype.itemsize or any(size < 0 for size in shape):
        raise ValueError(f"expected an array of numbers or text, found {printable(dtype, limit=60)} {shape}")
    return shape, fortran, dtype


def _checked_directory(stream: IO[bytes]) -> IO[bytes]:
    """Refuse an archive of very many members before zipfile makes an object of each."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, size - 2**16 - 100))
    tail = stream.read()
    end = tail.rfind(_END)
    if end < 0:
        raise zipfile.BadZipFile("File is not a zip file")
    (directory,) = struct.unpack_from("<L", tail, end + 12)
    if tail[end - 20 : end - 16] == _END_64:
        (directory,) = struct.unpack_from("<Q", tail, end - 36)
    if directory > limits.ZIP_DIRECTORY_BYTES:
        raise ValueError(f"its list of members is larger than {limits.ZIP_DIRECTORY_BYTES:,} bytes")
    stream.seek(0)
    return stream


def _check_members(archive: ZipFile, size: int, max_bytes: int | None) -> None:
    members = archive.infolist()
    if len(members) > limits.ZIP_MEMBERS:
        raise ValueError(f"expected at most {limits.ZIP_MEMBERS:,} members, found {len(members):,}")
    seen: set[str] = set()
    for member in members:
        if (name := member.filename.casefold()) in seen:
            raise ValueError(f"the member {printable(member.filename, limit=100)} stands in it twice")
        seen.add(name)
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
            raise ValueError(f"the member {printable(member.filename, limit=100)} is packed in a way that is not read")
    packed, unpacked = (sum(getattr(member, key) for member in members) for key in ("compress_size", "file_size"))
    most = limits.unpacked_bytes(size) if max_bytes is None else max_bytes
    if unpacked > most:
        raise ValueError(f"unpacks to {unpacked:,} bytes, expected at most {most:,}")
    if packed > size:
        raise ValueError(f"its members claim {packed:,} bytes, but it has {size:,}")
