"""Progress of long work, with its rate and the time left: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
from typing import Any, Literal, TextIO

from tqdm import tqdm

Style = Literal["auto", "bar", "lines", "none"]


def duration(seconds: float) -> str:
    """Return a span of time in its two largest units (`3 h 20 min`, `5 min 10 s`, `12 s`)."""
    whole = round(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


class ProgressReporter:
    """Reports units of work done: call it with `(done, total)` as often as you like, and close it at the end.

    The first call states what was done before (0, or more for work that is resumed), which does not count in the rate.
    """

    def __init__(
        self,
        unit: str,
        *,
        name: str = "",
        style: Style = "auto",
        interval: float = 60.0,
        stream: TextIO | None = None,
    ) -> None:
        """Create a reporter; nothing is shown before the first call.

        Args:
            unit: what is counted, in the plural (`steps`).
            name: of the work, shown first.
            style: `bar`, `lines` or `none`; `auto` is a bar where `stream` is a terminal, else lines.
            interval: least seconds between two lines; 0 writes a line for every call that reports progress.
            stream: where to write; None: standard error.
        """
        self.stream = stream or sys.stderr
        self.style = ("bar" if self.stream.isatty() else "lines") if style == "auto" else style
        self._unit, self._name, self._interval, self._note = unit, name, interval, ""
        self._meter: Any = None

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report progress.

        Args:
            done: units done so far.
            total: units in all; it may change from call to call.
            note: shown beside the numbers.
        """
        if self._meter is None:
            self._meter = self._start(done, total)
        self._meter.total = total
        if note != self._note:
            self._note = note
            self._meter.set_postfix_str(note, refresh=self.style == "bar")
        self._meter.update(done - self._meter.n)

    def write(self, line: str) -> None:
        """Write a line of text (above the bar, where there is one)."""
        if self.style == "bar":
            tqdm.write(line, file=self.stream)
        elif self.style == "lines":
            self.stream.write(f"{line}\n")
            self.stream.flush()

    def close(self) -> None:
        """Show the last state, once."""
        if self._meter is not None:
            self._meter.close()

    def __enter__(self) -> ProgressReporter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, done: int, total: int) -> Any:
        options = {"initial": done, "total": total, "desc": self._name or None, "unit": f" {self._unit}"}
        if self.style == "lines":
            # Any delay keeps tqdm from showing a first line before there is progress.
            return _Lines(file=self.stream, mininterval=self._interval, miniters=1, delay=1e-9, leave=False, **options)
        disable = self.style == "none"
        return _Bar(file=self.stream, mininterval=0.5, miniters=1, dynamic_ncols=True, disable=disable, **options)


class _Bar(tqdm):
    monitor_interval = 0  # no thread beside: with `miniters=1` tqdm needs none


class _Lines(_Bar):
    """Writes a line where tqdm draws a bar."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Write the line; tqdm calls this, with an empty message to remove a bar."""
        if msg is not None:
            return False
        state = self.format_dict
        done, total, elapsed = state["n"], state["total"], state["elapsed"]
        rate = state["rate"] or ((done - state["initial"]) / elapsed if elapsed > 0 else 0.0)
        parts = [f"{done:,} of {total:,}{state['unit']}"]
        parts += [state["postfix"]] if state["postfix"] else []
        if rate > 0:
            parts.append(f"{rate:,.{0 if rate >= 10 else 1}f}{state['unit']}/s")
            parts += [f"{duration((total - done) / rate)} left"] if done < total else []
        name = f"{state['prefix']}: " if state["prefix"] else ""
        self.fp.write(f"{name}{', '.join(parts)}\n")
        self.fp.flush()
        self.last_print_n = done
        return True

    def close(self) -> None:
        """Write what was not shown yet."""
        if self.n != self.last_print_n:
            self.display()
        super().close()
