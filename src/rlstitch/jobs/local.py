"""Many tasks on a few processes of this computer: `run_tasks`.

Each worker is a fresh Python process (never a fork: torch and CUDA survive none) that runs tasks one after the other. A
task that fails does not stop the others; one whose process is lost (killed, out of memory) is started again; one that
another process holds is tried again later. After Ctrl-C or SIGTERM every running task is interrupted and may save its
work; the others are not started.
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
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rlstitch.errors import InvalidInputError, RlstitchError
from rlstitch.jobs.tasks import Answer, Outcome, Status, Task, TaskQueue, execute, plain

__all__ = ["MAX_LOSSES", "Outcome", "Status", "Task", "run_tasks", "run_tasks_here"]

MAX_LOSSES = 3
_GRACE = 60.0  # seconds that interrupted tasks have before they are killed
_START = "from rlstitch.jobs.worker import main; main()"
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def run_tasks(
    tasks: Iterable[Task],
    *,
    workers: int = 1,
    threads: int | None = None,
    on_done: Callable[[Outcome], None] | None = None,
    on_progress: Callable[[Status], None] | None = None,
) -> list[Outcome]:
    """Run tasks on worker processes.

    Args:
        tasks: in the order in which they are started.
        workers: processes at once, 1 or more; there are never more than tasks.
        threads: numerical threads a worker; None: one.
        on_done: called in this process with each outcome, in the order in which tasks end.
        on_progress: called with what is running, about twice a second.

    Returns:
        One outcome a task, in the order of the tasks; `interrupted` for those that Ctrl-C stopped or prevented.

    Raises:
        InvalidInputError: two tasks have one key, or `workers` or `threads` is below 1.
        RlstitchError: no worker process can be started.
    """
    todo = TaskQueue(tasks, on_done)
    for name, value in (("workers", workers), ("threads", threads)):
        if value is not None and value < 1:
            raise InvalidInputError(f"{name}: expected 1 or more, found {value}")
    with _counted_interrupts() as interrupts:
        _Pool(todo, min(workers, len(todo.tasks)), threads or 1, interrupts).run(on_progress)
    return todo.outcomes()


def run_tasks_here(
    tasks: Iterable[Task],
    *,
    on_done: Callable[[Outcome], None] | None = None,
    on_progress: Callable[[Status], None] | None = None,
) -> list[Outcome]:
    """Run tasks one after the other in this process; Ctrl-C ends all of them. Arguments are those of `run_tasks`."""
    todo = TaskQueue(tasks, on_done)

    def report(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(todo.status({key: (done, total)}))

    try:
        while (task := todo.next()) is not None:
            key, started = task.key, time.monotonic()
            answer = execute(task.call, plain(task.arguments), report)
            if answer["kind"] == "interrupted":
                break
            todo.answer(task, answer, started)
    except KeyboardInterrupt:  # between two tasks
        pass
    return todo.outcomes()


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[str]
    task: Task | None = None
    started: float = 0.0
    units: tuple[int, int] = (0, 0)
    ready: bool = False
    ending: bool = False
    """After its last answer: it takes no more tasks."""
    reader: threading.Thread = field(default_factory=threading.Thread)

    def close_input(self) -> None:
        """Let the process end once it is idle."""
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()


@dataclass
class _Pool:
    todo: TaskQueue
    size: int
    threads: int
    interrupts: list[int]
    """One number a signal that asks for an end: the first interrupts, the second kills."""
    workers: list[_Worker] = field(default_factory=list)
    losses: Counter[str] = field(default_factory=Counter)
    events: queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]] = field(default_factory=queue.SimpleQueue)
    stopping: bool = False

    def run(self, on_progress: Callable[[Status], None] | None) -> None:
        """Run all tasks, or, after a signal, those that run already; at the end no worker is left."""
        deadline = float("inf")
        try:
            while self.todo.waiting or any(worker.task for worker in self.workers):
                if self.interrupts and not self.stopping:
                    self.stopping, deadline = True, time.monotonic() + _GRACE
                    self.todo.waiting.clear()
                    for worker in self.workers:
                        worker.process.send_signal(signal.SIGINT)
                if len(self.interrupts) > 1 or time.monotonic() > deadline:
                    break
                self._fill()
                self._take_event()
                if on_progress is not None:
                    running = {worker.task.key: worker.units for worker in self.workers if worker.task is not None}
                    on_progress(self.todo.status(running))
        finally:
            self._close()

    def _fill(self) -> None:
        idle = [worker for worker in self.workers if worker.task is None and worker.ready and not worker.ending]
        while idle and (task := self.todo.next()) is not None:
            worker = idle.pop()
            worker.task, worker.started, worker.units = task, time.monotonic(), (0, 0)
            message = {"key": task.key, "call": task.call, "arguments": task.arguments, "log": task.log}
            line = json.dumps(plain({**message, "command": sys.argv}), allow_nan=False)
            with contextlib.suppress(BrokenPipeError):  # it has just died; its end is on the way as an event
                print(line, file=worker.process.stdin, flush=True)
        starting = sum(not worker.ready for worker in self.workers)
        for _ in range(min(self.size - len(self.workers), len(self.todo.waiting) - starting)):
            self._start()

    def _start(self) -> None:
        environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(self.threads))}
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            encoding="utf-8",
            # A group of its own: a terminal sends Ctrl-C to the parent only, which interrupts each worker once.
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
            task, worker.task, worker.ending = worker.task, None, bool(message.get("last"))
            self._answer(worker, task, message)

    def _answer(self, worker: _Worker, task: Task, answer: Answer) -> None:
        if self.stopping and answer["kind"] == "busy":
            answer = {"kind": "interrupted"}
        self.todo.answer(task, answer, worker.started)

    def _lost(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        worker.close_input()
        status = worker.process.returncode
        if not worker.ready and not self.stopping:
            raise RlstitchError(f"a worker process ended with status {status} before it took a task")
        task, worker.task = worker.task, None
        if task is None:
            return
        self.losses[task.key] += 1
        if self.stopping:
            self._answer(worker, task, {"kind": "interrupted"})
        elif self.losses[task.key] < MAX_LOSSES:
            self.todo.waiting.appendleft(task)  # it was probably killed from outside
        else:
            how = f"by signal {-status}" if status < 0 else f"with status {status}"
            error = f"its process was lost {MAX_LOSSES} times, the last time it ended {how}"
            self._answer(worker, task, {"kind": "failed", "error": error})

    def _close(self) -> None:
        """End every worker: idle ones end when their input closes, others (after a second Ctrl-C) are killed."""
        for worker in self.workers:
            if worker.task is not None:
                worker.process.kill()
            worker.close_input()
        for worker in self.workers:
            try:
                worker.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.reader.join()


@contextlib.contextmanager
def _counted_interrupts() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of raising at any line; only a main thread can."""
    interrupts: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [(number, signal.signal(number, lambda number, frame: interrupts.append(number))) for number in signals]
    try:
        yield interrupts
    finally:
        for number, handler in before:
            signal.signal(number, handler)
