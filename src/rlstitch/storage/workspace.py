"""Where agents, configs and results are read and written, and what is recorded of a run."""

from __future__ import annotations

import hashlib
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Literal

from rlstitch.errors import InvalidInputError
from rlstitch.storage.files import check_target, translated_errors
from rlstitch.storage.locks import exclusive_lock
from rlstitch.storage.text import printable

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""Names are folders: no separators, no leading dot."""
RECORDS = "_grid"
"""The folder beside the runs for what trainings and sweeps keep: locks, logs, failures, older runs, tables."""
Kind = Literal["agents", "configs"]
AGENTS, ANCHORS, RUNS, VIDEOS = Path("agents"), Path("anchors"), Path("runs"), Path("videos")


def command_line() -> str:
    """Return the command that is running, without the path of its program."""
    return printable(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]), squeeze=False) if sys.argv else ""


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a file or folder, whoever chose it."""
    return re.fullmatch(NAME_PATTERN, text) is not None


def file_name(text: str, *, longest: int | None = None) -> str:
    """Return a text with a hyphen for what the name of a file or folder should not hold.

    A name of more than `longest` characters is shortened, with a hash.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")
    if longest is None or len(name) <= longest:
        return name
    return f"{name[: longest - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def agent_lock(name: str, runs: Path = RUNS) -> Path:
    """Return the lock of an agent's name: two writers of one name write to one folder."""
    return runs / RECORDS / "locks" / f"{name}.lock"


@contextmanager
def reserved_agent(name: str, *, agents: Path = AGENTS, force: bool = False) -> Iterator[Path]:
    """Hold the name of an agent while it is made; yield the folder that it will be saved in.

    Raises:
        InvalidInputError: the name cannot be a folder's, or (without `force`) the folder exists.
        BusyError: another process makes an agent of that name.
    """
    new_agent_folder(name, agents=agents, force=force)
    lock = agent_lock(name, agents.parent / RUNS)
    made = [folder for folder in lock.parents if not folder.exists()]
    try:
        with exclusive_lock(lock, f"agent {name!r}"):
            try:
                yield new_agent_folder(name, agents=agents, force=force)
            finally:
                with suppress(OSError):
                    lock.unlink()  # while it is held: filelock takes none that is unlinked
    finally:  # what is refused leaves nothing behind
        for folder in made:
            with suppress(OSError):
                folder.rmdir()


def new_agent_folder(name: str, *, agents: Path = AGENTS, force: bool = False) -> Path:
    """Return the folder that an agent will be saved in; checked before the work, so that no work is lost to a bad name.

    Raises:
        InvalidInputError: the name cannot be a folder's, or (without `force`) the folder exists.
    """
    if not is_name(name):
        raise InvalidInputError(
            "agent name: expected letters, digits, '.', '_' and '-' (at most 100, the first a letter or digit), "
            f"found {name!r}"
        )
    if agents.exists() and not agents.is_dir():
        raise InvalidInputError(f"cannot save an agent in {agents}: expected a folder, found a file")
    folder = agents / name
    if folder.exists() and not force:
        raise InvalidInputError(
            f"an agent {name!r} is there already ({folder}); force=True replaces it, or give another name"
        )
    return folder


def data_roots(kind: Kind, *, working_folder: Path | None = None, package: Path | None = None) -> list[Path]:
    """Return the folders that exist among `./<kind>` and the package's own, in the order in which to look.

    In an installed wheel the package's own lie in `rlstitch/_data/<kind>`; in a clone, at the top of the repository.

    Args:
        kind: what is looked for.
        working_folder: stands for the current folder.
        package: stands for the folder of the `rlstitch` package.
    """
    working_folder = working_folder or Path.cwd()
    package = package or Path(str(files("rlstitch")))
    candidates = [working_folder / kind, package / "_data" / kind]
    clone = package.parent.parent
    if package.parent.name == "src" and (clone / "pyproject.toml").is_file():
        candidates.append(clone / kind)
    unique = dict.fromkeys(path.resolve() for path in candidates)
    return [path for path in unique if path.is_dir()]


def require_new_file(path: Path, suffix: str = "", *, force: bool) -> None:
    """Check the name of a file to be written, before the work.

    Raises:
        InvalidInputError: it has another suffix, there is (without `force`) such a file, or something that is no file.
        ArtefactError: the path is none that the operating system takes.
    """
    if suffix and path.suffix != suffix:
        raise InvalidInputError(f"{path}: expected a name that ends in {suffix}")
    with translated_errors("write", path):
        exists = path.exists()
    if exists and not force:
        raise InvalidInputError(f"{path} is there already; force=True replaces it")
    check_target(path)
