"""Whole folders that appear at once, and readers that see the old one or the new one, never both."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader
from pathlib import Path

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.storage.files import check_target, make_folder, open_file, sync_folder, translated_errors
from rlstitch.storage.staging import is_exchanging, private_files, private_folder, recover

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)
_PATIENCE = 200  # waits of 10 ms for a writer that is between two renames


@contextlib.contextmanager
def staged_folder(path: Path, *, force: bool = False, marker: str | None = None) -> Iterator[Path]:
    """Give an empty folder to write in; at its end it becomes `path`; an error leaves no trace.

    With `force` an older folder stays until the new one is complete. Where the system can, the two are exchanged by one
    call; elsewhere the next that looks for the folder ends an exchange that was cut off (`folder_exists`).

    Args:
        path: the folder to appear.
        force: replace a folder that exists.
        marker: with `force`, only a folder that holds this file is replaced (or an empty one), so that a wrong path
            cannot cost a folder of another kind.

    Raises:
        InvalidInputError: `path` exists (without `force`), is a file, or holds something else than expected.
        ArtefactError: the operating system refuses.
    """
    with translated_errors("find", path):
        path = path.resolve()
    recover(path.parent)
    _check_target(path, force, marker)
    make_folder(path.parent)
    with contextlib.ExitStack() as stack:
        with translated_errors("write beside", path):
            fresh, aside = stack.enter_context(private_folder(path))
        yield fresh
        _check_target(path, force, marker)
        with translated_errors("write", path):
            sync_folder(fresh)
            if force:
                _replace(fresh, path, aside)
            else:
                fresh.rename(path)  # fails where a full folder appeared meanwhile
            sync_folder(path.parent)


@contextlib.contextmanager
def staged_files(folder: Path) -> Iterator[Path]:
    """Give an empty folder to write files in; at its end they take the same places in `folder`, all of them or none.

    Where a writer is killed between two of them, the next in this folder, or a reader that calls `recover`, ends it.

    Raises:
        InvalidInputError: what is no regular file stands where a file should be, or a link leads out of the folder.
        ArtefactError: the operating system refuses.
    """
    make_folder(folder)
    with contextlib.ExitStack() as stack:
        with translated_errors("write in", folder):
            recover(folder)
            stage, commit = stack.enter_context(private_files(folder))
        yield stage
        with translated_errors("write in", folder):
            for file in stage.rglob("*"):
                target = folder / file.relative_to(stage)
                if file.is_dir() and target.is_symlink():
                    raise InvalidInputError(f"cannot write in {target}: it is a link")
                if not file.is_dir():
                    check_target(target)
            commit()
            sync_folder(folder)


def folder_exists(path: Path) -> bool:
    """Return whether there is a folder, after ending an exchange of it that was cut off, and waiting for a running one.

    Raises:
        OSError, ValueError: the path is none that the system takes.
    """
    for _ in range(_PATIENCE):
        if path.is_dir():
            return True
        recover(path.parent)
        # Seen before and after: a writer may begin or end in between.
        if not is_exchanging(path) and not path.is_dir() and not is_exchanging(path):
            break
        time.sleep(0.01)
    return path.is_dir()


@contextlib.contextmanager
def opened_together(folder: Path, names: Iterable[str]) -> Iterator[dict[str, BufferedReader]]:
    """Open files of a folder to read, all of one state of it, although writers may replace it meanwhile.

    Raises:
        ArtefactError: the folder or a file is missing, or no file.
    """
    names = list(names)
    while True:
        with contextlib.ExitStack() as stack:
            with translated_errors("read", folder):
                exists = folder_exists(folder)
                try:
                    if os.name == "posix":  # held open before it is looked at, so that no other folder gets its number
                        handle = os.open(folder, os.O_RDONLY)
                        stack.callback(os.close, handle)
                        before = os.fstat(handle)
                    else:
                        before = folder.stat()
                except FileNotFoundError:
                    if exists:  # a writer exchanges it at this moment
                        continue
                    raise
            try:
                files = {name: stack.enter_context(open_file(folder / name)) for name in names}
            except ArtefactError:
                if _is_still(folder, before):
                    raise
                continue
            if _is_still(folder, before):
                yield files
                return


def _is_still(folder: Path, before: os.stat_result) -> bool:
    try:
        return os.path.samestat(before, folder.stat())
    except OSError:
        return False


def _check_target(path: Path, force: bool, marker: str | None) -> None:
    with translated_errors("write", path):
        try:
            # Each is one look at it: another writer may exchange the folder between two.
            is_folder = stat.S_ISDIR(path.stat().st_mode)
            names = {entry.name for entry in path.iterdir()} if is_folder and marker else set[str]()
        except FileNotFoundError:
            return
        except NotADirectoryError:  # above it, or from one look to the next
            is_folder, names = False, set()
        if not is_folder:
            raise InvalidInputError(f"cannot write the folder {path}: a file is in the way")
        if not force:
            raise InvalidInputError(f"{path} is there already; force=True replaces it, or give another name")
        if marker is not None and names and marker not in names:
            raise InvalidInputError(f"cannot overwrite {path}: it holds other files and no {marker}")


def _replace(fresh: Path, path: Path, aside: Path) -> None:
    """Put a folder in the place of another one, or of none; another writer may do the same at any moment."""
    while True:
        try:
            if _exchange(fresh, path):
                return
            shutil.rmtree(aside, ignore_errors=True)  # of a round before, in which another writer was faster
            path.rename(aside)
        except FileNotFoundError:  # there is none to be replaced
            pass
        try:
            fresh.rename(path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                if aside.exists() and not path.exists():
                    aside.rename(path)
                raise


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders by one call; return False where the system or the file system cannot."""
    renameat2 = _renameat2()
    if renameat2 is None:
        return False
    sys.audit("os.rename", str(one), str(other), -1, -1)  # as of every other rename
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(other))
