"""Many tasks on a few processes of this computer: `run_tasks`.

A task is a function by its path and JSON arguments, so that trainings, cells of a matrix or anything else share one
pool. Each worker is a fresh Python process (never a fork: torch and CUDA survive none) that runs tasks one after the
other. A task that fails does not stop the others; one whose process is lost (killed, out of memory) is begun again;
one that is locked by another process is tried again later. After Ctrl-C or SIGTERM every running task is
interrupted, ends as it thinks right, and the rest is not begun.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rlstitch.errors import InvalidInputError, RlstitchError
from rlstitch.jobs.resources import available_cores

Ending = Literal["done", "failed", "interrupted"]
MAX_LOSSES = 3
_BUSY_PAUSE = 1.0  # seconds before a task that another process holds is tried again
_GRACE = 60.0  # seconds that interrupted tasks have before they are killed
_START = "from rlstitch.jobs.worker import main; main()"
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Task:
    """One piece of work."""

    key: str
    """Names the task; unique among those of one call."""
    call: str
    """`package.module:function`; the function returns JSON, and raises an `RlstitchError` where it fails."""
    arguments: Mapping[str, Any]
    """Keyword arguments, JSON."""
    log: Path | None = None
    """What the task prints is appended here; None: it goes where the parent's standard error goes."""
    lock: Path | None = None
    """The lock that the task takes; of use to those who run it where that file is not seen."""
    inputs: Mapping[str, Path] = field(default_factory=dict)
    """Folders that the task reads, by the relative paths that its arguments have for them; of use, likewise, to those
    who run it where they are not seen. Here, those paths must lead to them."""


