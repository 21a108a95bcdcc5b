"""Tasks for the tests of `rlstitch.jobs`; workers import this file by its name."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from rlstitch.errors import InvalidInputError
from rlstitch.jobs.tasks import OnProgress
from rlstitch.storage.locks import exclusive_lock


def double(number: int) -> dict[str, object]:
    print("doubling", number)
    return {"twice": 2 * number, "threads": os.environ["OMP_NUM_THREADS"], "command": sys.argv, "process": os.getpid()}


def half_way(path: str, on_progress: OnProgress) -> str:
    """Report one unit of two, and wait until a file is there."""
    on_progress(1, 2)
    while not Path(path).exists():
        time.sleep(0.02)
    return "all the way"


def meet(mine: str, other: str) -> str:
    """Wait for another task that runs at the same time; returns the GPUs that this one sees."""
    Path(mine).touch()
    while not Path(other).exists():
        time.sleep(0.02)
    return os.environ["CUDA_VISIBLE_DEVICES"]


def refuse(reason: str) -> None:
    raise InvalidInputError(reason)


def crash() -> None:
    raise ZeroDivisionError("a fault of the program")


def mark(folder: str, name: str) -> int:
    """Count one more call in a file of its own; returns how many there were before."""
    path = Path(folder)
    before = len(list(path.glob(f"{name}.*")))
    (path / f"{name}.{before}").touch()
    return before


def killed_at_first(folder: str, times: int) -> int:
    before = mark(folder, "killed")
    if before < times:
        os.kill(os.getpid(), 9)
    return before


def wait_for(path: str, started: str, ended: str) -> str:
    """Wait until a file is there; Ctrl-C leaves a mark."""
    try:
        Path(started).touch()  # in here: Ctrl-C may follow at once
        while not Path(path).exists():
            time.sleep(0.02)
    except KeyboardInterrupt:
        Path(ended).parent.mkdir(exist_ok=True)
        Path(ended).touch()
        raise
    return "waited"


def locked(path: str, started: str, go_on: str) -> str:
    with exclusive_lock(Path(path), "the thing"):
        return wait_for(go_on, started, started + ".ended")
