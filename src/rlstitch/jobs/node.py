"""The far side of `run_tasks_on_ray`: how a task runs on a node, and how it tells how far it is."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from rlstitch.jobs.files import fetch, pack

_METER_PAUSE = 1.0  # seconds between two looks at how far tasks are


@contextlib.contextmanager
def interrupted_once() -> Iterator[None]:
    """Let the first Ctrl-C interrupt what is done here, and ignore all further ones.

    Ray interrupts a task again and again until it has ended; one that is saving what it did must not be disturbed.
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


def execute_on_node(
    key: str,
    call: str,
    arguments: dict[str, Any],
    names: list[str],
    *inputs: dict[str, bytes],
    threads: int,
    command: list[str],
    folder: str | None,
    partial: bool,
    teller: Any,
) -> tuple[dict[str, Any], str, dict[str, bytes]]:
    """Run a task on a node: its answer, what it printed, and its files where the folder is its own."""
    from rlstitch.jobs.resources import torch_threads
    from rlstitch.jobs.worker import execute, output_to, reporting_to

    # Ray sets this by a task's processors; here it is said, because sums depend on the number of threads.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    sys.argv = list(command)

    def tell(done: int, total: int) -> None:
        teller.tell.remote(key, done, total)

    tell(0, 0)
    with interrupted_once(), tempfile.TemporaryDirectory(prefix="rlstitch-") as own:
        log = Path(own) / "log.txt"
        place = Path(folder) if folder is not None else Path(own) / "work"
        place.mkdir(exist_ok=True)
        for name, files in zip(names, inputs, strict=False):  # none are sent where folders are shared
            fetch(files, place / name)
        with contextlib.chdir(place), torch_threads(threads), output_to(log), reporting_to(tell):
            sys.stderr.write(f"== {key}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
            answer = execute(call, arguments)
        wanted = folder is None and (partial or answer["kind"] == "done")
        return answer, log.read_text(errors="replace"), pack(place, names) if wanted else {}


class Units:
    """How far tasks are; one object in the cluster, which all of them tell."""

    def __init__(self) -> None:
        self.units: dict[str, tuple[int, int]] = {}

    def tell(self, key: str, done: int, total: int) -> None:
        """Take note of a task's units, done and wanted."""
        self.units[key] = (done, total)

    def read(self) -> dict[str, tuple[int, int]]:
        """Return the units of every task that was begun."""
        return self.units


class Meter:
    """The driver's view of it."""

    def __init__(self, ray: Any) -> None:
        self.ray, self.units, self.next = ray, dict[str, tuple[int, int]](), 0.0
        # On this node, which is the last to be lost, as a rule; begun anew elsewhere, it is soon told again.
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=True
        )
        self.actor = ray.remote(Units).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()

    def read(self) -> dict[str, tuple[int, int]]:
        """Return the units of every task that was begun, as they were a moment ago."""
        if time.monotonic() >= self.next:
            with contextlib.suppress(self.ray.exceptions.GetTimeoutError, self.ray.exceptions.RayActorError):
                self.units = self.ray.get(self.actor.read.remote(), timeout=_METER_PAUSE)
            self.next = time.monotonic() + _METER_PAUSE
        return self.units
