"""Tasks: what one is, how it is executed, and which of them wait, run again or have ended."""

from __future__ import annotations

import importlib
import inspect
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlstitch.errors import BusyError, InvalidInputError, RlstitchError
from rlstitch.jobs.progress import OnProgress
from rlstitch.storage.text import printable

Ending = Literal["done", "failed", "interrupted"]
Answer = dict[str, Any]
"""`kind` (an `Ending`, or `busy`), and `value` or `error`."""
_BUSY_PAUSE = 1.0  # seconds before a task that another process holds is tried again
_REPORT_INTERVAL = 0.5  # seconds between two reports of progress


@dataclass(frozen=True)
class Task:
    """One piece of work: a function by its name, and its arguments.

    The function returns JSON and raises an `RlstitchError` where it fails. A parameter `on_progress` of it is given a
    function that takes the units done and the units in all.
    """

    key: str
    """Names the task; unique among those of one call."""
    call: str
    """`package.module:function`."""
    arguments: Mapping[str, Any]
    """Keyword arguments: JSON in which folders stand as `Path`. The function gets them as strings. A node of a cluster
    that does not share the working folder gets a copy of every folder that is not in `writes`."""
    log: Path | None = None
    """Where the output of the task is appended; None: standard error."""
    lock: Path | None = None
    """The lock that the task takes; where the task runs on a node that does not see it, it is held on its behalf."""
    writes: tuple[Path, ...] = ()
    """Folders that the task writes to; what it writes on a node that does not share them is copied back."""
    keep_partial: bool = False
    """Copy back what was written even where the task failed or was interrupted."""


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
class Status:
    """Which tasks run and which wait at one moment."""

    running: Mapping[str, tuple[int, int]]
    """Units done and in all, by key; (0, 0) before the first report."""
    waiting: int
    busy: Mapping[str, str]
    """Who holds each task that another process is working on, by key."""


class TaskQueue:
    """The tasks that wait and the outcomes of those that ended."""

    def __init__(self, tasks: Iterable[Task], on_done: Callable[[Outcome], None] | None = None) -> None:
        """Queue tasks.

        Raises:
            InvalidInputError: two tasks have one key.
        """
        self.tasks = list(tasks)
        self.waiting = deque(self.tasks)
        self._outcomes: dict[str, Outcome] = {}
        self._busy: dict[str, tuple[float, str]] = {}
        self._on_done = on_done
        for key, count in Counter(task.key for task in self.tasks).items():
            if count > 1:
                raise InvalidInputError(f"tasks: expected different keys, found {key!r} twice")

    def next(self) -> Task | None:
        """Take the first task that may be started now."""
        for _ in range(len(self.waiting)):
            task = self.waiting.popleft()
            if self._busy.get(task.key, (0.0, ""))[0] <= time.monotonic():
                return task
            self.waiting.append(task)
        return None

    def answer(self, task: Task, answer: Answer, started: float = float("inf")) -> None:
        """Record the answer of a task that was started at a moment of `time.monotonic`: retry later, or its outcome."""
        error = str(answer.get("error", ""))
        if answer["kind"] == "busy":
            self._busy[task.key] = (time.monotonic() + _BUSY_PAUSE, error)
            self.waiting.append(task)
            return
        self._busy.pop(task.key, None)
        seconds = max(0.0, time.monotonic() - started)
        outcome = Outcome(task.key, answer["kind"], answer.get("value"), error, seconds)
        self._outcomes[task.key] = outcome
        if self._on_done is not None:
            self._on_done(outcome)

    def status(self, running: Mapping[str, tuple[int, int]], submitted: int = 0) -> Status:
        """Return what runs and what waits; `submitted` tasks were handed over and wait elsewhere."""
        busy = {task.key: self._busy[task.key][1] for task in self.waiting if task.key in self._busy}
        return Status(running, len(self.waiting) - len(busy) + submitted, busy)

    def outcomes(self) -> list[Outcome]:
        """Return the outcome of every task in their order; those that have none were interrupted."""
        return [self._outcomes.get(task.key, Outcome(task.key, "interrupted")) for task in self.tasks]


def find_callable(path: str) -> Callable[..., Any]:
    """Return the function that `package.module:function` names.

    Raises:
        InvalidInputError: there is none.
    """
    module, colon, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), name) if colon else None
    except (ImportError, AttributeError) as error:
        raise InvalidInputError(f"call: cannot import {path!r}: {error}") from None
    if not callable(function):
        raise InvalidInputError(f"call: expected package.module:function, found {path!r}")
    return function


def execute(call: str, arguments: Mapping[str, Any], on_progress: OnProgress) -> Answer:
    """Run a function to its answer. An error that is not an `RlstitchError` is a defect and is not caught."""
    try:
        function = find_callable(call)
        if "on_progress" in _parameters(function):
            arguments = {**arguments, "on_progress": on_progress}
        return {"kind": "done", "value": function(**arguments)}
    except BusyError as error:
        return {"kind": "busy", "error": str(error)}
    except RlstitchError as error:
        return {"kind": "failed", "error": printable(error)}
    except KeyboardInterrupt:
        return {"kind": "interrupted"}


def _parameters(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return inspect.signature(function).parameters
    except ValueError:  # a function written in C may have no signature
        return {}


def plain(arguments: Any, name: Callable[[Path], str] = str) -> Any:
    """Return arguments with every `Path` replaced by its name."""
    if isinstance(arguments, Path):
        return name(arguments)
    if isinstance(arguments, Mapping):
        return {key: plain(value, name) for key, value in arguments.items()}
    return [plain(value, name) for value in arguments] if isinstance(arguments, (list, tuple)) else arguments


def throttled(on_progress: OnProgress) -> OnProgress:
    """Return a function that passes progress on twice a second at most, and always where all is done."""
    last = float("-inf")

    def report(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _REPORT_INTERVAL or done >= total:
            last = time.monotonic()
            on_progress(done, total)

    return report
