"""The tasks of `run_tasks` on a Ray cluster: the same functions, the same answers.

Where all nodes share the working folder, tasks write there and continue from what is there after a node was lost. Else
each task works in a temporary folder, its inputs and outputs travel through Ray's object store, and a task whose node
was lost starts anew. Ray sends Python objects between its processes: connect to a cluster that you trust.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlstitch.errors import ArtefactError, BusyError, InvalidInputError, RlstitchError, needs_extra
from rlstitch.jobs.node import Meter, Order, run_on_node
from rlstitch.jobs.tasks import Answer, Outcome, Status, Task, TaskQueue, plain
from rlstitch.jobs.transfer import pack, unpack
from rlstitch.storage.locks import exclusive_lock
from rlstitch.storage.text import printable

MAX_RETRIES = 3
_GRACE = 60.0  # seconds that interrupted tasks have to end
_METER_INTERVAL = 1.0  # seconds


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster and what a task occupies there."""

    address: str
    """`auto` for the cluster that runs on this computer, `local` to start one, or a cluster's address."""
    cpus: float = 1
    gpus: float = 0
    """A number below 1 shares a GPU."""
    shared: bool = False
    """Whether every node sees the working folder under the same path; then nothing is sent."""
    threads: int | None = None
    """Numerical threads a task; None: its processors."""


def run_tasks_on_ray(
    tasks: Iterable[Task],
    cluster: Cluster,
    *,
    on_done: Callable[[Outcome], None] | None = None,
    on_progress: Callable[[Status], None] | None = None,
    on_locked: Callable[[str], Any] | None = None,
) -> list[Outcome]:
    """Run tasks on the nodes of a Ray cluster; each is tried again where its node or process was lost.

    Args:
        tasks: as for `run_tasks`.
        cluster: where they run.
        on_done, on_progress: as for `run_tasks`.
        on_locked: called with the key of a task when its lock was taken on its behalf; returns its value where another
            process has done it in the meantime, else None.

    Raises:
        MissingExtraError: Ray is not installed.
        InvalidInputError: no cluster answers at the address.
    """
    todo = TaskQueue(tasks, on_done)
    with _connected(cluster.address) as ray:
        driver = _Driver(ray, cluster, todo, on_locked)
        try:
            while todo.waiting or driver.running:
                driver.submit()
                driver.collect()
                if on_progress is not None:
                    on_progress(driver.status())
        except KeyboardInterrupt:
            driver.cancel()
        finally:
            driver.locks.close()
    return todo.outcomes()


@dataclass
class _Running:
    task: Task
    outputs: tuple[Path, ...]
    lock: contextlib.ExitStack
    started: float = field(default_factory=time.monotonic)


