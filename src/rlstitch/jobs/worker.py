"""The child's side of `run_tasks`: a process that takes tasks on its standard input and answers on its output.

One line of JSON a message. A task names a function (`package.module:function`) and its keyword arguments; what the
function returns must be JSON. Where the parent dies, its end of the pipe closes, and the task that runs is interrupted
as by Ctrl-C, so that no training goes on without anybody to collect it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rlstitch.errors import BusyError, InvalidInputError, RlstitchError

_REPORT_EVERY = 0.5  # seconds; more often nobody looks
_send: Callable[[dict[str, Any]], None] | None = None
_last_report = 0.0


def report(done: int, total: int) -> None:
    """Say how far the running task is, in units of its own; without effect outside of a worker."""
    global _last_report
    if _send is not None and (time.monotonic() - _last_report >= _REPORT_EVERY or done >= total):
        _last_report = time.monotonic()
        _send({"kind": "progress", "done": int(done), "total": int(total)})


@contextlib.contextmanager
def reporting_to(listener: Callable[[int, int], None]) -> Iterator[None]:
    """Let a listener hear what tasks that run in this process report, where it is no worker of `run_tasks`."""
    global _send, _last_report
    before, _last_report = _send, 0.0
    _send = lambda message: listener(message["done"], message["total"])  # noqa: E731
    try:
        yield
    finally:
        _send = before


def find_callable(path: str) -> Callable[..., Any]:
    """Return the function that `package.module:function` names.

    Raises:
        InvalidInputError: where there is none.
    """
    module, colon, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name) if colon else None
    except (ImportError, AttributeError) as error:
        raise InvalidInputError(f"call: {path!r} cannot be had: {error}") from None
    if not callable(found):
        raise InvalidInputError(f"call: expected package.module:function, found {path!r}")
    function: Callable[..., Any] = found
    return function


def execute(call: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run one task to its answer: done with a value, failed with a line, busy, or interrupted.

    An error that is no `RlstitchError` is a fault of the program: it is not caught here.
    """
    try:
        return {"kind": "done", "value": find_callable(call)(**arguments)}
    except BusyError as error:
        return {"kind": "busy", "error": str(error)}
    except RlstitchError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return {"kind": "failed", "error": " ".join(str(error).split())}
    except KeyboardInterrupt:
        return {"kind": "interrupted"}


def main() -> None:
    """Serve tasks until the standard input closes."""
    global _send
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits that it is ignored
    tasks: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    busy, orphaned = threading.Event(), threading.Event()

    def send(message: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # the parent is gone; the listener ends this process
            replies.write(json.dumps(message, allow_nan=False) + "\n")

    def listen() -> None:
        for line in sys.stdin:
            tasks.put(json.loads(line))
        tasks.put(None)
        orphaned.set()
        if busy.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    _send = send
    threading.Thread(target=listen, daemon=True).start()
    send({"kind": "ready"})
    with contextlib.suppress(KeyboardInterrupt):
        while (task := tasks.get()) is not None:
            busy.set()
            if orphaned.is_set():
                break
            try:
                answer = _logged(task)
            except KeyboardInterrupt:  # between a task's end and its answer
                break
            except BaseException as error:
                # Its trace goes to the task's log as this process ends; the parent starts another.
                line = f"{type(error).__name__}: {' '.join(str(error).split())}"[:2000]
                send({"kind": "failed", "error": line, "last": True})
                raise
            busy.clear()
            send(answer)


def _logged(task: dict[str, Any]) -> dict[str, Any]:
    sys.argv = list(task.get("command") or sys.argv)  # what artefacts record as the command that made them
    log = task.get("log")
    if log is None:
        return execute(task["call"], task["arguments"])
    with output_to(Path(log)):
        sys.stderr.write(f"== {task['key']}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        return execute(task["call"], task["arguments"])


@contextlib.contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Append standard output and error to a file; after an error they stay there, for the trace."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = os.dup(1), os.dup(2)
    with path.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    yield
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(kept[0], 1)
    os.dup2(kept[1], 2)
    for handle in kept:
        os.close(handle)
