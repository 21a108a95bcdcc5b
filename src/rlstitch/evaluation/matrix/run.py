"""The stitching matrix: every encoder with every controller under every method, cell by cell on the disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlstitch.envs import World
from rlstitch.evaluation.matrix.plan import (
    NATIVE,
    Options,
    Pairing,
    Plan,
    native_identity,
    plain_world,
    plan_matrix,
    random_identity,
)
from rlstitch.evaluation.matrix.table import Figures, assemble
from rlstitch.evaluation.matrix.tasks import MODULE, forget_agents, read_cell
from rlstitch.evaluation.matrix.text import markdown, terminal_text
from rlstitch.evaluation.matrix.worlds import CELL
from rlstitch.jobs.local import Outcome, Progress, Task, run_tasks
from rlstitch.jobs.worker import find_callable
from rlstitch.storage import write_bytes, write_json, write_table
from rlstitch.storage.locks import exclusive_lock
from rlstitch.storage.workspace import RUNS, command_line

if TYPE_CHECKING:
    from rlstitch.config.sweep import Resources

SCHEMA_VERSION = 1
DEFAULT_METHODS = ("naive", "affine", "auto")
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class MatrixResult:
    """A matrix as it stands on the disk. Its text is what the command prints."""

    plan: Plan
    figures: Figures
    folder: Path
    failed: tuple[Outcome, ...]
    """Tasks that ended in an error; their cells are missing."""
    interrupted: bool

    @property
    def complete(self) -> bool:
        """Whether every cell is done or refused."""
        return all(row.state != "missing" for row in self.figures.rows)

    def __str__(self) -> str:
        return terminal_text(self.plan, self.figures, self.folder)


@dataclass(frozen=True)
class Work:
    """A task and how many results it will write."""

    task: Task
    results: int


def run_matrix(
    patterns: Sequence[str],
    *,
    methods: Sequence[str] = DEFAULT_METHODS,
    episodes: int = 100,
    pairs: int = 1024,
    seed: int = 0,
    deterministic: bool = False,
    workers: int = 1,
    same_seed: bool = False,
    without: Sequence[str] = (),
    derived: bool = False,
    worlds: Sequence[str] = (CELL,),
    out: Path | None = None,
    ray: str | None = None,
    resources: Resources | None = None,
    on_progress: OnProgress | None = None,
) -> MatrixResult:
    """Measure every encoder with every other agent's controller; what is on the disk is not measured again.

    Args:
        patterns: names of agents with `*`, `?` and `[...]`, or folders of agents.
        methods: stitching methods.
        without, derived: which agents a pattern does not stand for, as in `plan_matrix`.
        episodes, pairs, seed, deterministic: of each cell, as in `stitch`.
        workers: processes; 1: this one. Figures are the same (but for the last bits, which depend on threads).
        same_seed: count pairs of agents of one seed in the means; they are always measured and marked.
        worlds: where every cell is played: `cell`, the encoder's look with the controller's task; a look; a look, a
            slash and a task. Agents are played with their own parts, too, in each world but `cell`.
        out: the folder; `runs/matrix-<hash8>` where it is None.
        ray: address of a Ray cluster to measure on (`auto`, `local`, ...); `workers` has no part in it.
        resources: what a task occupies there; None: one processor, and no folder that all nodes see.
        on_progress: told of results there and wanted, now and then.

    Returns:
        Figures of all that is on the disk, which `matrix.json`, `cells.csv`, `cells.json` and `summary.md` in the
        folder tell too.

    Raises:
        UnknownNameError, InvalidInputError: as in `plan_matrix`, and for fewer than one worker.
        BusyError: another process is working on the same folder.
    """
    options = Options(episodes, pairs, seed, deterministic)
    plan = plan_matrix(patterns, methods, options, without=without, derived=derived, worlds=worlds)
    folder = RUNS / f"matrix-{plan.hash8}" if out is None else Path(out)
    with exclusive_lock(folder / "lock", f"the matrix in {folder}"):
        work = open_work(plan, folder)
        outcomes = _run(work, folder, workers, ray, resources, on_progress)
        figures = assemble(plan, folder, same_seed=same_seed)
        result = MatrixResult(
            plan,
            figures,
            folder,
            tuple(outcome for outcome in outcomes if outcome.state == "failed"),
            any(outcome.state == "interrupted" for outcome in outcomes),
        )
        _write(result, same_seed)
    return result


def open_work(plan: Plan, folder: Path) -> list[Work]:
    """Return the tasks whose results are not on the disk: baselines first, then a task an encoder.

    An encoder has several tasks where its controllers are played in worlds that differ.
    """
    work = [entry for entry in _baselines(plan, folder) if entry is not None]
    pairs: dict[tuple[str, str], dict[World, Pairing]] = {}
    for pairing in plan.playable:
        if pairing.world is not None:  # two texts can name one world
            key = (pairing.encoder.name, pairing.controller.name)
            pairs.setdefault(key, {}).setdefault(pairing.world, pairing)
    groups: dict[tuple[str, tuple[World, ...]], list[Sequence[Pairing]]] = {}
    for (name, _), places in pairs.items():
        groups.setdefault((name, tuple(places)), []).append(tuple(places.values()))
    for (name, worlds), pairings in groups.items():
        found = _group(plan, folder, f"cells-{name}-{len(work)}", worlds, pairings)
        work += [] if found is None else [found]
    return work


def _baselines(plan: Plan, folder: Path) -> list[Work | None]:
    options = plan.options
    there = [*plan.playable, *(pairing for pairing in plan.natives if pairing.world is not None)]
    controllers = {pairing.controller.name: pairing.controller for pairing in there}
    work: list[Work | None] = [
        _single(folder, "play_native", native_identity(member, options), options, agent=str(member.folder))
        for member in controllers.values()
    ]
    worlds = dict.fromkeys(plain_world(pairing.world) for pairing in there if pairing.world is not None)
    work += [
        _single(folder, "play_random", random_identity(world, options), options, world=world.to_dict())
        for world in worlds
    ]
    abroad = {
        pairing.identity(NATIVE, options): pairing
        for pairing in plan.natives
        if pairing.world is not None and pairing.elsewhere
    }
    return work + [
        _single(
            folder,
            "play_native",
            identity,
            options,
            agent=str(pairing.encoder.folder),
            world=None if pairing.world is None else pairing.world.to_dict(),
        )
        for identity, pairing in abroad.items()
    ]


def _single(folder: Path, function: str, identity: str, options: Options, **what: Any) -> Work | None:
    if read_cell(folder, identity) is not None:
        return None
    arguments = {"folder": str(folder), "identity": identity, "options": asdict(options), **what}
    return Work(Task(f"{function}-{identity}", f"{MODULE}:{function}", arguments, folder / "log.txt"), 1)


def _group(
    plan: Plan, folder: Path, key: str, worlds: Sequence[World], pairings: Sequence[Sequence[Pairing]]
) -> Work | None:
    """Return the task of one encoder; `pairings` has a pairing for each world, for each of its controllers."""
    controllers, results = [], 0
    for places in pairings:
        cells = {}
        for method in plan.methods:
            identities = [pairing.identity(method, plan.options) for pairing in places]
            wanted = [identity if read_cell(folder, identity) is None else None for identity in identities]
            if any(wanted):
                cells[method] = wanted
                results += len(wanted) - wanted.count(None)
        if cells:
            controllers.append({"agent": str(places[0].controller.folder), "cells": cells})
    if not controllers:
        return None
    arguments = {
        "folder": str(folder),
        "encoder": str(pairings[0][0].encoder.folder),
        "worlds": [world.to_dict() for world in worlds],
        "controllers": controllers,
        "options": asdict(plan.options),
    }
    return Work(Task(key, f"{MODULE}:play_group", arguments, folder / "log.txt"), results)


def _run(
    work: Sequence[Work],
    folder: Path,
    workers: int,
    ray: str | None,
    resources: Resources | None,
    on_progress: OnProgress | None,
) -> list[Outcome]:
    total = sum(entry.results for entry in work)
    sizes = {entry.task.key: entry.results for entry in work}
    ended = 0

    def tell(running: int) -> None:
        if on_progress is not None:
            on_progress(ended + running, total)

    def on_done(outcome: Outcome) -> None:
        nonlocal ended
        ended += sizes[outcome.key]
        tell(0)

    def on_pool(progress: Progress) -> None:
        tell(sum(done for done, _ in progress.running.values()))

    tasks = [entry.task for entry in work]
    if ray is not None and tasks:
        from rlstitch.config.sweep import Resources
        from rlstitch.evaluation.matrix.on_ray import run_cells_on_ray

        shares = resources or Resources()
        return run_cells_on_ray(tasks, folder, address=ray, resources=shares, on_done=on_done, on_progress=on_pool)
    if workers != 1 and tasks:
        return run_tasks(tasks, workers=workers, on_done=on_done, on_progress=on_pool)
    return _run_here(tasks, on_done, lambda done, _: tell(done))


def _run_here(tasks: Sequence[Task], on_done: Callable[[Outcome], None], tell: OnProgress) -> list[Outcome]:
    """Run tasks one after the other in this process; Ctrl-C ends them all, what was written stays."""
    from rlstitch.errors import RlstitchError

    forget_agents()
    outcomes: list[Outcome] = []
    try:
        for task in tasks:
            try:
                find_callable(task.call)(**task.arguments, tell=tell)
                outcome = Outcome(task.key, "done")
            except RlstitchError as error:
                outcome = Outcome(task.key, "failed", error=" ".join(str(error).split()))
            outcomes.append(outcome)
            on_done(outcome)
    except KeyboardInterrupt:
        left = tasks[len(outcomes) :]
        outcomes += [Outcome(task.key, "interrupted") for task in left]
    finally:
        forget_agents()
    return outcomes


def _write(result: MatrixResult, same_seed: bool) -> None:
    plan, figures, folder = result.plan, result.figures, result.folder
    refused = [
        {
            "encoder": row.encoder,
            "controller": row.controller,
            "method": row.method,
            "place": row.place,
            "reason": row.reason,
        }
        for row in figures.rows
        if row.state == "refused"
    ]
    write_table([asdict(row) for row in figures.rows], folder / "cells")
    write_bytes(folder / "summary.md", markdown(plan, figures, complete=result.complete).encode())
    members = [
        {"name": m.name, "identity": m.identity, "seed": m.seed, "world": m.world.to_dict()} for m in plan.members
    ]
    content = {
        "complete": result.complete,
        "command": command_line(),
        "methods": list(plan.methods),
        "worlds": list(plan.places),
        "options": asdict(plan.options),
        "same_seed_counted": same_seed,
        "agents": members,
        "left_out": list(plan.left_out),
        "refused": refused,
        "failed": [{"task": outcome.key, "error": outcome.error} for outcome in result.failed],
        "summary": [asdict(entry) for entry in figures.methods],
        "comparisons": [asdict(entry) for entry in figures.comparisons],
    }
    write_json(folder / "matrix.json", content, schema_version=SCHEMA_VERSION)
