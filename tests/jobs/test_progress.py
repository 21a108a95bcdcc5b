"""The progress reporter, on a stream that is a terminal and on one that is a log."""

from __future__ import annotations

import io
import re

import pytest

from rlstitch.jobs.progress import ProgressReporter, duration


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (3725, "1 h 2 min"), (90_000, "1 d 1 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_log_gets_a_line_for_each_interval_and_one_at_the_end() -> None:
    stream = io.StringIO()
    with ProgressReporter("results", stream=stream) as report:
        for done in (0, 1, 2):
            report(done, 4)
        assert stream.getvalue() == "", "the interval is a minute"
        report.write("one failed")
        report(4, 4)
        report(4, 4)
    report.close()
    assert re.fullmatch(r"one failed\n4 of 4 results, [\d,.]+ results/s\n", stream.getvalue())


def test_a_line_tells_name_note_rate_and_time_left() -> None:
    stream = io.StringIO()
    report = ProgressReporter("steps", name="red", interval=0, stream=stream)
    report(1000, 2000)
    report(1500, 2000, "success 50%")
    assert re.fullmatch(r"red: 1,500 of 2,000 steps, success 50%, [\d,.]+ steps/s, \d+ s left\n", stream.getvalue())
    report.close()
    assert stream.getvalue().count("\n") == 1, "nothing is shown twice"


def test_a_terminal_gets_a_bar_and_lines_above_it() -> None:
    stream = Terminal()
    with ProgressReporter("steps", name="red", stream=stream) as report:
        report(0, 100)
        report(50, 200, "2 waiting")
        report.write("one failed")
    text = stream.getvalue()
    assert "red:   0%|" in text
    assert "50/200 [" in text
    assert "2 waiting]" in text
    assert "one failed\n" in text


def test_style_none_shows_nothing() -> None:
    stream = Terminal()
    with ProgressReporter("steps", style="none", stream=stream) as report:
        report(1, 2)
        report.write("one failed")
        report(2, 2)
    assert stream.getvalue() == ""
    with ProgressReporter("steps", stream=stream):
        pass
    assert stream.getvalue() == "", "nothing was reported"
