"""The tasks of `run_tasks` on a Ray cluster: the same functions, the same answers.

What a task writes comes back in one of two ways. Where all nodes see the working folder (`shared`), tasks write there
and go on from their checkpoints after a node was lost. Else each task works in a folder of its own, its files travel
back through Ray's object store, and a task whose node was lost starts anew. Ray itself sends Python objects between its
processes: connect to a cluster that you trust.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from rlstitch.errors import BusyError, InvalidInputError, MissingExtraError, RlstitchError
from rlstitch.pipelines.grid_runner import Outcome, Progress, Task
from rlstitch.storage import staged_folder, write_bytes
from rlstitch.storage.locks import exclusive_lock

MAX_RETRIES = 3
_MANIFESTS = ("agent.json", "anchors.json")
_BUSY_PAUSE = 1.0


def run_tasks_on_ray(
    tasks: Iterable[Task],
    *,
    address: str,
    cpus: float = 1,
    gpus: float = 0,
    threads: int = 1,
    shared: bool = False,
    on_done: Callable[[Outcome], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    before_replace: Callable[[Path], None] | None = None,
) -> list[Outcome]:
    """Run tasks on the nodes of a Ray cluster; each is tried again where its node or process was lost.

    Args:
        tasks: as for `run_tasks`; a task's `lock` is held here as long as it runs elsewhere.
        address: `auto` for the cluster that runs here, `local` to start one, or a cluster's address.
        cpus, gpus: what a task occupies; half a GPU lets two share one.
        threads: numerical threads a task.
        shared: whether every node sees the current folder under the same path.
        on_done, on_progress: as for `run_tasks`; units of running tasks are not known here.
        before_replace: told of a folder that holds an older artefact, before what came back takes its place.

    Raises:
        MissingExtraError: Ray is not installed.
        InvalidInputError: no cluster answers at the address.
    """
    ordered = list(tasks)
    with _connected(address) as ray:
        remote = ray.remote(_execute).options(num_cpus=cpus, num_gpus=gpus, max_retries=MAX_RETRIES)
        common = {"threads": threads, "command": sys.argv, "folder": str(Path.cwd()) if shared else None}
        board = _Board(ray, {"CPU": cpus, "GPU": gpus}, shared, before_replace, on_done, deque(ordered))
        try:
            while board.waiting or board.running:
                board.submit(lambda task: remote.remote(task.key, task.call, dict(task.arguments), **common))
                board.collect()
                if on_progress is not None:
                    on_progress(Progress(dict.fromkeys(board.names(), (0, 0)), len(board.waiting), {}))
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
    before_replace: Callable[[Path], None] | None
    on_done: Callable[[Outcome], None] | None
    waiting: deque[Task]
    running: dict[Any, tuple[Task, float, contextlib.ExitStack]] = field(default_factory=dict)
    again: dict[str, float] = field(default_factory=dict)
    """Key of a task that another process holds, to the moment at which it is tried again."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    locks: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def names(self) -> list[str]:
        return [task.key for task, _, _ in self.running.values()]

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
            held = contextlib.ExitStack()
            try:
                if task.lock is not None and not self.shared:  # in a shared folder the task itself locks
                    held.enter_context(exclusive_lock(task.lock, task.key))
            except BusyError:
                self._later(task)
                continue
            room -= 1
            self.locks.push(held.__exit__)
            self.running[start(task)] = (task, time.monotonic(), held)

    def collect(self) -> None:
        if not self.running:
            time.sleep(0.2)
            return
        ready, _ = self.ray.wait(list(self.running), num_returns=1, timeout=0.5)
        for reference in ready:
            task, started, held = self.running.pop(reference)
            with held:
                answer = self._answer(task, reference)
                if answer["kind"] == "busy":
                    self._later(task)
                    continue
                error = str(answer.get("error", ""))
                outcome = Outcome(task.key, answer["kind"], answer.get("value"), error, time.monotonic() - started)
                self.outcomes[task.key] = outcome
                if self.on_done is not None:
                    self.on_done(outcome)

    def cancel(self) -> None:
        for reference in self.running:
            self.ray.cancel(reference)
        self.ray.wait(list(self.running), num_returns=len(self.running), timeout=60) if self.running else None

    def _answer(self, task: Task, reference: Any) -> dict[str, Any]:
        try:
            answer, log, files = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            if task.log is not None:
                write_bytes(task.log, f"{error}\n".encode())
            return {"kind": "failed", "error": lines[-1][:500]}
        if task.log is not None:
            write_bytes(task.log, log.encode())
        try:
            fetch(files, Path(), self.before_replace)
        except RlstitchError as error:
            return {"kind": "failed", "error": str(error)}
        found: dict[str, Any] = answer
        return found

    def _later(self, task: Task) -> None:
        self.again[task.key] = time.monotonic() + _BUSY_PAUSE
        self.waiting.append(task)


def fetch(files: dict[str, bytes], root: Path, before_replace: Callable[[Path], None] | None = None) -> None:
    """Write files that came back; a folder with a manifest appears whole or not at all.

    Raises:
        InvalidInputError: a path leads out of `root`.
        ArtefactError: the operating system refuses.
    """
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise InvalidInputError(f"a task's file: expected a path below its folder, found {name!r}")
    artefacts = {str(PurePosixPath(name).parent) for name in files if PurePosixPath(name).name in _MANIFESTS}
    for name, content in files.items():
        if str(PurePosixPath(name).parent) not in artefacts:
            write_bytes(root / name, content)
    for folder in sorted(artefacts):
        target = root / folder
        if before_replace is not None and target.is_dir():
            before_replace(target)
        with staged_folder(target, force=True) as stage:
            for name, content in files.items():
                if str(PurePosixPath(name).parent) == folder:
                    write_bytes(stage / PurePosixPath(name).name, content)


def _execute(
    key: str, call: str, arguments: dict[str, Any], *, threads: int, command: list[str], folder: str | None
) -> tuple[dict[str, Any], str, dict[str, bytes]]:
    """Run a task on a node: its answer, what it printed, and its files where the folder is its own."""
    from rlstitch.pipelines.grid_worker import execute, output_to
    from rlstitch.pipelines.runs import torch_threads

    # Ray sets this by a task's processors; here it is said, because sums depend on the number of threads.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    sys.argv = list(command)
    with tempfile.TemporaryDirectory(prefix="rlstitch-") as own:
        log = Path(own) / "log.txt"
        place = Path(folder) if folder is not None else Path(own) / "work"
        place.mkdir(exist_ok=True)
        with contextlib.chdir(place), torch_threads(threads), output_to(log):
            sys.stderr.write(f"== {key}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
            answer = execute(call, arguments)
        files = {} if folder is not None or answer["kind"] != "done" else _files(place)
        return answer, log.read_text(errors="replace"), files


def _files(place: Path) -> dict[str, bytes]:
    return {
        path.relative_to(place).as_posix(): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise MissingExtraError("running a grid on Ray", "ray") from None
    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(address=None if address == "local" else address, log_to_driver=False, logging_level="error")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InvalidInputError(f"ray: no cluster at {address!r}: {' '.join(str(error).split())[:300]}") from None
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()
