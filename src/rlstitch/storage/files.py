"""Files that are whole or absent: written beside, flushed and renamed; checked when read. Never a pickle."""

from __future__ import annotations

import codecs
import contextlib
import functools
import hashlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from rlstitch.errors import ArtefactError, InvalidInputError, RlstitchError
from rlstitch.storage.staging import private_file, recover

_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def translated_errors(action: str, path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into an `ArtefactError` that names the action and the path."""
    try:
        yield
    except RlstitchError:
        raise
    except FileNotFoundError:
        raise ArtefactError(f"cannot {action} {path}: there is no such file or folder") from None
    except OSError as error:
        raise ArtefactError(f"cannot {action} {path}: {error.strerror or error}") from error
    except (ValueError, UnicodeError) as error:  # a zero byte or a lone surrogate in the path
        raise ArtefactError(f"cannot {action} {str(path)!r}: {error}") from error


def make_folder(path: Path) -> None:
    """Make a folder and its parents.

    Raises:
        InvalidInputError: a file stands in the way.
        ArtefactError: the operating system refuses.
    """
    try:
        with translated_errors("make the folder", path):
            path.mkdir(parents=True, exist_ok=True)
    except ArtefactError as error:
        if isinstance(error.__cause__, (FileExistsError, NotADirectoryError)):
            raise InvalidInputError(f"cannot make the folder {path}: a file is in the way") from None
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole or not at all; see `staged_file`."""
    with staged_file(path) as beside, beside.open("wb") as stream:
        stream.write(content)


@contextlib.contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yield an empty file beside `path` that takes its place when the block ends; after an error it is removed.

    An older file stays until the new one is complete.

    Raises:
        InvalidInputError: something that is no file has this name, or a file stands where its folder should be.
        ArtefactError: the operating system refuses (a full disk, no permission).
    """
    make_folder(path.parent)
    check_target(path)
    with contextlib.ExitStack() as stack:
        with translated_errors("write", path):
            _recover_once(path.parent.absolute())
            beside = stack.enter_context(private_file(path.parent))
        try:
            yield beside
            with translated_errors("write", path):
                with beside.open("r+b") as stream:
                    os.fsync(stream.fileno())
                beside.replace(path)
                sync_folder(path.parent)
        except OSError as error:
            raise ArtefactError(f"cannot write {path}: {error.strerror or error}") from error


def check_target(path: Path, *, in_place: bool = False) -> None:
    """Refuse to write over what is no regular file: a folder, a device, a pipe, a socket, or a link to one.

    Args:
        path: of the file to be written.
        in_place: an older file is not replaced but written to, so that a link to another file is refused, too.

    Raises:
        InvalidInputError: `path` is one.
        ArtefactError: the path is none that the operating system takes.
    """
    if in_place and path.is_symlink():
        raise InvalidInputError(f"cannot write {path}: it is a link")
    with translated_errors("write", path), contextlib.suppress(FileNotFoundError):
        try:
            kind = _irregular(path.stat())
        except NotADirectoryError:
            raise InvalidInputError(f"cannot write {path}: a file is in the way") from None
        if kind:
            raise InvalidInputError(f"cannot write {path}: it is {kind}")


def _irregular(about: os.stat_result) -> str:
    """Return what it is that is no regular file; empty for a regular file."""
    kinds = {stat.S_IFREG: "", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(about.st_mode), "a device")


@functools.cache
def _recover_once(folder: Path) -> None:
    recover(folder)  # a folder may have thousands of files, each written by a call


def sync_folder(path: Path) -> None:
    """Flush a folder's entries, so that a rename in it outlives a power cut; where a system cannot, go on."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot flush a folder
            os.fsync(handle)
    finally:
        os.close(handle)


def check_source(path: Path) -> None:
    """Refuse what is no regular file before it is opened: a pipe would wait for ever, and opening a device has effects.

    Raises:
        ArtefactError: it is missing, no file, or the operating system refuses.
    """
    with translated_errors("read", path):
        if kind := _irregular(path.stat()):
            raise ArtefactError(f"cannot read {path}: it is not a file but {kind}")


def open_file(path: Path) -> BufferedReader:
    """Open a regular file to read.

    Raises:
        ArtefactError: it is missing, no file, or the operating system refuses.
    """
    check_source(path)
    with translated_errors("read", path):
        handle = os.open(path, os.O_RDONLY | _NO_WAIT)
        if kind := _irregular(os.fstat(handle)):  # exchanged meanwhile
            os.close(handle)
            raise ArtefactError(f"cannot read {path}: it is not a file but {kind}")
        return os.fdopen(handle, "rb")


def is_file_of(path: Path, magic: bytes, *, start: int = 0) -> bool:
    """Return whether a path is a regular file, no link, that has these bytes from `start` on."""
    try:
        if path.is_symlink():
            return False
        with open_file(path) as stream:
            return stream.read(start + len(magic))[start:] == magic
    except (ArtefactError, OSError):
        return False


def read_bytes(path: Path, *, max_bytes: int) -> bytes:
    """Read a whole file.

    Raises:
        ArtefactError: it is missing, no file, unreadable, or larger than `max_bytes`.
    """
    with open_file(path) as stream:
        return read_stream(stream, path, max_bytes=max_bytes)


def read_stream(stream: BufferedReader, path: Path, *, max_bytes: int) -> bytes:
    """Read a whole file that is open; `path` names it in the errors, which are those of `read_bytes`."""
    with translated_errors("read", path):
        size = os.fstat(stream.fileno()).st_size
        content = stream.read() if size <= max_bytes else b""  # a number to read would be allocated in advance
    if max(size, len(content)) > max_bytes:
        raise ArtefactError(f"cannot read {path}: it is larger than {max_bytes:,} bytes")
    return content


def decode_text(content: bytes, *, start: bool = True) -> str:
    """Return UTF-8 as text, without a byte order mark.

    Args:
        content: the bytes.
        start: whether they are the start of a file, where a byte order mark or UTF-16 shows.

    Raises:
        ValueError: it is no UTF-8; the message names UTF-16 where it is that.
    """
    if start and (content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:2]):
        raise ValueError("expected UTF-8, found UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8-sig" if start else "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"expected UTF-8: {error.reason} at byte {error.start}") from None


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's content, 64 hexadecimal digits.

    Raises:
        ArtefactError: the file is missing or unreadable.
    """
    with open_file(path) as stream, translated_errors("read", path):
        return hashlib.file_digest(stream, "sha256").hexdigest()
