"""Progress of long work, with its rate and the time left: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Literal, TextIO

from tqdm import tqdm

from rlstitch.storage.text import printable

Style = Literal["auto", "bar", "lines", "none"]
OnProgress = Callable[[int, int], None]
"""Takes the units of work done, and those in all."""
_SILENCE = 2.0
"""Seconds without a sign of life after which the state is shown; in a log twice as many each time, up to a minute."""


def silent(done: int, total: int) -> None:
    """Report nothing."""


def part(on_progress: OnProgress, number: int, parts: int) -> OnProgress:
    """Return what reports one of several equal parts of some work; parts are numbered from 0."""
    return lambda done, total: on_progress(number * total + done, parts * total)


def duration(seconds: float) -> str:
    """Return a span of time in its two largest units (`3 h 20 min`, `5 min 10 s`, `12 s`)."""
    whole = round(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def _rate(rate: float, unit: str) -> str:
    """Return a rate in words: units a second; a minute or an hour where there would be less than one."""
    count, span = next(((rate * n, name) for n, name in ((1, "s"), (60, "min")) if rate * n >= 1), (rate * 3600, "h"))
    return f"{count:,.{0 if count >= 10 else 1}f}{unit}/{span}"


class ProgressReporter:
    """Reports units of work done: call it with `(done, total)` as often as you like, and close it at the end.

    The first call states what was done before (0, or more for work that is resumed), which does not count in the rate.
    Work of several stages names each by `stage`. Where nothing is reported for two seconds, the last state is shown.
    """

    def __init__(
        self,
        unit: str = "",
        *,
        name: str = "",
        style: Style = "auto",
        interval: float = 60.0,
        stream: TextIO | None = None,
    ) -> None:
        """Create a reporter; nothing is shown before the first call.

        Args:
            unit: what is counted, in the plural (`steps`).
            name: of the work, shown first, before the names of its stages.
            style: `bar`, `lines` or `none`; `auto` is a bar where `stream` is a terminal, else lines.
            interval: least seconds between two lines of calls; 0 writes a line for every call that reports progress.
            stream: where to write; None: standard error.
        """
        self.stream: Any = _Unfailing(stream or sys.stderr)
        self.style = ("bar" if self.stream.isatty() else "lines") if style == "auto" else style
        self._unit, self._name, self._interval, self._note, self._stages = unit, name, interval, "", False
        self._work = name
        self._meter: Any = None
        self._closed, self._lock = threading.Event(), threading.RLock()

    def stage(self, name: str, unit: str = "") -> OnProgress:
        """Begin another stage of the work; the one before is over.

        Args:
            name: of the stage.
            unit: what is counted in it; empty for one that cannot be counted, of which the time so far is shown.

        Returns:
            This reporter, to be called with `(done, total)`.
        """
        self.close()
        self._name, self._unit, self._stages = f"{self._work}, {name}" if self._work else name, unit, True
        self._meter = self._start(0, None)
        return self

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report progress.

        Args:
            done: units done so far.
            total: units in all; it may change from call to call.
            note: shown beside the numbers.
        """
        with self._lock:
            if self._meter is None:
                self._meter = self._start(done, total)
            self._meter.total = total
            if note != self._note:
                self._note = note
                self._meter.set_postfix_str(printable(note), refresh=self.style == "bar")
            self._meter.update(done - self._meter.n)

    def show(self) -> None:
        """Show the last state now: a line in a log, whatever the interval."""
        with self._lock:
            if self._meter is not None:
                self._meter.refresh()

    def write(self, line: str) -> None:
        """Write a line of text (above the bar, where there is one)."""
        line = printable(line)
        with self._lock:
            if self.style == "bar":
                tqdm.write(line, file=self.stream)
            elif self.style == "lines":
                self.stream.write(f"{line}\n")
                self.stream.flush()

    def close(self) -> None:
        """Show the last state, once."""
        with self._lock:
            self._closed.set()
            if self._meter is not None:
                self._meter.close()

    def __enter__(self) -> ProgressReporter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, done: int, total: int | None) -> Any:
        name = printable(self._name) or None
        # Work ends in bursts (a batch of episodes, the cells of a pair): the rate is that of all of it so far.
        options = {"initial": done, "total": total, "desc": name, "unit": f" {self._unit}", "smoothing": 0}
        options["file"] = self.stream
        if self.style == "lines":
            # Any delay keeps tqdm from showing a first line before there is progress.
            interval = float("inf") if self._stages else self._interval
            meter: Any = _Lines(mininterval=interval, miniters=1, delay=1e-9, leave=False, **options)
        else:
            form = None if self._unit else "{desc}: {elapsed}"
            none, leave = self.style == "none", not self._stages
            meter = _Bar(mininterval=0.5, dynamic_ncols=True, disable=none, leave=leave, bar_format=form, **options)
        if self.style != "none":
            self._closed = threading.Event()
            threading.Thread(target=self._show_life, args=(meter, self._closed), daemon=True).start()
        return meter

    def _show_life(self, meter: Any, closed: threading.Event) -> None:
        pause = _SILENCE
        while not closed.wait(pause):
            with self._lock:
                if not closed.is_set() and time.time() - meter.last_print_t >= pause:
                    meter.display()
            pause = min(2 * pause, 60.0) if self.style == "lines" else _SILENCE


class _Unfailing:
    """A stream whose failures (a full disk, a closed pipe) are no reason to give up work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


class _Bar(tqdm):
    monitor_interval = 0  # no thread of tqdm's own


class _Lines(_Bar):
    """Writes a line where tqdm draws a bar."""

    shown = False
    last_print_n: float
    last_print_t: float

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Write the line; tqdm calls this, with an empty message to remove a bar."""
        if msg is not None:
            return False
        state = self.format_dict
        done, total, elapsed = state["n"], state["total"], state["elapsed"]
        rate = state["rate"] or ((done - state["initial"]) / elapsed if elapsed > 0 else 0.0)
        parts = [f"{done:,} of {total:,}{state['unit']}"] if total else []
        parts += [state["postfix"]] if state["postfix"] else []
        if not total or done == self.last_print_n < total:  # no news: an estimate would be stale
            parts.append(f"{duration(elapsed)} so far")
        elif rate > 0:
            parts.append(_rate(rate, state["unit"]))
            parts += [f"{duration((total - done) / rate)} left"] if done < total else []
        name = f"{state['prefix']}: " if state["prefix"] else ""
        self.fp.write(f"{name}{', '.join(parts)}\n")
        self.fp.flush()
        self.last_print_n, self.last_print_t, self.shown = done, time.time(), True
        return True

    def close(self) -> None:
        """Write what was not shown yet; of a stage that took no time, nothing."""
        if self.n != self.last_print_n and (self.shown or self.mininterval < float("inf")):
            self.display()
        super().close()
