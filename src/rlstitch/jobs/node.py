"""The far side of `run_tasks_on_ray`: how a task runs on a node, and how it reports its progress."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rlstitch.jobs.resources import torch_threads
from rlstitch.jobs.tasks import Answer, throttled
from rlstitch.jobs.transfer import pack, unpack
from rlstitch.jobs.worker import execute_logged


@dataclass(frozen=True)
class Order:
    """A task as it is sent to a node."""

    key: str
    call: str
    arguments: dict[str, Any]
    threads: int
    command: list[str]
    folder: str | None
    """The working folder where all nodes share it; None: a temporary one."""
    inputs: tuple[str, ...] = ()
    """Where in a temporary folder the folders that are sent along go."""
    outputs: tuple[str, ...] = ()
    """Folders in a temporary folder that are sent back."""
    keep_partial: bool = False


def run_on_node(order: Order, meter: Any, *inputs: dict[str, bytes]) -> tuple[Answer, str, list[dict[str, bytes]]]:
    """Run a task on a node; returns its answer, what it printed, and the files of its outputs."""
    # Ray sets this by a task's processors; it is set here because sums depend on the number of threads.
    os.environ["OMP_NUM_THREADS"] = str(order.threads)
    sys.argv = list(order.command)
    meter.report.remote(order.key, 0, 0)
    report = throttled(lambda done, total: meter.report.remote(order.key, done, total))
    with interrupted_once(), tempfile.TemporaryDirectory(prefix="rlstitch-") as own:
        log, folder = Path(own) / "log.txt", Path(order.folder or f"{own}/work")
        folder.mkdir(exist_ok=True)
        for name, files in zip(order.inputs, inputs, strict=True):
            unpack(files, folder / name)
        with contextlib.chdir(folder), torch_threads(order.threads):
            answer = execute_logged(log, order.key, order.call, order.arguments, report)
        written = []
        if order.keep_partial or answer["kind"] == "done":
            written = [pack(folder / name) if (folder / name).is_dir() else {} for name in order.outputs]
        return answer, log.read_text(errors="replace"), written


@contextlib.contextmanager
def interrupted_once() -> Iterator[None]:
    """Let the first Ctrl-C interrupt what is done here, and ignore all further ones.

    Ray interrupts a task again and again until it has ended; one that is saving its work must not be disturbed.
    """
    before = signal.getsignal(signal.SIGINT)

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Meter:
    """The progress of all tasks; one object in the cluster, to which they report."""

    def __init__(self) -> None:
        self.units: dict[str, tuple[int, int]] = {}

    def report(self, key: str, done: int, total: int) -> None:
        """Note the units of a task, done and in all."""
        self.units[key] = (done, total)

    def read(self) -> dict[str, tuple[int, int]]:
        """Return the units of every task that was started."""
        return self.units
