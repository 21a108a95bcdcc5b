"""Plan a sweep: what it would train, and an estimate of its time and disk space."""

from __future__ import annotations

import shutil
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlstitch.api.sweeps.sweep import RunState, State
from rlstitch.config.training import TrainConfig
from rlstitch.envs import family_of, import_modules, make_vec
from rlstitch.errors import RlstitchError
from rlstitch.jobs.progress import duration
from rlstitch.storage import AGENTS, RUNS, data_roots, read_json

_WORDS: dict[State, str] = {
    "missing": "to train",
    "begun": "to continue",
    "changed": "to train again, because their config changed or the agent is damaged (copies of the agents are kept)",
    "failed": "failed before",
    "done": "done",
}


@dataclass(frozen=True)
class Cost:
    """What one training took, or what trainings will take."""

    steps: float
    seconds: float
    size: int
    """Bytes of the agent and, if it is still there, of its run's folder."""


@dataclass(frozen=True)
class SweepPlan:
    """A sweep before it runs: as text, one line a run, then the sums."""

    states: tuple[RunState, ...]
    workers: int
    retry: bool
    costs: tuple[Cost, ...]
    """Of the runs that are to be trained, on one worker."""
    unknown: int
    """Further such runs, in environments of which no training is recorded."""
    free: int
    """Free bytes on the disk."""

    @property
    def unseen(self) -> list[str]:
        """What agents will not be shown, a line for each environment."""
        worlds = {entry.run.config.world.environment: entry.run.config.world for entry in self.states}
        texts = {name: family_of(world).unseen(world) for name, world in worlds.items() if self.costs or self.unknown}
        return [f"{name}: {text}" for name, text in texts.items() if text]

    @property
    def seconds(self) -> float:
        """Time of all trainings together, on one worker."""
        return sum(cost.seconds for cost in self.costs)

    def __str__(self) -> str:
        width = max((len(entry.run.config.name) for entry in self.states), default=0)
        counts = Counter(entry.state for entry in self.states)
        parts = [f"{counts[state]} {words}" for state, words in _WORDS.items() if counts[state]]
        lines = [*(_line(entry, width) for entry in self.states), "", f"{len(self.states)} runs: {', '.join(parts)}"]
        if counts["failed"]:
            lines.append(
                "failed runs are trained again" if self.retry else "failed runs are left alone; retry trains them again"
            )
        return "\n".join([*lines, self._estimate(), *self.unseen])

    def _estimate(self) -> str:
        if not self.costs:
            return "time and disk: unknown, no such training is recorded" if self.unknown else "nothing to do"
        rest = f" and an unknown time for {self.unknown} runs" if self.unknown else ""
        time = f"about {duration(self.seconds / self.workers)} on {self.workers} worker(s){rest}"
        size = sum(cost.size for cost in self.costs)
        room = "which is more than" if size > self.free else "of"
        disk = f"{size / 1e6:,.1f} MB, {room} {self.free / 1e6:,.0f} MB that are free"
        return f"by the trainings that are recorded: {time}; {disk}"


def plan_sweep(
    states: Sequence[RunState], *, workers: int, retry: bool = False, agents: Path = AGENTS, runs: Path = RUNS
) -> SweepPlan:
    """Estimate time and disk space of what is to be trained, from the agents that are available.

    A run counts as the median of the recorded trainings of its environment and representation; of a run that is
    continued, what comes after its newest checkpoint counts.

    Raises:
        UnknownNameError, InvalidInputError: where an environment, its look or its task cannot be made.
    """
    pending = [entry for entry in states if entry.pending(retry)]
    for world in dict.fromkeys(entry.run.config.world for entry in pending):
        import_modules(world.modules)
        make_vec(world, 1, seed=0).close()
    recorded = _recorded([agents, *data_roots("agents")], runs) if pending else {}
    costs = [_cost(entry.run.config, recorded, _steps_before(entry, runs)) for entry in pending]
    known = tuple(cost for cost in costs if cost is not None)
    disk = next(path for path in (runs, *runs.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(disk).free
    return SweepPlan(tuple(states), max(1, min(workers, len(pending))), retry, known, costs.count(None), free)


def _steps_before(entry: RunState, runs: Path) -> int:
    """Return the steps of a run's newest checkpoint, which is named by them."""
    folder = runs / entry.run.key / "checkpoints"
    names = [path.name for path in folder.iterdir()] if entry.state == "begun" else []
    return max((int(name) for name in names if name.isdecimal()), default=0)


def _cost(config: TrainConfig, recorded: dict[tuple[str, str], list[Cost]], before: int) -> Cost | None:
    costs = recorded.get((config.world.environment, config.representation))
    if not costs:
        return None
    # Trainings may end early, so that not all steps are taken; a smaller budget is a smaller share.
    steps = max(0, min(statistics.median(cost.steps for cost in costs), config.total_steps) - before)
    pace = statistics.median(cost.seconds / max(cost.steps, 1) for cost in costs)
    return Cost(steps, steps * pace, int(statistics.median(cost.size for cost in costs)))


def _recorded(roots: Iterable[Path], runs: Path) -> dict[tuple[str, str], list[Cost]]:
    """Return costs by environment and representation; one agent in two places counts once."""
    folders = {path.name: path for root in reversed(list(roots)) if root.is_dir() for path in sorted(root.iterdir())}
    costs: dict[tuple[str, str], list[Cost]] = defaultdict(list)
    for folder in folders.values():
        try:
            card = read_json(folder / "agent.json")
            training = card["training"]
            key = (str(card["world"]["environment"]), str(training["hyperparameters"]["representation"]))
            cost = Cost(int(training["steps"]), float(training["seconds"]), _size(folder, runs))
        except (RlstitchError, KeyError, TypeError, ValueError):
            continue  # damaged, or not trained here
        costs[key].append(cost)
    return costs


def _size(folder: Path, runs: Path) -> int:
    places = [folder, *(runs.glob(f"{folder.name}-????????") if runs.is_dir() else ())]
    return sum(path.stat().st_size for place in places for path in place.rglob("*") if path.is_file())


def _line(entry: RunState, width: int) -> str:
    text = f"{entry.run.config.name:<{width}}  {entry.state:<8}"
    result = entry.result or {}
    if result.get("steps") is not None:
        text += f"{result['steps']:>10,} steps"
        text += f"  return {result['return']:.3f}" if result["return"] is not None else ""
        text += f"  success {result['success']:.0%}" if result["success"] is not None else ""
    if entry.state == "failed":
        text += f"  {entry.note}" + (f" ({entry.log})" if entry.log else "")
    return text.rstrip()
