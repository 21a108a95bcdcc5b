"""The tasks of `run_tasks` on a Ray cluster: the same functions, the same answers.

What a task writes comes back in one of two ways. Where all nodes see the working folder (`shared`), tasks write there
and go on from what is there after a node was lost. Else each task works in a folder of its own, its inputs and its
files travel through Ray's object store, and a task whose node was lost starts anew. Ray itself sends Python objects
between its processes: connect to a cluster that you trust.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlstitch.errors import ArtefactError, BusyError, InvalidInputError, MissingExtraError, RlstitchError
from rlstitch.jobs.files import fetch, pack
from rlstitch.jobs.local import Outcome, Progress, Task
from rlstitch.jobs.node import Meter, execute_on_node
from rlstitch.storage.locks import exclusive_lock

MAX_RETRIES = 3
_BUSY_PAUSE = 1.0
_GRACE = 60.0  # seconds that interrupted tasks have to end


def run_tasks_on_ray(
    tasks: Iterable[Task],
    *,
    address: str,
    cpus: float = 1,
    gpus: float = 0,
    threads: int = 1,
    shared: bool = False,
    partial: bool = False,
    root: Path = Path(),
    on_done: Callable[[Outcome], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    known: Callable[[str], Any] | None = None,
    before_replace: Callable[[Path], None] | None = None,
) -> list[Outcome]:
    """Run tasks on the nodes of a Ray cluster; each is tried again where its node or process was lost.

    Args:
        tasks: as for `run_tasks`; a task's `lock` is held here as long as it runs elsewhere, and its `inputs` are sent.
        address: `auto` for the cluster that runs here, `local` to start one, or a cluster's address.
        cpus, gpus: what a task occupies; half a GPU lets two share one.
        threads: numerical threads a task.
        shared: whether every node sees the current folder under the same path; then nothing is sent.
        partial: bring back what a task wrote that failed or was interrupted, too.
        root: where files come back to.
        on_done, on_progress: as for `run_tasks`.
        known: told the key of a task whose lock was taken just now, returns its value where another process has done
            it in the meantime, else None.
        before_replace: told of a folder that holds an older artefact, before what came back takes its place.

    Raises:
        MissingExtraError: Ray is not installed.
        InvalidInputError: no cluster answers at the address.
    """
    ordered = list(tasks)
    with _connected(address) as ray:
        remote = ray.remote(execute_on_node).options(num_cpus=cpus, num_gpus=gpus, max_retries=MAX_RETRIES)
        place = str(Path.cwd()) if shared else None
        meter = Meter(ray)
        common = {
            "threads": threads,
            "command": sys.argv,
            "folder": place,
            "partial": partial,
            "teller": meter.actor,
        }

        def start(task: Task) -> Any:
            sent = [] if shared else [board.sent(folder) for folder in task.inputs.values()]
            return remote.remote(task.key, task.call, dict(task.arguments), list(task.inputs), *sent, **common)

        board = _Board(ray, {"CPU": cpus, "GPU": gpus}, shared, root, known, before_replace, on_done, deque(ordered))
        try:
            while board.waiting or board.running:
                board.submit(start)
                board.collect()
                if on_progress is not None:
                    on_progress(board.progress(meter.read()))
        except KeyboardInterrupt:
            board.cancel()
        finally:
            board.locks.close()
    return [board.outcomes.get(task.key, Outcome(task.key, "interrupted")) for task in ordered]


@dataclass
class _Board:
    ray: Any
    needs: dict[str, float]
    shared: bool
    root: Path
    known: Callable[[str], Any] | None
    before_replace: Callable[[Path], None] | None
    on_done: Callable[[Outcome], None] | None
    waiting: deque[Task]
    running: dict[Any, tuple[Task, float, contextlib.ExitStack]] = field(default_factory=dict)
    again: dict[str, float] = field(default_factory=dict)
    """Key of a task that another process holds, to the moment at which it is tried again."""
    busy: dict[str, str] = field(default_factory=dict)
    """Key of such a task to who holds it."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    locks: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    inputs: dict[Path, Any] = field(default_factory=dict)
    """What was sent already: many tasks read one folder."""

    def progress(self, units: dict[str, tuple[int, int]]) -> Progress:
        handed = {task.key for task, _, _ in self.running.values()}
        begun = {key: found for key, found in units.items() if key in handed}  # others wait for a processor
        busy = {task.key: self.busy[task.key] for task in self.waiting if task.key in self.busy}
        return Progress(begun, len(self.waiting) - len(busy) + len(handed) - len(begun), busy)

    def sent(self, folder: Path) -> Any:
        if folder not in self.inputs:
            self.inputs[folder] = self.ray.put(pack(folder))
        return self.inputs[folder]

    def _room(self) -> int:
        """How many more tasks to hand over: twice what runs at once, so that no node waits and no lock is hoarded."""
        there = self.ray.cluster_resources()
        slots = [int(there.get(name, 0) // need) for name, need in self.needs.items() if need > 0]
        return 2 * max(1, min(slots, default=1)) - len(self.running)

    def submit(self, start: Callable[[Task], Any]) -> None:
        room = self._room()
        for _ in range(len(self.waiting)):
            if room <= 0:
                return
            task = self.waiting.popleft()
            if self.again.get(task.key, 0.0) > time.monotonic():
                self.waiting.append(task)
                continue
            with contextlib.ExitStack() as held:
                try:
                    if task.lock is not None and not self.shared:  # in a shared folder the task itself locks and looks
                        held.enter_context(exclusive_lock(task.lock, task.key))
                        value = self.known(task.key) if self.known is not None else None
                        if value is not None:
                            self._end(Outcome(task.key, "done", value))
                            continue
                    reference = start(task)
                except BusyError as error:
                    self._later(task, str(error))
                    continue
                except ArtefactError as error:
                    self._end(Outcome(task.key, "failed", error=" ".join(str(error).split())))
                    continue
                room -= 1
                kept = held.pop_all()
                self.locks.push(kept.__exit__)
                self.busy.pop(task.key, None)
                self.running[reference] = (task, time.monotonic(), kept)

    def collect(self) -> None:
        if not self.running:
            time.sleep(0.2 if self.waiting else 0)
            return
        ready, _ = self.ray.wait(list(self.running), num_returns=1, timeout=0.5)
        for reference in ready:
            task, started, held = self.running.pop(reference)
            with held:
                answer = self._answer(task, reference)
                if answer["kind"] == "busy":
                    self._later(task, str(answer["error"]))
                    continue
                error, seconds = str(answer.get("error", "")), time.monotonic() - started
                self._end(Outcome(task.key, answer["kind"], answer.get("value"), error, seconds))

    def _end(self, outcome: Outcome) -> None:
        self.busy.pop(outcome.key, None)
        self.outcomes[outcome.key] = outcome
        if self.on_done is not None:
            self.on_done(outcome)

    def cancel(self) -> None:
        """Interrupt what runs, give it time to end, and keep what it brings."""
        for reference in self.running:
            self.ray.cancel(reference)
        references = list(self.running)
        ready, _ = self.ray.wait(references, num_returns=len(references), timeout=_GRACE) if references else ([], [])
        for reference in ready:
            task, started, held = self.running.pop(reference)
            with held:
                answer = self._answer(task, reference)
                if answer["kind"] == "done":  # just before
                    self._end(Outcome(task.key, "done", answer["value"], seconds=time.monotonic() - started))

    def _answer(self, task: Task, reference: Any) -> dict[str, Any]:
        try:
            answer, log, files = self.ray.get(reference)
        except self.ray.exceptions.TaskCancelledError:  # before it was begun
            return {"kind": "interrupted"}
        except self.ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            _append(task.log, f"{error}\n")
            return {"kind": "failed", "error": lines[-1][:500]}
        _append(task.log, log)
        try:
            fetch(files, self.root, self.before_replace)
        except RlstitchError as error:
            return {"kind": "failed", "error": str(error)}
        found: dict[str, Any] = answer
        return found

    def _later(self, task: Task, holder: str) -> None:
        self.busy[task.key] = holder
        self.again[task.key] = time.monotonic() + _BUSY_PAUSE
        self.waiting.append(task)


def _append(log: Path | None, text: str) -> None:
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(text)


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.exceptions
        import ray.util.scheduling_strategies
    except ImportError:
        raise MissingExtraError("running tasks on Ray", "ray") from None
    ours = not ray.is_initialized()
    if ours:
        try:
            begin: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
            ray.init(address=address, **begin, log_to_driver=False, logging_level="error")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InvalidInputError(f"ray: no cluster at {address!r}: {' '.join(str(error).split())[:300]}") from None
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()
