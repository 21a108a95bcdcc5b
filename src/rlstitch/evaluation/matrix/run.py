"""Measure a matrix: find what is missing in its folder, measure it, and write the tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlstitch.config.sweep import Resources
from rlstitch.envs import World
from rlstitch.errors import RlstitchError
from rlstitch.evaluation.baselines import plain_world
from rlstitch.evaluation.matrix.plan import NATIVE, Pairing, Plan, native_identity, random_identity
from rlstitch.evaluation.matrix.table import MatrixResults, assemble
from rlstitch.evaluation.matrix.tasks import MODULE, OnProgress, forget_agents, read_cell
from rlstitch.evaluation.matrix.text import markdown, terminal_text
from rlstitch.jobs.local import Outcome, Progress, Task, run_tasks
from rlstitch.jobs.worker import find_callable
from rlstitch.storage import write_bytes, write_json, write_table
from rlstitch.storage.locks import exclusive_lock
from rlstitch.storage.workspace import command_line

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Execution:
    """Where tasks run."""

    workers: int = 1
    """Processes on this computer; 1: this one."""
    ray: str | None = None
    """Address of a Ray cluster (`auto`, `local`, ...), used instead of `workers`."""
    resources: Resources = field(default_factory=Resources)
    """What a task occupies on Ray."""


@dataclass(frozen=True)
class MatrixOutcome:
    """A matrix as it is on the disk. Its text is what the command prints."""

    plan: Plan
    results: MatrixResults
    folder: Path
    failed: tuple[Outcome, ...]
    """Tasks that ended in an error; their cells are missing."""
    interrupted: bool

    @property
    def complete(self) -> bool:
        """Whether every cell is done or refused."""
        return all(cell.state != "missing" for cell in self.results.cells)

    def __str__(self) -> str:
        return terminal_text(self.plan, self.results, self.folder)


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
        InvalidInputError: for fewer than one worker.
        BusyError: another process is working on the same folder.
    """
    with exclusive_lock(folder / "lock", f"the matrix in {folder}"):
        outcomes = _run(open_work(plan, folder), folder, execution or Execution(), on_progress)
        outcome = MatrixOutcome(
            plan,
            assemble(plan, folder, same_seed=same_seed),
            folder,
            tuple(outcome for outcome in outcomes if outcome.state == "failed"),
            any(outcome.state == "interrupted" for outcome in outcomes),
        )
        _write(outcome, same_seed)
    return outcome


def open_work(plan: Plan, folder: Path) -> list[Work]:
    """Return the tasks whose results are not on the disk: baselines first, then one or more an encoder.

    An encoder has several tasks where its controllers are played in different worlds.
    """
    work = _baselines(plan, folder)
    pairs: dict[tuple[str, str], dict[World, Pairing]] = {}
    for pairing in plan.playable:
        if pairing.world is not None:  # two texts can name one world
            key = (pairing.encoder.name, pairing.controller.name)
            pairs.setdefault(key, {}).setdefault(pairing.world, pairing)
    groups: dict[tuple[str, tuple[World, ...]], list[Sequence[Pairing]]] = {}
    for (name, _), places in pairs.items():
        groups.setdefault((name, tuple(places)), []).append(tuple(places.values()))
    for (name, worlds), pairings in groups.items():
        work += _group(plan, folder, f"cells-{name}-{len(work)}", worlds, pairings)
    return work


def _baselines(plan: Plan, folder: Path) -> list[Work]:
    options = plan.options
    played = [*plan.playable, *(pairing for pairing in plan.natives if pairing.world is not None)]
    tasks: dict[str, tuple[str, dict[str, Any]]] = {}
    for pairing in played:
        member = pairing.controller
        tasks[native_identity(member, options)] = ("play_native", {"agent": str(member.folder)})
    for pairing in played:
        if pairing.world is not None:
            world = plain_world(pairing.world)
            tasks[random_identity(world, options)] = ("play_random", {"world": world.to_dict()})
    for pairing in plan.natives:
        if pairing.world is not None and pairing.elsewhere:
            arguments = {"agent": str(pairing.encoder.folder), "world": pairing.world.to_dict()}
            tasks[pairing.identity(NATIVE, options)] = ("play_native", arguments)
    work = []
    for identity, (function, arguments) in tasks.items():
        if read_cell(folder, identity) is None:
            arguments = {"folder": str(folder), "identity": identity, "options": asdict(options), **arguments}
            key = f"{function}-{identity}"
            work.append(Work(Task(key, f"{MODULE}:{function}", arguments, folder / "log.txt"), 1))
    return work


