"""Files of a task that runs on another computer: what it reads travels there, what it writes travels back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.storage import staged_folder, write_bytes
from rlstitch.storage.files import translated_errors

_MANIFESTS = ("agent.json", "anchors.json")


def pack(folder: Path, without: Collection[str] = ()) -> dict[str, bytes]:
    """Read all files below a folder, by their paths in it (`agents/a/agent.json`); lock files are left out.

    Args:
        folder: what is packed.
        without: folders in it that are left out, as paths in it.

    Raises:
        ArtefactError: where there is no such folder, or a file cannot be read.
    """
    left_out = [PurePosixPath(name) for name in without]
    if not folder.is_dir():
        raise ArtefactError(f"cannot read {folder}: there is no such folder")
    found = {}
    with translated_errors("read", folder):
        for path in sorted(folder.rglob("*")):
            name = PurePosixPath(path.relative_to(folder).as_posix())
            if path.suffix != ".lock" and path.is_file() and not any(name.is_relative_to(other) for other in left_out):
                found[str(name)] = path.read_bytes()
    return found


def fetch(files: Mapping[str, bytes], root: Path, before_replace: Callable[[Path], None] | None = None) -> None:
    """Write files that came back; a folder with a manifest appears whole or not at all.

    Args:
        files: contents by paths below `root`.
        root: where they go.
        before_replace: told of a folder that holds an older artefact, before it is replaced.

    Raises:
        InvalidInputError: a path leads out of `root`.
        ArtefactError: the operating system refuses.
    """
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise InvalidInputError(f"a task's file: expected a path below its folder, found {name!r}")
    artefacts = {str(PurePosixPath(name).parent) for name in files if PurePosixPath(name).name in _MANIFESTS}
    for name, content in files.items():
        if str(PurePosixPath(name).parent) not in artefacts:
            write_bytes(root / name, content)
    for folder in sorted(artefacts):
        target = root / folder
        if before_replace is not None and target.is_dir():
            before_replace(target)
        with staged_folder(target, force=True) as stage:
            for name, content in files.items():
                if str(PurePosixPath(name).parent) == folder:
                    write_bytes(stage / PurePosixPath(name).name, content)
