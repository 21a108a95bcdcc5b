"""Private files and folders that writers fill beside their targets, and what is left of them by writers that died.

A writer holds a lock on what it fills. The system releases the lock when the writer dies, however it dies: then whoever
comes next ends the exchange of a folder that was begun, and removes the rest.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_PRIVATE = re.compile(r"\.tmp-[0-9a-f]{16}~")
# In a private folder: its lock; what is being written; all of it, once it is whole; the older folder; what is let go.
_LOCK, _NEW, _WHOLE, _OLD, _DONE = "lock", "new", "whole", "old", "done"


@contextlib.contextmanager
def private_file(parent: Path) -> Iterator[Path]:
    """Yield an empty file in `parent` under a name that nothing reads; it is removed if it is still there at the end.

    Raises:
        OSError: the operating system refuses.
    """
    with _private(parent, is_folder=False) as path:
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def private_folder(target: Path) -> Iterator[tuple[Path, Path]]:
    """Yield an empty folder that is to become `target`, and a path for the older `target` to step aside to.

    Both are within one private folder beside `target`, which is removed at the end.

    Raises:
        OSError: the operating system refuses.
    """
    with _private(target.parent, is_folder=True) as path:
        try:
            fresh, aside = path / _NEW / target.name, path / _OLD / target.name
            fresh.mkdir(parents=True)
            aside.parent.mkdir()
            yield fresh, aside
        finally:
            if not (fresh.exists() and aside.exists()) or target.exists():  # between two renames: `recover` ends it
                _discard(path)


@contextlib.contextmanager
def private_files(folder: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Yield an empty folder, and a function that moves the files written there to the same places in `folder`.

    A writer that is killed while they are moved is followed by one that moves the rest.

    Raises:
        OSError: the operating system refuses.
    """
    with _private(folder, is_folder=True) as path:

        def commit() -> None:
            fresh.rename(path / _WHOLE)
            _move_files(path)

        fresh = path / _NEW
        try:
            fresh.mkdir()
            yield fresh, commit
        finally:
            _discard(path)


def remove_folder(path: Path) -> None:
    """Remove a folder: killed meanwhile, it is there or it is not, never a part of it.

    Raises:
        OSError: it is no folder, or the operating system refuses.
    """
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    with _private(path.parent, is_folder=True) as private:
        path.rename(private / _DONE)
        shutil.rmtree(private)


def recover(parent: Path) -> None:
    """End what writers in a folder left undone when they were killed; what living ones are at is left alone."""
    with contextlib.suppress(OSError):
        for path in [entry for entry in parent.iterdir() if _PRIVATE.fullmatch(entry.name)]:
            with contextlib.suppress(OSError), _held(path, wait=False):
                if path.is_dir():
                    _move_files(path)
                    _end_exchange(path)
                else:
                    path.unlink()


def is_exchanging(target: Path) -> bool:
    """Return whether a writer is between the two renames that replace a folder, where the system needs two."""
    with contextlib.suppress(OSError):
        private = [entry for entry in target.parent.iterdir() if _PRIVATE.fullmatch(entry.name)]
        return any((entry / _OLD / target.name).exists() for entry in private)
    return False


def _end_exchange(path: Path) -> None:
    # The older folder stepped aside only when the new one was whole. It is never put back: once the new one has left, a
    # target that is missing is in the hands of another writer.
    for aside in (path / _OLD).glob("*"):
        target, fresh = path.parent / aside.name, path / _NEW / aside.name
        if fresh.exists() and not target.exists():
            fresh.rename(target)
    _discard(path)


def _move_files(path: Path) -> None:
    whole = path / _WHOLE
    for file in sorted(file for file in whole.rglob("*") if file.is_file()):
        target = path.parent / file.relative_to(whole)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):
        (path / _OLD).rename(path / _DONE)  # half removed, it must not be put back
    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _private(parent: Path, *, is_folder: bool) -> Iterator[Path]:
    with contextlib.ExitStack() as held:
        while True:
            path = parent / f".tmp-{secrets.token_hex(8)}~"
            if is_folder:
                path.mkdir(mode=0o700)
            else:
                # Opened anew, never an older file; the system applies the user's mask to the permissions.
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            with contextlib.suppress(FileNotFoundError):  # removed before it was locked
                held.enter_context(_held(path, wait=True))
                break
        yield path


@contextlib.contextmanager
def _held(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock of a private file, or of a private folder, which has a file for it.

    A writer, which may `wait`, goes on without where there are no locks (Windows, some network file systems).

    Raises:
        FileNotFoundError: the file or folder is not there any more.
        OSError: it is none of ours, or (unless `wait`) not to be had.
    """
    if sys.platform == "win32":  # nothing is locked, and nothing is removed
        if not wait:
            raise OSError("no locks")
        yield
        return
    is_folder = stat.S_ISDIR(path.lstat().st_mode)
    file = path / _LOCK if is_folder else path
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_CREAT if is_folder else 0)
    handle = os.open(file, flags, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            if not wait:
                raise
        if not os.path.samestat(os.fstat(handle), file.lstat()):
            raise FileNotFoundError(file)
        yield
    finally:
        os.close(handle)
