"""Where runs are read and written, and what every run records about itself."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlstitch.errors import InvalidInputError

AGENTS, ANCHORS, RUNS, VIDEOS = Path("agents"), Path("anchors"), Path("runs"), Path("videos")


def command_line() -> str:
    """Return the command that is running, without the path of its program."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv else ""


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
