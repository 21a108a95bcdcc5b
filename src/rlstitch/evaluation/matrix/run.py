"""Measure a matrix: find what is missing in its folder, measure it, and write the tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlstitch.config.sweep import Resources
from rlstitch.envs import World, named_modules
from rlstitch.errors import InvalidInputError
from rlstitch.evaluation.baselines import plain_world
from rlstitch.evaluation.matrix.plan import NATIVE, Member, Plan, base_method, native_identity, random_identity
from rlstitch.evaluation.matrix.table import MatrixResults, assemble
from rlstitch.evaluation.matrix.tasks import MODULE, forget_agents, read_cell
from rlstitch.evaluation.matrix.text import markdown, terminal_text
from rlstitch.jobs.local import run_tasks, run_tasks_here
from rlstitch.jobs.progress import OnProgress
from rlstitch.jobs.tasks import Outcome, Status, Task
from rlstitch.stitching.methods import loaded_methods
from rlstitch.storage import command_line, exclusive_lock, sha256_of, staged_files, write_bytes, write_json, write_table

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Where tasks run."""

    workers: int = 1
    """Processes on this computer; 1: this one."""
    ray: str | None = None
    """Address of a Ray cluster (`auto`, `local`, ...), used instead of `workers`."""
    resources: Resources | None = None
    """What a task occupies on Ray; None: one processor, and no folder that all nodes see."""


@dataclass(frozen=True)
class MatrixOutcome:
    """A matrix as it is on the disk. Its text is what the command prints."""

    plan: Plan
    results: MatrixResults
    folder: Path
    failed: tuple[Outcome, ...]
    """Tasks that ended in an error; their cells are missing."""
    interrupted: bool
    videos: tuple[Path, ...] = ()
    """Of the worst cells, where they were asked for."""
    video_problem: str = ""
    """Why there are none."""

    @property
    def complete(self) -> bool:
        """Whether every cell is done or refused."""
        return all(cell.state != "missing" for cell in self.results.cells)

    def __str__(self) -> str:
        lines = [terminal_text(self.plan, self.results, self.folder), *(f"video    {path}" for path in self.videos)]
        return "\n".join(lines + [f"video    not made: {self.video_problem}"] * bool(self.video_problem))


@dataclass(frozen=True)
class Work:
    """A task and how many results it will write."""

    task: Task
    results: int


def measure_matrix(
    plan: Plan,
    folder: Path,
    *,
    execution: Execution | None = None,
    same_seed: bool = False,
    on_progress: OnProgress | None = None,
) -> MatrixOutcome:
    """Measure the cells of a matrix that are not in its folder yet, and write `matrix.json`, `cells.*`, `summary.md`.

    Args:
        plan: agents, methods, worlds and options.
        folder: of the matrix.
        execution: where tasks run; None: in this process.
        same_seed: count pairs of agents of one seed in the means.
        on_progress: called with the number of results measured and to be measured.

    Raises:
        InvalidInputError: for fewer than one worker, or a link in place of the folder of cells.
        BusyError: another process is working on the same folder.
    """
    if (folder / "cells").is_symlink():
        raise InvalidInputError(f"cannot write in {folder / 'cells'}: it is a link")
    with exclusive_lock(folder / "lock", f"the matrix in {folder}"):
        outcomes = _run(open_work(plan, folder), execution or Execution(), on_progress)
        outcome = MatrixOutcome(
            plan,
            assemble(plan, folder, same_seed=same_seed),
            folder,
            tuple(outcome for outcome in outcomes if outcome.state == "failed"),
            any(outcome.state == "interrupted" for outcome in outcomes),
        )
        with staged_files(folder) as stage:
            _write(outcome, same_seed, stage)
    return outcome


def open_work(plan: Plan, folder: Path) -> list[Work]:
    """Return the tasks whose results are not on the disk: baselines first, then one or more an encoder.

    An encoder has a task for each world of its cells, in which the cells of that world are played elsewhere, too.
    """
    work = [
        _work(f"{function}-{identity}", function, folder, plan, 1, identity=identity, **arguments)
        for identity, (function, arguments) in _baselines(plan).items()
        if read_cell(folder, identity) is None
    ]
    groups: dict[tuple[Member, World], dict[Member, dict[str, dict[str, Any]]]] = {}
    for pairing in plan.pairings:
        if pairing.world is not None and pairing.home is not None:
            controllers = groups.setdefault((pairing.encoder, pairing.home), {})
            for method in plan.methods:
                identity = pairing.identity(method, plan.options)  # two texts can name one world
                cell = {"identity": identity, "method": method, "world": pairing.world.to_dict()}
                if read_cell(folder, identity) is None:
                    controllers.setdefault(pairing.controller, {})[identity] = cell
    for (encoder, _), controllers in groups.items():
        cells = [{"agent": _named(agent), "cells": list(cells.values())} for agent, cells in controllers.items()]
        if cells:
            count = sum(map(len, controllers.values()))
            key = f"cells-{encoder.name}-{len(work)}"
            own = loaded_methods({base_method(method).name for method in plan.methods})
            arguments = {"encoder": _named(encoder), "controllers": cells, "methods": own}
            work.append(_work(key, "play_cells", folder, plan, count, **arguments))
    return work


