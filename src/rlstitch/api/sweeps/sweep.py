"""Run a sweep: train the runs that are missing, continue those that were cut off, leave alone those that are done."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from rlstitch.config.sweep import Run, Sweep
from rlstitch.config.training import TrainConfig
from rlstitch.envs import import_modules, named_modules
from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.jobs.local import run_tasks
from rlstitch.jobs.progress import OnProgress, ProgressReporter, Style
from rlstitch.jobs.tasks import Outcome, Status, Task
from rlstitch.storage import (
    AGENTS,
    ANCHORS,
    RECORDS,
    RUNS,
    agent_lock,
    exclusive_lock,
    folder_exists,
    read_json,
    recover,
    staged_folder,
    translated_errors,
    write_json,
    write_table,
)

State = Literal["done", "missing", "begun", "changed", "failed"]
PENDING: tuple[State, ...] = ("missing", "begun", "changed")


@dataclass(frozen=True)
class RunState:
    """A run of a sweep and its state on the disk."""

    run: Run
    state: State
    """`begun`: cut off, will be continued; `changed`: there is an agent of its name from another config."""
    note: str = ""
    """Why a run failed."""
    log: Path | None = None
    result: dict[str, Any] | None = None
    """Steps, seconds, return and success of a run that is done."""

    @property
    def failure(self) -> str:
        """Why the run failed, and where its log is."""
        return self.note + (f"; see {self.log}" if self.log else "")

    def pending(self, retry: bool) -> bool:
        """Whether the run is to be trained; failed runs only where `retry` asks for them."""
        return self.state in PENDING or (retry and self.state == "failed")


@dataclass(frozen=True)
class SweepResult:
    """The states of all runs after a sweep."""

    states: tuple[RunState, ...]
    trained: int
    """Runs that were trained to their end now."""
    interrupted: bool

    @property
    def failed(self) -> list[RunState]:
        """The runs that failed, this time or before."""
        return [entry for entry in self.states if entry.state == "failed"]


def sweep_states(definition: Sweep, *, agents: Path = AGENTS, runs: Path = RUNS) -> list[RunState]:
    """Return the state of each run, from small files; a thousand take a second or two."""
    return [_state(run, agents, runs) for run in definition.runs]


def _state(run: Run, agents: Path, runs: Path) -> RunState:
    folder = agents / run.config.name
    log = path if (path := _log(run, runs)).is_file() else None
    presence = _presence(run.config, folder)
    if presence == "same":
        return RunState(run, "done", log=log, result=_summary(folder))
    try:
        return RunState(run, "failed", str(read_json(_failure(run, runs))["error"]), log)
    except (ArtefactError, KeyError, TypeError):
        pass
    if (runs / run.key / "checkpoints").is_dir():
        return RunState(run, "begun", log=log)
    return RunState(run, "changed" if presence == "other" else "missing", log=log)


def sweep(
    definition: Sweep,
    *,
    workers: int = 1,
    threads: int | None = None,
    retry: bool = False,
    ray: str | None = None,
    agents: Path = AGENTS,
    runs: Path = RUNS,
    on_state: Callable[[RunState], None] | None = None,
    on_progress: Callable[[Status], None] | None = None,
) -> SweepResult:
    """Train every run of a sweep that is not done.

    Results are those of `train` on each config alone; what was cut off continues from its newest checkpoint. Two sweeps
    may share the folders: each agent has a lock, and a sweep trains others while one is taken.

    Args:
        definition: from `load_sweep`.
        workers: trainings at once, each in a process of its own.
        threads: numerical threads a training, where its config says nothing; None: one.
        retry: train again what failed before.
        ray: address of a Ray cluster to train on (`auto`, `local`, ...); there the sweep's `resources` count, not
            `workers`.
        agents: the folder of agents.
        runs: the folder of runs.
        on_state: called with each run that ended.
        on_progress: called with what is running, about twice a second.

    Returns:
        The final states of all runs. They are also written as a table to `<runs>/_grid/<name>.csv` and `.json`.
    """
    todo = {
        entry.run.key: entry.run for entry in sweep_states(definition, agents=agents, runs=runs) if entry.pending(retry)
    }

    def on_done(outcome: Outcome) -> None:
        run = todo[outcome.key]
        if outcome.state == "failed":
            write_json(_failure(run, runs), {"error": outcome.error, "log": str(_log(run, runs))})
        elif outcome.state == "done":
            _failure(run, runs).unlink(missing_ok=True)
        if on_state is not None:
            on_state(_state(run, agents, runs))

    def on_locked(key: str) -> dict[str, Any] | None:
        return _existing(todo[key].config, agents, runs)

    tasks = [_task(run, agents, runs) for run in todo.values()]
    if ray is None:
        outcomes = run_tasks(tasks, workers=workers, threads=threads, on_done=on_done, on_progress=on_progress)
    else:
        from rlstitch.jobs.on_ray import Cluster, run_tasks_on_ray

        cluster = Cluster(ray, **definition.config.resources.model_dump(), threads=threads)
        outcomes = run_tasks_on_ray(tasks, cluster, on_done=on_done, on_progress=on_progress, on_locked=on_locked)
    states = tuple(sweep_states(definition, agents=agents, runs=runs))
    write_table([_row(entry) for entry in states], runs / RECORDS / definition.name)
    trained = sum(outcome.state == "done" and outcome.value["trained"] for outcome in outcomes)
    return SweepResult(states, trained, any(outcome.state == "interrupted" for outcome in outcomes))


def _task(run: Run, agents: Path, runs: Path) -> Task:
    return Task(
        run.key,
        "rlstitch.api.sweeps.sweep:train_one",
        {"config": run.config.resolved(), "agents": agents, "runs": runs, "modules": list(named_modules())},
        log=_log(run, runs),
        lock=agent_lock(run.config.name, runs),
        writes=(agents, runs, ANCHORS),
    )


def train_one(
    config: dict[str, Any],
    agents: str,
    runs: str,
    on_progress: OnProgress | None = None,
    modules: Sequence[str] = (),
) -> dict[str, Any]:
    """Train one agent of a sweep, or continue its training; an agent that is done already is left alone.

    An agent of the same name that another config gave is kept as a copy in `<runs>/_grid/replaced`.

    Args:
        config: a resolved `TrainConfig`.
        agents: the folder of agents.
        runs: the folder of runs.
        on_progress: called with the environment steps done and those in all.
        modules: that the user named, to import first.

    Returns:
        Steps, seconds, return and success of the agent, and whether it was `trained` now.

    Raises:
        BusyError: another process is training it.
        RlstitchError: whatever stops a training.
    """
    import_modules(modules)
    resolved = TrainConfig.model_validate(config)
    agents_folder, runs_folder = Path(agents), Path(runs)
    with exclusive_lock(agent_lock(resolved.name, runs_folder), f"agent {resolved.name!r}"):
        done = _existing(resolved, agents_folder, runs_folder)
        if done is not None:  # another sweep was faster
            return done
        from rlstitch.api.train import train_locked
        from rlstitch.training.checkpoint import list_checkpoints

        trained = train_locked(
            resolved,
            # Without a checkpoint there is nothing to continue: the run's folder is of no use.
            resume=bool(list_checkpoints(runs_folder / f"{resolved.name}-{resolved.hash8}" / "checkpoints")),
            force=True,
            agents=agents_folder,
            runs=runs_folder,
            progress="lines",
            on_progress=on_progress,
        )
        if trained.ended == "interrupted":
            raise KeyboardInterrupt
        return {**_summary(agents_folder / resolved.name), "trained": True}


def _existing(config: TrainConfig, agents: Path, runs: Path) -> dict[str, Any] | None:
    """Return the result of a run that is done; of another agent of its name, which will be replaced, keep a copy."""
    folder = agents / config.name
    presence = _presence(config, folder)
    if presence == "same":
        recover(runs / f"{config.name}-{config.hash8}")
        return {**_summary(folder), "trained": False}
    if presence == "other":
        _keep_copy(folder, runs / RECORDS / "replaced")
    return None


def _presence(config: TrainConfig, folder: Path) -> Literal["same", "other", "none"]:
    """Return whether there is an agent from this config, another one of its name, or none.

    A whole manifest is enough: it is written last.
    """
    if not folder_exists(folder):
        return "none"
    try:
        recorded = read_json(folder / "agent.json")["training"]["hyperparameters"]
        same = recorded == config.resolved() or _same_hash(config, recorded)
    except (ArtefactError, InvalidInputError, AttributeError, KeyError, TypeError, ValueError):
        return "other"
    return "same" if same else "other"


def _same_hash(config: TrainConfig, recorded: dict[str, Any]) -> bool:
    """Compare by hash: older records lack newer keys, and device and threads do not count.

    A record without a sensor is of pixels. Stated, the sensor need not be asked of the environment, for which modules
    that the record names would be imported.
    """
    recorded = {**recorded, "sensor": recorded.get("sensor") or "pixels"}
    if config.representation == "absolute":  # how to project then has no effect
        recorded = {**recorded, "relative": config.resolved()["relative"]}
    return TrainConfig.model_validate(recorded).hash8 == config.hash8


def _summary(folder: Path) -> dict[str, Any]:
    training = read_json(folder / "agent.json").get("training") or {}
    keys = {"steps": "steps", "seconds": "seconds", "return": "return_mean", "success": "success_rate"}
    return {name: training.get(key) for name, key in keys.items()}


def _keep_copy(folder: Path, kept: Path) -> None:
    """Copy an agent's folder to `<kept>/<name>-<first digits of its manifest's sha256>`."""
    with translated_errors("read", folder):
        manifest = folder / "agent.json"
        content = manifest.read_bytes() if manifest.is_file() else b""
        recover(kept)
        target = kept / f"{folder.name}-{hashlib.sha256(content).hexdigest()[:8]}"
        if target.exists():
            return
        with staged_folder(target) as stage:
            for path in folder.iterdir():
                if path.is_file():
                    shutil.copy2(path, stage / path.name)


def _log(run: Run, runs: Path) -> Path:
    return runs / RECORDS / "logs" / f"{run.key}.txt"


def _failure(run: Run, runs: Path) -> Path:
    return runs / RECORDS / "failed" / f"{run.key}.json"


def _row(entry: RunState) -> dict[str, Any]:
    config = entry.run.config
    result = entry.result or dict.fromkeys(("steps", "seconds", "return", "success"))
    world = config.world
    place = {"environment": world.environment, "variation": world.look, "task": world.task, "seed": config.seed}
    state = {"name": config.name, "hash": config.hash8, "state": entry.state}
    return {**state, **place, "representation": config.representation, **entry.run.axes, **result, "error": entry.note}


class SweepProgress:
    """Shows a sweep on standard error: a line for each run that ended, and the environment steps of all runs."""

    def __init__(
        self, states: Sequence[RunState], *, retry: bool = False, style: Style = "auto", stream: TextIO | None = None
    ) -> None:
        """Start.

        Args:
            states: of all runs, before the sweep.
            retry: whether failed runs are trained, too.
            style, stream: as for `ProgressReporter`.
        """
        self._reporter = ProgressReporter("steps", style=style, stream=stream)
        self._budgets = {entry.run.key: entry.run.config.total_steps for entry in states if entry.pending(retry)}
        self._counts = {"done": sum(entry.state == "done" for entry in states), "failed": 0}
        self._steps: dict[str, int] = {}
        self._held: set[str] = set()
        self._taken = 0

    def ended(self, entry: RunState) -> None:
        """Report a run that ended."""
        self._budgets.pop(entry.run.key, None)
        if entry.state in self._counts:
            self._counts[entry.state] += 1
        result, name = entry.result or {}, entry.run.config.name
        if entry.state == "done":
            success = "" if result.get("success") is None else f", success {result['success']:.0%}"
            mean = "" if result.get("return") is None else f", return {result['return']:.3f}"
            self._reporter.write(f"{name}: done, {result.get('steps') or 0:,} steps{success}{mean}")
        elif entry.state == "failed":
            self._reporter.write(f"{name}: failed: {entry.failure}")
        else:
            self._reporter.write(f"{name}: interrupted; it continues from its newest checkpoint the next time")

    def __call__(self, status: Status) -> None:
        """Report what is running."""
        for key, (steps, _) in status.running.items():
            if steps > 0:
                # What a resumed training did before does not count.
                self._taken += max(0, steps - self._steps.get(key, steps))
                self._steps[key] = steps
        for key in status.busy.keys() - self._held:
            self._reporter.write(f"{key}: {status.busy[key]}; it is tried again later")
        self._held = set(status.busy)
        left = sum(max(0, budget - self._steps.get(key, 0)) for key, budget in self._budgets.items())
        numbers = {**self._counts, "running": len(status.running), "waiting": status.waiting}
        numbers |= {"held by others": len(status.busy)} if status.busy else {}
        note = ", ".join(f"{number} {name}" for name, number in numbers.items())
        self._reporter(self._taken, self._taken + left, note)

    def close(self, result: SweepResult) -> None:
        """Show the last state, and the failed runs once more."""
        self._reporter.close()
        for entry in result.failed:
            self._reporter.write(f"{entry.run.config.name}: failed: {entry.failure}")