@dataclass(frozen=True)
class Outcome:
    """How a task ended."""

    key: str
    state: Ending
    value: Any = None
    """What the function returned."""
    error: str = ""
    """One line on why it failed."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Progress:
    """What happens at one moment."""

    running: Mapping[str, tuple[int, int]]
    """Key of each running task to units done and wanted (0, 0 before its first report)."""
    waiting: int
    busy: Mapping[str, str]
    """Key of each task that another process holds, to who holds it."""


def run_tasks(
    tasks: Iterable[Task],
    *,
    workers: int = 1,
    threads: int | None = None,
    on_done: Callable[[Outcome], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[Outcome]:
    """Run tasks on worker processes.

    Args:
        tasks: in the order in which they are begun.
        workers: processes at once, 1 or more; there are never more than tasks.
        threads: numerical threads a worker; None: the processors, shared out among the workers.
        on_done: told of each task that ended, in the parent, in the order in which they end.
        on_progress: told of what is running, about twice a second.

    Returns:
        One outcome a task, in the order of the tasks; `interrupted` for those that Ctrl-C stopped or forestalled.

    Raises:
        InvalidInputError: a key stands twice, or `workers` or `threads` is below 1.
        RlstitchError: no worker process can be started.
    """
    ordered = list(tasks)
    twice = [key for key, count in Counter(task.key for task in ordered).items() if count > 1]
    if twice:
        raise InvalidInputError(f"tasks: expected different keys, found {twice[0]!r} twice")
    for name, value in (("workers", workers), ("threads", threads)):
        if value is not None and value < 1:
            raise InvalidInputError(f"{name}: expected 1 or more, found {value}")
    threads = threads or max(1, available_cores() // workers)
    with _counted_interrupts() as interrupts:
        pool = _Pool(ordered, min(workers, len(ordered)), threads, on_done, interrupts)
        pool.run(on_progress)
    return [pool.outcomes.get(task.key, Outcome(task.key, "interrupted")) for task in ordered]


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[str]
    reader: threading.Thread = field(default_factory=threading.Thread)
    task: Task | None = None
    started: float = 0.0
    units: tuple[int, int] = (0, 0)
    ready: bool = False
    ending: bool = False
    """After its last answer: it takes no more tasks."""


@dataclass
class _Pool:
    tasks: list[Task]
    size: int
    threads: int
    on_done: Callable[[Outcome], None] | None
    interrupts: list[int]
    """One number a signal that wants an end: the first interrupts, the second kills."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    workers: list[_Worker] = field(default_factory=list)
    losses: Counter[str] = field(default_factory=Counter)
    busy: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Key to the moment at which to try again, and who holds it."""
    stopping: bool = False

    def __post_init__(self) -> None:
        self.waiting = deque(self.tasks)
        self.events: queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]] = queue.SimpleQueue()

    def run(self, on_progress: Callable[[Progress], None] | None) -> None:
        deadline = float("inf")
        try:
            while self.waiting or any(worker.task for worker in self.workers):
                if self.interrupts and not self.stopping:
                    self.stopping, deadline = True, time.monotonic() + _GRACE
                    self.waiting.clear()
                    self._interrupt()
                if len(self.interrupts) > 1 or time.monotonic() > deadline:
                    break
                self._fill()
                self._take_event()
                if on_progress is not None:
                    on_progress(self._progress())
        finally:
            self._close()

    def _fill(self) -> None:
        now = time.monotonic()
        idle = [worker for worker in self.workers if worker.task is None and worker.ready and not worker.ending]
        while idle and (task := self._next(now)) is not None:
            worker = idle.pop()
            worker.task, worker.started, worker.units = task, now, (0, 0)
            message = {"key": task.key, "call": task.call, "arguments": dict(task.arguments), "command": sys.argv}
            line = json.dumps({**message, "log": None if task.log is None else str(task.log)}, allow_nan=False)
            with contextlib.suppress(BrokenPipeError):  # it has just died; its end is on the way as an event
                print(line, file=worker.process.stdin, flush=True)
        starting = sum(not worker.ready for worker in self.workers)
        for _ in range(min(self.size - len(self.workers), len(self.waiting) - starting)):
            self._start()

    def _next(self, now: float) -> Task | None:
        for _ in range(len(self.waiting)):
            task = self.waiting.popleft()
            if self.busy.get(task.key, (0.0, ""))[0] <= now:
                return task
            self.waiting.append(task)
        return None

    def _start(self) -> None:
        environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(self.threads))}
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            encoding="utf-8",
            # A group of its own: a terminal sends Ctrl-C to the parent only, which tells each worker once.
            process_group=0 if os.name == "posix" else None,
        )
        worker = _Worker(process)
        self.workers.append(worker)
        worker.reader = threading.Thread(target=self._read, args=(worker,), daemon=True)
        worker.reader.start()

    def _read(self, worker: _Worker) -> None:
        if worker.process.stdout is not None:
            with worker.process.stdout as answers:
                for line in answers:
                    with contextlib.suppress(ValueError):  # half a line of a process that was killed
                        self.events.put((worker, json.loads(line)))
        worker.process.wait()
        self.events.put((worker, None))

    def _take_event(self) -> None:
        try:
            worker, message = self.events.get(timeout=0.5)
        except queue.Empty:
            return
        if message is None:
            self._lost(worker)
        elif message["kind"] == "ready":
            worker.ready = True
        elif message["kind"] == "progress":
            worker.units = (message["done"], message["total"])
        elif worker.task is not None:
            self._answered(worker, worker.task, message)

    def _answered(self, worker: _Worker, task: Task, message: dict[str, Any]) -> None:
        worker.task, worker.ending = None, bool(message.get("last"))
        error = str(message.get("error", ""))
        if message["kind"] == "busy" and not self.stopping:
            self.busy[task.key] = (time.monotonic() + _BUSY_PAUSE, error)
            self.waiting.append(task)
            return
        state: Ending = "interrupted" if message["kind"] == "busy" else message["kind"]
        self._end(Outcome(task.key, state, message.get("value"), error, time.monotonic() - worker.started))

    def _end(self, outcome: Outcome) -> None:
        self.busy.pop(outcome.key, None)
        self.outcomes[outcome.key] = outcome
        if self.on_done is not None:
            self.on_done(outcome)

    def _lost(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        _close_input(worker)
        status = worker.process.returncode
        if not worker.ready and not self.stopping:
            raise RlstitchError(f"a worker process ended with status {status} before it took a task")
        task, worker.task = worker.task, None
        if task is None:
            return
        self.losses[task.key] += 1
        if self.stopping:
            self._end(Outcome(task.key, "interrupted", seconds=time.monotonic() - worker.started))
        elif self.losses[task.key] < MAX_LOSSES:
            # Killed from outside, as a rule: nothing says that the task is at fault.
            self.waiting.appendleft(task)
        else:
            how = f"by signal {-status}" if status < 0 else f"with status {status}"
            error = f"its process was lost {MAX_LOSSES} times, the last time it ended {how}"
            self._end(Outcome(task.key, "failed", error=error, seconds=time.monotonic() - worker.started))

    def _progress(self) -> Progress:
        running = {worker.task.key: worker.units for worker in self.workers if worker.task is not None}
        held = {task.key: self.busy[task.key][1] for task in self.waiting if task.key in self.busy}
        return Progress(running, len(self.waiting) - len(held), held)

    def _interrupt(self) -> None:
        for worker in self.workers:
            worker.process.send_signal(signal.SIGINT)

    def _close(self) -> None:
        """End every worker: idle ones end when their input closes, others (after a second Ctrl-C) are killed."""
        for worker in self.workers:
            if worker.task is not None:
                worker.process.kill()
            _close_input(worker)
        for worker in self.workers:
            try:
                worker.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.reader.join()


def _close_input(worker: _Worker) -> None:
    if worker.process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            worker.process.stdin.close()


@contextlib.contextmanager
def _counted_interrupts() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of raising at any line; only a main thread can."""
    interrupts: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    wanted = (signal.SIGINT, signal.SIGTERM)
    before = [(number, signal.signal(number, lambda number, frame: interrupts.append(number))) for number in wanted]
    try:
        yield interrupts
    finally:
        for number, handler in before:
            signal.signal(number, handler)
