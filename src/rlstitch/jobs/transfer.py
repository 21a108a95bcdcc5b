"""Folders as plain values, to be sent between computers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.storage import staged_folder, write_bytes
from rlstitch.storage.files import translated_errors

_MANIFESTS = ("agent.json", "anchors.json")


def pack(folder: Path) -> dict[str, bytes]:
    """Read all files below a folder but lock files, by their paths in it (`a/agent.json`).

    Raises:
        ArtefactError: there is no such folder, or a file cannot be read.
    """
    if not folder.is_dir():
        raise ArtefactError(f"cannot read {folder}: there is no such folder")
    with translated_errors("read", folder):
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.suffix != ".lock" and path.is_file()
        }


def unpack(files: Mapping[str, bytes], folder: Path) -> None:
    """Write packed files; a folder with a manifest appears whole or not at all, and replaces an older one.

    Raises:
        InvalidInputError: a path leads out of `folder`.
        ArtefactError: the operating system refuses.
    """
    artefacts: dict[PurePosixPath, dict[str, bytes]] = {}
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise InvalidInputError(f"a task's file: expected a path below its folder, found {name!r}")
        if path.name in _MANIFESTS:
            artefacts[path.parent] = {}
    for name, content in files.items():
        path = PurePosixPath(name)
        if path.parent in artefacts:
            artefacts[path.parent][path.name] = content
        else:
            write_bytes(folder / path, content)
    for parent, contents in artefacts.items():
        with staged_folder(folder / parent, force=True) as stage:
            for name, content in contents.items():
                write_bytes(stage / name, content)
