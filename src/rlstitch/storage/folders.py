"""Whole folders that appear at once: made beside, renamed at the end."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rlstitch.errors import InvalidInputError
from rlstitch.storage.files import make_folder, sync_folder, translated_errors


@contextlib.contextmanager
def staged_folder(path: Path, *, force: bool = False, marker: str | None = None) -> Iterator[Path]:
    """Give an empty folder to write in; at its end it becomes `path`; an error leaves no trace.

    With `force` an older folder stays until the new one is complete, and is put back where the exchange fails.

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
    _check_target(path, force, marker)
    make_folder(path.parent)
    with translated_errors("write beside", path):
        outer = Path(tempfile.mkdtemp(dir=path.parent, prefix=".tmp-", suffix="~"))
    try:
        fresh = outer / "new"  # within the private folder, so that it gets the usual permissions
        with translated_errors("write", fresh):
            fresh.mkdir()
        yield fresh
        _check_target(path, force, marker)
        with translated_errors("write", path):
            sync_folder(fresh)
            if force:
                _exchange(fresh, path, outer / "old")
            else:
                fresh.rename(path)  # fails where a full folder appeared meanwhile
            sync_folder(path.parent)
    finally:
        if path.exists() or not (outer / "old").exists():  # never delete the only copy of the older folder
            shutil.rmtree(outer, ignore_errors=True)


def _check_target(path: Path, force: bool, marker: str | None) -> None:
    with translated_errors("write", path):
        if not path.exists():
            return
        if not path.is_dir():
            raise InvalidInputError(f"cannot write the folder {path}: a file is in the way")
        if not force:
            raise InvalidInputError(f"{path} exists already: choose another name, or overwrite it with force")
        if marker is not None and not (path / marker).is_file() and any(path.iterdir()):
            raise InvalidInputError(f"cannot overwrite {path}: it holds other files and no {marker}")


def _exchange(fresh: Path, path: Path, old: Path) -> None:
    # A folder cannot be renamed over a full one: the old one steps aside first, and back where the second step fails.
    if path.exists():
        path.rename(old)
    try:
        fresh.rename(path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise
