"""The progress reporter, on a stream that is a terminal and on one that is a log."""

from __future__ import annotations

import io
import re
import threading

import pytest

from rlstitch.jobs import progress
from rlstitch.jobs.progress import ProgressReporter, duration


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Awaited(io.StringIO):
    """A stream whose reader waits for a text."""

    def __init__(self) -> None:
        super().__init__()
        self._written = threading.Condition()

    def write(self, text: str) -> int:
        with self._written:
            self._written.notify_all()
            return super().write(text)

    def wait_for(self, pattern: str) -> None:
        """Wait until a text of this pattern was written."""
        with self._written:
            assert self._written.wait_for(lambda: re.search(pattern, self.getvalue()), timeout=60)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (3725, "1 h 2 min"), (90_000, "1 d 1 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (1234.5, "1,234 cells/s"),
        (1.0, "1.0 cells/s"),
        (0.5, "30 cells/min"),
        (0.02, "1.2 cells/min"),
        (1e-3, "3.6 cells/h"),
    ],
)
def test_a_slow_rate_is_no_zero(rate: float, text: str) -> None:
    assert progress._rate(rate, " cells") == text


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


def test_a_state_can_be_shown_before_the_interval_is_over() -> None:
    stream = io.StringIO()
    with ProgressReporter("steps", stream=stream) as report:
        report.show()
        report(0, 4)
        report(1, 4, "return 2")
        report.show()
        assert re.fullmatch(r"1 of 4 steps, return 2, [\d,.]+ steps/s, .*left\n", stream.getvalue())


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


def test_a_stage_that_takes_no_time_leaves_no_line() -> None:
    stream = io.StringIO()
    with ProgressReporter(stream=stream) as report:
        playing = report.stage("playing", "episodes")
        for done in range(5):
            playing(done, 4)
        report.stage("fitting affine")
    assert stream.getvalue() == ""


def test_a_long_stage_is_shown_with_what_is_done_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line that would come after two seconds of silence comes at once."""
    monkeypatch.setattr(progress, "_SILENCE", 1e-3)
    stream = Awaited()
    with ProgressReporter(stream=stream) as report:
        report.stage("fitting affine")
        stream.wait_for(r"fitting affine: 0 s so far\n")
        playing = report.stage("playing", "episodes")
        playing(1, 4)
        stream.wait_for(r"playing: 1 of 4 episodes, [\d,.]+ episodes/s, (\d+ d )?\d+ \w+( \d+ s)? left\n")
        playing(4, 4)
    assert re.search(r"playing: 4 of 4 episodes, [\d,.]+ episodes/s\n$", stream.getvalue())


def test_a_part_counts_as_one_of_all() -> None:
    calls: list[tuple[int, int]] = []
    progress.part(lambda done, total: calls.append((done, total)), 1, 4)(3, 10)
    assert calls == [(13, 40)]


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_what_is_shown_holds_no_control_characters(kind: type[io.StringIO]) -> None:
    stream = kind()
    with ProgressReporter("steps", name="a\x1b]0;b\x07", interval=0, stream=stream) as report:
        report(0, 2)
        report(1, 2, "no\x1b[31mte\n")
        report.write("li\x9bne\nforged")
    assert not re.search("\x1b]|\x1b\\[31|\x07|\x9b|\nforged", stream.getvalue())


def test_a_state_without_news_is_shown_with_its_time_and_no_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_SILENCE", 1e-3)
    stream = Awaited()
    with ProgressReporter("steps", name="run", style="lines", interval=0, stream=stream) as report:
        report(0, 10)
        stream.wait_for(r"run: 0 of 10 steps, \d+ s so far\n")
        report(4, 10)
        stream.wait_for(r"run: 4 of 10 steps, .*steps/s, .*left\n")
        stream.wait_for(r"run: 4 of 10 steps, \d+ s so far\n")


class Broken(io.StringIO):
    """A stream on a full disk."""

    attempts = 0

    def write(self, text: str) -> int:
        self.attempts += 1
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("style", ["bar", "lines"])
def test_a_stream_that_fails_does_not_stop_the_work(style: progress.Style) -> None:
    stream = Broken()
    with ProgressReporter("steps", style=style, interval=0, stream=stream) as report:
        report(0, 2)
        report(1, 2)
        report.write("line")
    assert stream.attempts > 1
