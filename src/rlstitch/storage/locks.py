"""Locks between processes that the operating system lets go when their holder dies, however it dies."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from rlstitch.errors import BusyError
from rlstitch.storage.files import make_folder, translated_errors


@contextlib.contextmanager
def exclusive_lock(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file for the length of the block; never wait for it.

    The file stays behind, empty of meaning: removing it would let two processes lock two files of the same name.

    Args:
        path: the lock file; its folder is made where needed.
        what: what is locked, for the message.

    Raises:
        BusyError: where another process (or another block of this one) holds it; the message says which.
        ArtefactError: where the operating system refuses.
    """
    make_folder(path.parent)
    with translated_errors("lock", path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with translated_errors("lock", path):
            taken = _take(handle)
            holder = {} if taken else _holder(handle)
            if taken:
                os.ftruncate(handle, 0)
                os.pwrite(handle, json.dumps(_myself()).encode(), 0)
        if not taken:
            known = ", ".join(f"{key} {value}" for key, value in holder.items())
            raise BusyError(f"{what} is in the hands of another process ({known or 'unknown'})")
        yield
    finally:
        os.close(handle)  # closing lets the lock go


def _take(handle: int) -> bool:
    if os.name == "nt":  # pragma: no cover
        import msvcrt

        try:
            # Far behind the text, which others may read: Windows forbids reading what is locked.
            os.lseek(handle, 2**20, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _myself() -> dict[str, str]:
    return {
        "process": str(os.getpid()),
        "on": platform.node() or "this computer",
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _holder(handle: int) -> dict[str, str]:
    # The holder writes after it locked: what is read here may be empty or half, and is only ever shown.
    os.lseek(handle, 0, os.SEEK_SET)
    try:
        found = json.loads(os.read(handle, 1000))
    except ValueError:
        return {}
    return {str(key): str(value)[:80] for key, value in found.items()} if isinstance(found, dict) else {}
