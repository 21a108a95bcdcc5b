"""Where runs are read and written, and what every run records about itself."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlstitch.errors import InvalidInputError

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""Names are folders: no separators, no leading dot."""
AGENTS, ANCHORS, RUNS, VIDEOS = Path("agents"), Path("anchors"), Path("runs"), Path("videos")


def command_line() -> str:
    """Return the command that is running, without the path of its program."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv else ""


def new_agent_folder(name: str, *, agents: Path = AGENTS, force: bool = False) -> Path:
    """Return the folder that an agent will be saved in; asked before the work, so that no work is lost to a bad name.

    Raises:
        InvalidInputError: where the name cannot be a folder's, or (without `force`) the folder is there already.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise InvalidInputError(
            "agent name: expected letters, digits, '.', '_' and '-' (at most 100, the first a letter or digit), "
            f"found {name!r}"
        )
    if agents.exists() and not agents.is_dir():
        raise InvalidInputError(f"cannot save an agent in {agents}: expected a folder, found a file")
    folder = agents / name
    if folder.exists() and not force:
        raise InvalidInputError(
            f"an agent {name!r} is there already ({folder}); --force replaces it, --name names another"
        )
    return folder


def resolve_device(device: str) -> str:
    """Turn `auto` into `cuda` where there is one, else `cpu`.

    Raises:
        InvalidInputError: where `cuda` is asked for and there is none.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        if not torch.cuda.is_available():
            raise InvalidInputError(f"device: {device!r} was asked for, torch finds no CUDA device (use auto or cpu)")
        _, _, index = device.partition(":")
        if index and int(index) >= torch.cuda.device_count():
            raise InvalidInputError(
                f"device: {device!r} was asked for, torch finds {torch.cuda.device_count()} of them"
            )
    return device


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Run a block with so many torch threads (None: as they are)."""
    import torch

    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
