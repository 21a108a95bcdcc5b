"""How a grid is getting on: one line that is drawn anew on a terminal, now and then a line in a log."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import TextIO

from rlstitch.api.sweep.run import GridResult, RunState
from rlstitch.jobs.local import Progress
from rlstitch.jobs.progress import duration

_WINDOW = 60.0  # seconds over which the rate is taken
_LOG_EVERY = 60.0


class Reporter:
    """Counts what ended, adds up the rates of what runs, and says when the whole may be done."""

    def __init__(self, states: list[RunState], budgets: Mapping[str, int], stream: TextIO | None = None) -> None:
        """Begin.

        Args:
            states: how the runs stand before.
            budgets: steps of each run that is to be trained, by its key.
            stream: where the lines go; standard error where not given.
        """
        self.stream = stream or sys.stderr
        self.budgets = dict(budgets)
        self.ended = {"done": sum(entry.state == "done" for entry in states), "failed": 0}
        self._terminal = self.stream.isatty()
        self._every = 0.5 if self._terminal else _LOG_EVERY
        self._told = time.monotonic()
        self._held: set[str] = set()
        self._last: dict[str, int] = {}
        self._taken = 0
        self._history: deque[tuple[float, int]] = deque([(self._told, 0)])

    def ended_run(self, entry: RunState) -> None:
        """Tell of a run that ended."""
        self.budgets.pop(entry.run.key, None)
        if entry.state in self.ended:
            self.ended[entry.state] += 1
        result, name = entry.result or {}, entry.run.config.name
        if entry.state == "done":
            success = "" if result.get("success") is None else f", success {result['success']:.0%}"
            mean = "" if result.get("return") is None else f", return {result['return']:.3f}"
            self._write(f"{name}: done, {result.get('steps') or 0:,} steps{success}{mean}")
        elif entry.state == "failed":
            self._write(f"{name}: failed: {entry.note}" + (f"; see {entry.log}" if entry.log else ""))
        else:
            self._write(f"{name}: interrupted; it goes on from its newest checkpoint the next time")

    def progress(self, progress: Progress) -> None:
        """Tell how the whole is getting on, where it is time to."""
        now = time.monotonic()
        for key, (units, _) in progress.running.items():
            if units > 0:
                # What a resumed training had done before is no work of now.
                self._taken += max(0, units - self._last.get(key, units))
                self._last[key] = units
        self._history.append((now, self._taken))
        while now - self._history[0][0] > _WINDOW:
            self._history.popleft()
        for key in progress.busy.keys() - self._held:
            self._write(f"{key}: {progress.busy[key]}; it is tried again later")
        self._held = set(progress.busy)
        if now - self._told >= self._every:
            self._told = now
            line = self.line(progress)
            self.stream.write(f"\r\x1b[2K{line}" if self._terminal else f"{line}\n")
            self.stream.flush()

    def line(self, progress: Progress) -> str:
        """Return the one line."""
        (first, before), (last, after) = self._history[0], self._history[-1]
        rate = (after - before) / (last - first) if last > first else 0.0
        left = sum(max(0, budget - self._last.get(key, 0)) for key, budget in self.budgets.items())
        parts = [
            f"done {self.ended['done']}, running {len(progress.running)}, waiting {progress.waiting}",
            f"failed {self.ended['failed']}",
        ]
        if progress.busy:
            parts.append(f"held by others {len(progress.busy)}")
        parts.append(f"{rate:,.0f} steps/s")
        if rate > 0:
            parts.append(f"at most {duration(left / rate)} left")
        return ", ".join(parts)

    def close(self, result: GridResult) -> None:
        """Draw the last line to its end."""
        if self._terminal:
            self.stream.write("\r\x1b[2K")
        for entry in result.failed:
            self._write(f"{entry.run.config.name}: failed: {entry.note}" + (f"; see {entry.log}" if entry.log else ""))

    def _write(self, line: str) -> None:
        self.stream.write(f"\r\x1b[2K{line}\n" if self._terminal else f"{line}\n")
        self.stream.flush()
