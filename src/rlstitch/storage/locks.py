"""Locks between processes; the operating system releases them when their holder dies, however it dies."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from rlstitch.errors import BusyError
from rlstitch.storage.files import check_target, make_folder, translated_errors


@contextlib.contextmanager
def exclusive_lock(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file for the length of the block; never wait for it.

    Args:
        path: the lock file; its folder is made where needed, and the file stays afterwards.
        what: what is locked, for the message.

    Raises:
        BusyError: another process (or another block of this one) holds it; the message names the process.
        InvalidInputError, ArtefactError: the path is no file's, or the operating system refuses.
    """
    make_folder(path.parent)
    check_target(path, in_place=True)
    lock = FileLock(path, timeout=0)
    with contextlib.ExitStack() as held:
        with translated_errors("lock", path):
            try:
                held.enter_context(lock)
            except Timeout:
                raise BusyError(f"{what} is locked by another process ({_holder(path)})") from None
            path.write_text(json.dumps(_this_process()))
        yield


def _this_process() -> dict[str, str]:
    host, now = platform.node() or "this computer", datetime.now(UTC).isoformat(timespec="seconds")
    return {"process": str(os.getpid()), "on": host, "since": now}


def _holder(path: Path) -> str:
    """Return who holds a lock, for a message only: what is read here may be incomplete."""
    try:
        entries = json.loads(path.read_text()[:1000]).items()
    except (OSError, ValueError, AttributeError):
        return "unknown"
    return ", ".join(f"{key} {value}" for key, value in entries)