def _named(member: Member) -> list[Any]:
    """Return an agent as tasks take it: its folder, and what they must find there."""
    return [member.folder, member.identity]


def _baselines(plan: Plan) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return function and arguments of the native and random evaluations that the cells need, by identity."""
    options = plan.options
    played = [pairing for pairing in (*plan.pairings, *plan.natives) if pairing.world is not None]
    tasks: dict[str, tuple[str, dict[str, Any]]] = {}
    for pairing in played:
        tasks[native_identity(pairing.controller, options)] = ("play_native", {"agent": _named(pairing.controller)})
    for world in (plain_world(pairing.world) for pairing in played if pairing.world is not None):
        tasks[random_identity(world, options)] = ("play_random", {"world": world.to_dict()})
    for pairing in plan.natives:
        if pairing.world is not None and pairing.elsewhere:
            arguments = {"agent": _named(pairing.encoder), "world": pairing.world.to_dict()}
            tasks[pairing.identity(NATIVE, options)] = ("play_native", arguments)
    return tasks


def _work(key: str, function: str, folder: Path, plan: Plan, results: int, **arguments: Any) -> Work:
    # A card names modules, but only those that are imported here already are imported there.
    named = [name for member in plan.members for name in member.world.modules if name in sys.modules]
    modules = list(dict.fromkeys([*named_modules(), *named]))
    arguments = {"folder": folder, "options": asdict(plan.options), "modules": modules, **arguments}
    # Where one agent cannot be read, a task still has cells of the others.
    task = Task(key, f"{MODULE}:{function}", arguments, folder / "log.txt", writes=(folder,), keep_partial=True)
    return Work(task, results)


def _run(work: Sequence[Work], execution: Execution, on_progress: OnProgress | None) -> list[Outcome]:
    total = sum(entry.results for entry in work)
    sizes = {entry.task.key: entry.results for entry in work}
    ended = 0

    def on_done(outcome: Outcome) -> None:
        nonlocal ended
        ended += sizes[outcome.key]
        if on_progress is not None:
            on_progress(ended, total)

    def on_status(status: Status) -> None:
        if on_progress is not None:
            on_progress(ended + sum(done for done, _ in status.running.values()), total)

    tasks = [entry.task for entry in work]
    if execution.ray is not None and tasks:
        from rlstitch.jobs.on_ray import Cluster, run_tasks_on_ray

        cluster = Cluster(execution.ray, **(execution.resources or Resources()).model_dump())
        return run_tasks_on_ray(tasks, cluster, on_done=on_done, on_progress=on_status)
    if execution.workers != 1 and tasks:
        return run_tasks(tasks, workers=execution.workers, on_done=on_done, on_progress=on_status)
    try:
        return run_tasks_here(tasks, on_done=on_done, on_progress=on_status)
    finally:
        forget_agents()


def _write(outcome: MatrixOutcome, same_seed: bool, folder: Path) -> None:
    plan, results = outcome.plan, outcome.results
    keys = ("encoder", "controller", "method", "place", "reason")
    refused, undefined = (
        [{key: getattr(cell, key) for key in keys} for cell in listed]
        for listed in (results.refused, results.undefined)
    )
    _, cells = write_table([cell.to_dict() for cell in results.cells], folder / "cells")
    write_bytes(folder / "summary.md", markdown(plan, results, complete=outcome.complete).encode())
    members = [
        {"name": m.name, "identity": m.identity, "seed": m.seed, "world": m.world.to_dict()} for m in plan.members
    ]
    content = {
        "complete": outcome.complete,
        "cells_sha256": sha256_of(cells),
        "command": command_line(),
        "methods": list(plan.methods),
        "worlds": list(plan.places),
        "options": asdict(plan.options),
        "same_seed_counted": same_seed,
        "agents": members,
        "left_out": list(plan.left_out),
        "refused": refused,
        "undefined": undefined,
        "failed": [{"task": task.key, "error": task.error} for task in outcome.failed],
        "summary": [asdict(entry) for entry in results.methods],
        "comparisons": [asdict(entry) for entry in results.comparisons],
    }
    write_json(folder / "matrix.json", content, schema_version=SCHEMA_VERSION)