def _group(
    plan: Plan, folder: Path, key: str, worlds: Sequence[World], pairings: Sequence[Sequence[Pairing]]
) -> list[Work]:
    """Return the task of one encoder, if any; `pairings` has a pairing for each world, for each controller."""
    controllers, results = [], 0
    for of_controller in pairings:
        cells = {}
        for method in plan.methods:
            identities = [pairing.identity(method, plan.options) for pairing in of_controller]
            missing = [identity if read_cell(folder, identity) is None else None for identity in identities]
            if any(missing):
                cells[method] = missing
                results += len(missing) - missing.count(None)
        if cells:
            controllers.append({"agent": str(of_controller[0].controller.folder), "cells": cells})
    arguments = {
        "folder": str(folder),
        "encoder": str(pairings[0][0].encoder.folder),
        "worlds": [world.to_dict() for world in worlds],
        "controllers": controllers,
        "options": asdict(plan.options),
    }
    task = Task(key, f"{MODULE}:play_group", arguments, folder / "log.txt")
    return [Work(task, results)] if controllers else []


def _run(work: Sequence[Work], folder: Path, execution: Execution, on_progress: OnProgress | None) -> list[Outcome]:
    total = sum(entry.results for entry in work)
    sizes = {entry.task.key: entry.results for entry in work}
    ended = 0

    def show(running: int) -> None:
        if on_progress is not None:
            on_progress(ended + running, total)

    def on_done(outcome: Outcome) -> None:
        nonlocal ended
        ended += sizes[outcome.key]
        show(0)

    def on_pool(progress: Progress) -> None:
        show(sum(done for done, _ in progress.running.values()))

    tasks = [entry.task for entry in work]
    if execution.ray is not None and tasks:
        from rlstitch.evaluation.matrix.on_ray import run_cells_on_ray

        return run_cells_on_ray(
            tasks,
            folder,
            address=execution.ray,
            resources=execution.resources,
            on_done=on_done,
            on_progress=on_pool,
        )
    if execution.workers != 1 and tasks:
        return run_tasks(tasks, workers=execution.workers, on_done=on_done, on_progress=on_pool)
    return _run_here(tasks, on_done, lambda done, _: show(done))


def _run_here(tasks: Sequence[Task], on_done: Callable[[Outcome], None], on_progress: OnProgress) -> list[Outcome]:
    """Run tasks one after the other in this process; Ctrl-C ends them all, and what was written stays."""
    forget_agents()
    outcomes: list[Outcome] = []
    try:
        for task in tasks:
            try:
                find_callable(task.call)(**task.arguments, on_progress=on_progress)
                outcome = Outcome(task.key, "done")
            except RlstitchError as error:
                outcome = Outcome(task.key, "failed", error=" ".join(str(error).split()))
            outcomes.append(outcome)
            on_done(outcome)
    except KeyboardInterrupt:
        outcomes += [Outcome(task.key, "interrupted") for task in tasks[len(outcomes) :]]
    finally:
        forget_agents()
    return outcomes


def _write(outcome: MatrixOutcome, same_seed: bool) -> None:
    plan, results, folder = outcome.plan, outcome.results, outcome.folder
    keys = ("encoder", "controller", "method", "place", "reason")
    refused = [{key: getattr(cell, key) for key in keys} for cell in results.cells if cell.state == "refused"]
    write_table([cell.to_dict() for cell in results.cells], folder / "cells")
    write_bytes(folder / "summary.md", markdown(plan, results, complete=outcome.complete).encode())
    members = [
        {"name": m.name, "identity": m.identity, "seed": m.seed, "world": m.world.to_dict()} for m in plan.members
    ]
    content = {
        "complete": outcome.complete,
        "command": command_line(),
        "methods": list(plan.methods),
        "worlds": list(plan.places),
        "options": asdict(plan.options),
        "same_seed_counted": same_seed,
        "agents": members,
        "left_out": list(plan.left_out),
        "refused": refused,
        "failed": [{"task": task.key, "error": task.error} for task in outcome.failed],
        "summary": [asdict(entry) for entry in results.methods],
        "comparisons": [asdict(entry) for entry in results.comparisons],
    }
    write_json(folder / "matrix.json", content, schema_version=SCHEMA_VERSION)
