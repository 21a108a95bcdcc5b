"""The child's side of `run_tasks`: a process that takes tasks on its standard input and answers on its output.

One line of JSON a message. Where the parent dies, its end of the pipe closes, and the task that runs is interrupted as
by Ctrl-C, so that no training goes on with nobody to collect it.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlstitch.jobs.progress import OnProgress
from rlstitch.jobs.resources import collect_garbage_rarely
from rlstitch.jobs.tasks import Answer, execute, throttled
from rlstitch.storage.files import check_target


def main() -> None:
    """Serve tasks until the standard input closes."""
    collect_garbage_rarely()
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits that it is ignored
    tasks: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    busy, orphaned = threading.Event(), threading.Event()

    def send(message: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # the parent is gone; `listen` ends this process
            replies.write(json.dumps(message, allow_nan=False) + "\n")

    def listen() -> None:
        for line in sys.stdin:
            tasks.put(json.loads(line))
        tasks.put(None)
        orphaned.set()
        if busy.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    def report(done: int, total: int) -> None:
        send({"kind": "progress", "done": int(done), "total": int(total)})

    threading.Thread(target=listen, daemon=True).start()
    send({"kind": "ready"})
    with contextlib.suppress(KeyboardInterrupt):
        while (task := tasks.get()) is not None:
            busy.set()
            if orphaned.is_set():
                break
            try:
                answer = _run(task, throttled(report))
            except KeyboardInterrupt:  # between a task's end and its answer
                break
            except BaseException as error:
                # Its traceback goes to the task's log as this process ends; the parent starts another.
                line = f"{type(error).__name__}: {' '.join(str(error).split())}"[:2000]
                send({"kind": "failed", "error": line, "last": True})
                raise
            busy.clear()
            send(answer)


def _run(task: dict[str, Any], on_progress: OnProgress) -> Answer:
    sys.argv = list(task["command"])  # what artefacts record as the command that made them
    if task["log"] is None:
        return execute(task["call"], task["arguments"], on_progress)
    return execute_logged(Path(task["log"]), task["key"], task["call"], task["arguments"], on_progress)


def execute_logged(log: Path, key: str, call: str, arguments: Mapping[str, Any], on_progress: OnProgress) -> Answer:
    """Execute a task as `execute` does; what it prints, and why it failed, is appended to a file."""
    with _output_to(log):
        sys.stderr.write(f"== {key}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        answer = execute(call, arguments, on_progress)
        sys.stderr.write(f"failed: {answer['error']}\n" if answer["kind"] == "failed" else "")
        return answer


@contextlib.contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Append standard output and error to a file. After an exception they stay there, for its traceback."""
    log.parent.mkdir(parents=True, exist_ok=True)
    check_target(log, in_place=True)
    kept = os.dup(1), os.dup(2)
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    yield
    sys.stdout.flush()
    sys.stderr.flush()
    for handle, target in zip(kept, (1, 2), strict=True):
        os.dup2(handle, target)
        os.close(handle)
