"""Grids of trainings: train what is missing, go on with what was cut off, leave alone what is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlstitch.api.sweep.train import BOOKS, CALL, keep_copy, lock_of, presence_of, summary
from rlstitch.config.sweep import Grid, Run
from rlstitch.errors import ArtefactError
from rlstitch.jobs.local import Outcome, Progress, Task, run_tasks
from rlstitch.storage import read_json, write_json, write_table
from rlstitch.storage.workspace import AGENTS, RUNS

State = Literal["done", "missing", "begun", "changed", "failed"]
PENDING: tuple[State, ...] = ("missing", "begun", "changed")


@dataclass(frozen=True)
class RunState:
    """A run of a grid and how it stands on the disk."""

    run: Run
    state: State
    """`begun`: cut off, will go on; `changed`: an agent of its name is there, from another config."""
    note: str = ""
    """Of a failed run: why."""
    log: Path | None = None
    result: dict[str, Any] | None = None
    """Of a run that is done: steps, seconds, return, success."""


@dataclass(frozen=True)
class GridResult:
    """How a grid stands after it was run."""

    states: tuple[RunState, ...]
    trained: int
    """Runs that this grid trained to their end now."""
    interrupted: bool

    @property
    def failed(self) -> list[RunState]:
        """The runs that failed, this time or before."""
        return [entry for entry in self.states if entry.state == "failed"]


def grid_states(grid: Grid, *, agents: Path = AGENTS, runs: Path = RUNS) -> list[RunState]:
    """Return how each run stands, from small files; a thousand take a second or two."""
    return [_state(run, agents, runs) for run in grid.runs]


def _state(run: Run, agents: Path, runs: Path) -> RunState:
    folder = agents / run.config.name
    log = path if (path := _log(run, runs)).is_file() else None
    presence = presence_of(run.config, folder)
    if presence == "here":
        return RunState(run, "done", log=log, result=summary(folder))
    try:
        note = str(read_json(_failure(run, runs))["error"])
        return RunState(run, "failed", note, log)
    except (ArtefactError, KeyError, TypeError):
        pass
    if (runs / run.key / "checkpoints").is_dir():
        return RunState(run, "begun", log=log)
    return RunState(run, "changed" if presence == "other" else "missing", log=log)


def run_grid(
    grid: Grid,
    *,
    workers: int = 1,
    threads: int | None = None,
    retry: bool = False,
    ray: str | None = None,
    agents: Path = AGENTS,
    runs: Path = RUNS,
    on_state: Callable[[RunState], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> GridResult:
    """Train every run of a grid that is not done.

    Results are those of `train` on each config alone; what was cut off goes on from its newest checkpoint. Two grids
    may share the folders: each agent has a lock, and a grid goes on with others while one is taken.

    Args:
        grid: from `load_grid`.
        workers: trainings at once, each in a process of its own.
        threads: numerical threads a training, where its config says nothing; None: the processors, shared out.
        retry: train again what failed before.
        ray: address of a Ray cluster to train on (`auto`, `local`, ...); there the grid's `resources` count, not
            `workers`. The folders must then be relative paths, as they are by default.
        agents, runs: the folders of agents and of runs.
        on_state: told of each run that ended.
        on_progress: told of what is running, about twice a second.

    Returns:
        How all runs stand in the end. A table of it is written to `<runs>/_grid/<grid>.csv` and `.json`.
    """
    before = grid_states(grid, agents=agents, runs=runs)
    wanted = [entry.run for entry in before if entry.state in PENDING or (retry and entry.state == "failed")]
    by_key = {run.key: run for run in wanted}

    def on_done(outcome: Outcome) -> None:
        run = by_key[outcome.key]
        if outcome.state == "failed":
            write_json(_failure(run, runs), {"error": outcome.error, "log": str(_log(run, runs))})
        elif outcome.state == "done":
            _failure(run, runs).unlink(missing_ok=True)
        if on_state is not None:
            on_state(_state(run, agents, runs))

    def known(key: str) -> dict[str, Any] | None:
        entry = _state(by_key[key], agents, runs)
        return {**(entry.result or {}), "trained": False} if entry.state == "done" else None

    tasks = [_task(run, agents, runs) for run in wanted]
    if ray is None:
        outcomes = run_tasks(tasks, workers=workers, threads=threads, on_done=on_done, on_progress=on_progress)
    else:
        from rlstitch.jobs.on_ray import run_tasks_on_ray

        outcomes = run_tasks_on_ray(
            tasks,
            address=ray,
            threads=threads or max(1, int(grid.config.resources.cpus)),
            **grid.config.resources.model_dump(),
            on_done=on_done,
            on_progress=on_progress,
            known=known,
            before_replace=lambda folder: keep_copy(folder, runs / BOOKS / "replaced"),
        )
    states = tuple(grid_states(grid, agents=agents, runs=runs))
    write_table([_row(entry) for entry in states], runs / BOOKS / grid.name)
    trained = sum(outcome.state == "done" and outcome.value["trained"] for outcome in outcomes)
    return GridResult(states, trained, any(outcome.state == "interrupted" for outcome in outcomes))


def _task(run: Run, agents: Path, runs: Path) -> Task:
    arguments = {"config": run.config.resolved(), "agents": str(agents), "runs": str(runs)}
    return Task(run.key, CALL, arguments, _log(run, runs), lock_of(run.config.name, runs))


def _log(run: Run, runs: Path) -> Path:
    return runs / BOOKS / "logs" / f"{run.key}.txt"


def _failure(run: Run, runs: Path) -> Path:
    return runs / BOOKS / "failed" / f"{run.key}.json"


def _row(entry: RunState) -> dict[str, Any]:
    config = entry.run.config
    result = entry.result or {"steps": None, "seconds": None, "return": None, "success": None}
    world = config.world
    place = {"environment": world.environment, "variation": world.look, "task": world.task, "seed": config.seed}
    state = {"name": config.name, "hash": config.hash8, "state": entry.state}
    return {**state, **place, "representation": config.representation, **entry.run.axes, **result, "error": entry.note}