class _Driver:
    def __init__(self, ray: Any, cluster: Cluster, todo: TaskQueue, on_locked: Callable[[str], Any] | None) -> None:
        self.ray, self.cluster, self.todo, self.on_locked = ray, cluster, todo, on_locked
        self.running: dict[Any, _Running] = {}
        self.locks = contextlib.ExitStack()
        self._remote = ray.remote(run_on_node).options(
            num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_retries=MAX_RETRIES
        )
        # On this node, which is usually the last to be lost; restarted elsewhere, it soon has new reports.
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=True
        )
        self._meter = ray.remote(Meter).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()
        self._units, self._next_reading = dict[str, tuple[int, int]](), 0.0
        self._sent: dict[Path, Any] = {}
        """References to folders that were sent: many tasks read the same."""

    def status(self) -> Status:
        if time.monotonic() >= self._next_reading:
            with contextlib.suppress(self.ray.exceptions.GetTimeoutError, self.ray.exceptions.RayActorError):
                self._units = self.ray.get(self._meter.read.remote(), timeout=_METER_INTERVAL)
            self._next_reading = time.monotonic() + _METER_INTERVAL
        submitted = {entry.task.key for entry in self.running.values()}
        running = {key: units for key, units in self._units.items() if key in submitted}
        return self.todo.status(running, len(submitted) - len(running))

    def submit(self) -> None:
        """Submit twice as many tasks as run at once, so that no node waits and few locks are held."""
        resources = self.ray.cluster_resources()
        needs = {"CPU": self.cluster.cpus, "GPU": self.cluster.gpus}
        slots = [int(resources.get(name, 0) // need) for name, need in needs.items() if need > 0]
        room = 2 * max(1, min(slots, default=1))
        while len(self.running) < room and (task := self.todo.next()) is not None:
            with contextlib.ExitStack() as lock:
                try:
                    if task.lock is not None and not self.cluster.shared:  # in a shared folder the task itself locks
                        lock.enter_context(exclusive_lock(task.lock, task.key))
                        value = None if self.on_locked is None else self.on_locked(task.key)
                        if value is not None:
                            self.todo.answer(task, {"kind": "done", "value": value})
                            continue
                    reference = self._start(task)
                except BusyError as error:
                    self.todo.answer(task, {"kind": "busy", "error": str(error)})
                    continue
                except ArtefactError as error:
                    self.todo.answer(task, {"kind": "failed", "error": printable(error)})
                    continue
                held = lock.pop_all()
                self.locks.push(held)
                self.running[reference] = _Running(task, () if self.cluster.shared else task.writes, held)

    def _start(self, task: Task) -> Any:
        threads = self.cluster.threads or max(1, int(self.cluster.cpus))
        if self.cluster.shared:
            order = Order(task.key, task.call, plain(task.arguments), threads, sys.argv, str(Path.cwd()))
            return self._remote.remote(order, self._meter)
        outputs = {path: _name_on_node(path, number) for number, path in enumerate(task.writes)}
        inputs: dict[Path, str] = {}

        def name(path: Path) -> str:
            return outputs.get(path) or inputs.setdefault(path, f"inputs/{len(inputs)}/{path.name}")

        order = Order(
            task.key,
            task.call,
            plain(task.arguments, name),
            threads,
            sys.argv,
            folder=None,
            inputs=tuple(inputs.values()),
            outputs=tuple(outputs.values()),
            keep_partial=task.keep_partial,
        )
        return self._remote.remote(order, self._meter, *(self._send(path) for path in inputs))

    def _send(self, folder: Path) -> Any:
        if folder not in self._sent:
            self._sent[folder] = self.ray.put(pack(folder))
        return self._sent[folder]

    def collect(self) -> None:
        """Wait a moment for the next task that ends."""
        if not self.running:
            time.sleep(0.2 if self.todo.waiting else 0)
        for entry, answer in self._ended(1, timeout=0.5):
            self.todo.answer(entry.task, answer, entry.started)

    def cancel(self) -> None:
        """Interrupt what runs, give it time to end, and keep what it sends back."""
        for reference in self.running:
            self.ray.cancel(reference)
        for entry, answer in self._ended(len(self.running), timeout=_GRACE):
            if answer["kind"] == "done":  # just before
                self.todo.answer(entry.task, answer, entry.started)

    def _ended(self, count: int, timeout: float) -> Iterator[tuple[_Running, Answer]]:
        """Wait for tasks to end; yield their answers while their locks are held."""
        if self.running:
            ready, _ = self.ray.wait(list(self.running), num_returns=count, timeout=timeout)
            for reference in ready:
                entry = self.running.pop(reference)
                with entry.lock:
                    yield entry, self._answer(entry, reference)

    def _answer(self, entry: _Running, reference: Any) -> Answer:
        try:
            answer, log, written = self.ray.get(reference)
        except self.ray.exceptions.TaskCancelledError:  # before it was started
            return {"kind": "interrupted"}
        except self.ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            _append(entry.task.log, f"{error}\n")
            return {"kind": "failed", "error": lines[-1][:500]}
        _append(entry.task.log, log)
        try:
            for folder, files in zip(entry.outputs, written, strict=False):  # a failed task sends nothing
                unpack(files, folder)
        except RlstitchError as error:
            return {"kind": "failed", "error": str(error)}
        return dict(answer)


def _name_on_node(path: Path, number: int) -> str:
    """Return the name of an output in a task's working folder: the same where it is relative."""
    return f"outputs/{number}" if path.is_absolute() or ".." in path.parts else str(path)


def _append(log: Path | None, text: str) -> None:
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(text)


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with needs_extra("running tasks on Ray", "ray"):
        import ray
        import ray.exceptions
        import ray.util.scheduling_strategies
    ours = not ray.is_initialized()
    if ours:
        try:
            options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
            ray.init(address=address, **options, log_to_driver=False, logging_level="error")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InvalidInputError(f"ray: no cluster at {address!r}: {printable(error, limit=300)}") from None
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()
