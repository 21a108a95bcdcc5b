"""Files that are whole or absent: written beside, flushed and renamed; checked when read. Never a pickle."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from rlstitch.errors import ArtefactError, InvalidInputError, RlstitchError


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
        InvalidInputError: `path` is a folder, or a file stands where its folder should be.
        ArtefactError: the operating system refuses (a full disk, no permission).
    """
    make_folder(path.parent)
    with translated_errors("write", path):
        if path.is_dir():
            raise InvalidInputError(f"cannot write {path}: it is a folder")
        beside = path.parent / f".tmp-{secrets.token_hex(8)}~"
        # Opened anew, never an older file; the system applies the user's mask to the permissions.
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield beside
        with translated_errors("write", path):
            with beside.open("r+b") as stream:
                os.fsync(stream.fileno())
            beside.replace(path)
            sync_folder(path.parent)
    except OSError as error:
        raise ArtefactError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)


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


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[BufferedReader]:
    """Open a regular file to read; raises ArtefactError where it is missing, no file, or cannot be read."""
    with translated_errors("read", path):
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise ArtefactError(f"cannot read {path}: it is not a file")
        with path.open("rb") as stream:
            yield stream


def read_bytes(path: Path, *, max_bytes: int) -> bytes:
    """Read a whole file.

    Raises:
        ArtefactError: it is missing, no file, unreadable, or larger than `max_bytes`.
    """
    with open_file(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        content = stream.read() if size <= max_bytes else b""  # a number to read would be allocated in advance
    if max(size, len(content)) > max_bytes:
        raise ArtefactError(f"cannot read {path}: it is larger than {max_bytes:,} bytes")
    return content


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's content, 64 hexadecimal digits.

    Raises:
        ArtefactError: the file is missing or unreadable.
    """
    with open_file(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
