"""What a grid would do, and what it would cost: told before it starts."""

from __future__ import annotations

import shutil
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlstitch.api.sweep.run import PENDING, RunState, State
from rlstitch.config.training import TrainConfig
from rlstitch.errors import RlstitchError
from rlstitch.jobs.progress import duration
from rlstitch.storage import data_roots, read_json
from rlstitch.storage.workspace import AGENTS, RUNS

_WORDS: dict[State, str] = {
    "missing": "to train",
    "begun": "to go on with",
    "changed": "to train again, because their config changed or the agent is damaged (copies of the agents are kept)",
    "failed": "failed before",
    "done": "done",
}


@dataclass(frozen=True)
class Cost:
    """What one training took."""

    steps: int
    seconds: float
    size: int
    """Bytes of the agent and, where it is still there, of its run's folder."""


@dataclass(frozen=True)
class Plan:
    """A grid before it runs: as text, one line a run, then the sums."""

    states: tuple[RunState, ...]
    workers: int
    retry: bool
    seconds: float | None
    """Of all trainings together, one worker each; None: unknown."""
    size: int | None
    unknown: int
    """Runs to be trained in environments of which no training is recorded."""
    free: int
    """Bytes that are free on the disk."""

    def __str__(self) -> str:
        width = max((len(entry.run.config.name) for entry in self.states), default=0)
        lines = [_line(entry, width) for entry in self.states]
        counts = Counter(entry.state for entry in self.states)
        parts = [f"{counts[state]} {words}" for state, words in _WORDS.items() if counts[state]]
        lines += ["", f"{len(self.states)} runs: {', '.join(parts)}"]
        if counts["failed"]:
            lines.append("failed runs are trained again" if self.retry else "--retry trains failed runs again")
        return "\n".join([*lines, self._estimate()])

    def _estimate(self) -> str:
        if not any(entry.state in PENDING or (self.retry and entry.state == "failed") for entry in self.states):
            return "nothing to do"
        if self.seconds is None or self.size is None:
            return "time and disk: unknown, no such training is recorded"
        rest = f" and an unknown time for {self.unknown} runs" if self.unknown else ""
        time = f"about {duration(self.seconds / self.workers)} on {self.workers} worker(s){rest}"
        room = "which is more than" if self.size > self.free else "of"
        disk = f"{self.size / 1e6:,.1f} MB, {room} {self.free / 1e6:,.0f} MB that are free"
        return f"by the trainings that are recorded: {time}; {disk}"


def plan_grid(
    states: Sequence[RunState], *, workers: int, retry: bool = False, agents: Path = AGENTS, runs: Path = RUNS
) -> Plan:
    """Estimate time and disk of what is to be trained, from the agents that are at hand.

    A run counts as the median of the recorded trainings of its environment and representation; of a run that goes on,
    what comes after its newest checkpoint counts.
    """
    wanted = [entry for entry in states if entry.state in PENDING or (retry and entry.state == "failed")]
    recorded = _recorded([agents, *data_roots("agents")], runs) if wanted else {}
    costs = [_cost(entry.run.config, recorded, _taken(entry, runs)) for entry in wanted]
    known = [cost for cost in costs if cost is not None]
    return Plan(
        tuple(states),
        max(1, min(workers, len(wanted))),
        retry,
        sum(cost.seconds for cost in known) if known else None,
        sum(cost.size for cost in known) if known else None,
        len(costs) - len(known),
        shutil.disk_usage(next(path for path in (runs, *runs.absolute().parents) if path.is_dir())).free,
    )


def _taken(entry: RunState, runs: Path) -> int:
    """Return the steps of a run's newest checkpoint, which is called by them."""
    folder = runs / entry.run.key / "checkpoints"
    names = [path.name for path in folder.iterdir()] if entry.state == "begun" else []
    return max((int(name) for name in names if name.isdecimal()), default=0)


def _cost(config: TrainConfig, recorded: dict[tuple[str, str], list[Cost]], taken: int) -> Cost | None:
    found = recorded.get((config.world.environment, config.representation))
    if not found:
        return None
    # Trainings may end early, so that not all steps are taken; a smaller budget is a smaller share.
    steps = min(statistics.median(cost.steps for cost in found), config.total_steps)
    pace = statistics.median(cost.seconds / max(cost.steps, 1) for cost in found)
    steps = max(0, steps - taken)
    return Cost(int(steps), steps * pace, int(statistics.median(cost.size for cost in found)))


def _recorded(roots: Iterable[Path], runs: Path) -> dict[tuple[str, str], list[Cost]]:
    """Costs by environment and representation; one agent in two places counts once."""
    folders = {path.name: path for root in reversed(list(roots)) if root.is_dir() for path in sorted(root.iterdir())}
    found: dict[tuple[str, str], list[Cost]] = defaultdict(list)
    for folder in folders.values():
        try:
            card = read_json(folder / "agent.json")
            training: dict[str, Any] = card.get("training") or {}
            given = training.get("hyperparameters") or {}
            key = (str(card["world"]["environment"]), str(given["representation"]))
            cost = Cost(int(training["steps"]), float(training["seconds"]), _size(folder, runs))
        except (RlstitchError, KeyError, TypeError, ValueError, AttributeError):
            continue  # no native agent, or none that is whole
        found[key].append(cost)
    return found


def _size(folder: Path, runs: Path) -> int:
    places = [folder, *(runs.glob(f"{folder.name}-????????") if runs.is_dir() else ())]
    return sum(path.stat().st_size for place in places for path in place.rglob("*") if path.is_file())


def _line(entry: RunState, width: int) -> str:
    text = f"{entry.run.config.name:<{width}}  {entry.state:<8}"
    if entry.result is not None and entry.result.get("steps") is not None:
        text += f"{entry.result['steps']:>10,} steps"
        if entry.result.get("return") is not None:
            text += f"  return {entry.result['return']:.3f}"
        if entry.result.get("success") is not None:
            text += f"  success {entry.result['success']:.0%}"
    if entry.state == "failed":
        text += f"  {entry.note}" + (f" ({entry.log})" if entry.log else "")
    return text.rstrip()
