"""The pool of worker processes: results, failures, losses, locks and interrupts, with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rlstitch.errors import BusyError, InvalidInputError, RlstitchError
from rlstitch.jobs.local import MAX_LOSSES, Outcome, Status, Task, run_tasks
from rlstitch.jobs.resources import available_cores
from rlstitch.jobs.tasks import execute, find_callable, plain
from rlstitch.storage.locks import exclusive_lock

HERE = Path(__file__).parents[1] / "helpers"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    monkeypatch.syspath_prepend(HERE)


def task(key: str, name: str, log: Path | None = None, **arguments: object) -> Task:
    return Task(key, f"sample_tasks:{name}", arguments, log)


def until(path: Path) -> None:
    for _ in range(60_000):
        if path.exists():
            return
        time.sleep(0.01)
    pytest.fail(f"{path} never came")


def test_every_task_is_run_once_and_a_failure_stops_no_other(tmp_path: Path) -> None:
    ended: list[Outcome] = []
    log = tmp_path / "logs" / "crash.txt"
    tasks = [
        task("one", "double", number=1),
        task("bad", "refuse", reason="expected 3,\nfound 4"),
        task("crash", "crash", log),
        task("two", "double", tmp_path / "two.txt", number=2),
        task("none", "missing"),
    ]
    outcomes = run_tasks(tasks, workers=1, threads=3, on_done=ended.append)
    assert [(outcome.key, outcome.state) for outcome in outcomes] == [
        *(("one", "done"), ("bad", "failed"), ("crash", "failed"), ("two", "done"), ("none", "failed"))
    ]
    assert outcomes == ended
    assert outcomes[0].value["twice"] == 2
    assert outcomes[0].value["threads"] == "3"
    assert outcomes[0].value["command"] == sys.argv
    assert outcomes[0].value["process"] != os.getpid()
    assert outcomes[1].error == "expected 3, found 4"
    assert outcomes[2].error == "ZeroDivisionError: a fault of the program"
    assert "Traceback" in log.read_text()
    assert outcomes[3].value["process"] != outcomes[0].value["process"], "after a crash the process is a new one"
    assert "doubling 2" in (tmp_path / "two.txt").read_text()
    assert "cannot import" in outcomes[4].error


def test_a_killed_task_is_begun_again_but_not_for_ever(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    tasks = [
        task("twice", "killed_at_first", folder=str(tmp_path / "a"), times=2),
        task("always", "killed_at_first", folder=str(tmp_path / "b"), times=99),
    ]
    survivor, victim = run_tasks(tasks, workers=2)
    assert (survivor.state, survivor.value) == ("done", 2)
    assert victim.state == "failed"
    assert "lost 3 times" in victim.error
    assert "signal 9" in victim.error
    assert len(list((tmp_path / "b").iterdir())) == MAX_LOSSES


def test_a_task_that_another_holds_is_tried_again_while_others_go_on(tmp_path: Path) -> None:
    lock, seen = tmp_path / "lock", []

    def let_go(outcome: Outcome) -> None:
        if outcome.key == "other":
            release.set()

    release, held = threading.Event(), threading.Event()

    def hold() -> None:
        with exclusive_lock(lock, "the thing"):
            held.set()
            release.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    go_on = tmp_path / "go"
    go_on.touch()
    tasks = [
        task("held", "locked", path=str(lock), started=str(tmp_path / "started"), go_on=str(go_on)),
        task("other", "double", number=1),
    ]
    outcomes = run_tasks(tasks, on_done=let_go, on_progress=lambda progress: seen.append(progress.busy.get("held")))
    holder.join()
    assert [outcome.state for outcome in outcomes] == ["done", "done"]
    assert any(text and "the thing is locked by another process" in text for text in seen)


def test_a_lock_is_held_once_and_dies_with_its_holder(tmp_path: Path) -> None:
    lock, started = tmp_path / "folder" / "lock", tmp_path / "started"
    code = f"import sample_tasks; sample_tasks.locked({str(lock)!r}, {str(started)!r}, 'never')"
    with subprocess.Popen([sys.executable, "-c", code]) as holder:
        until(started)
        with pytest.raises(BusyError, match=rf"the run is locked by another process \(process {holder.pid}, on "):
            exclusive_lock(lock, "the run").__enter__()
        holder.kill()
    with exclusive_lock(lock, "the run"), pytest.raises(BusyError), exclusive_lock(lock, "the run"):
        pytest.fail("held twice")
    with exclusive_lock(lock, "the run"):
        assert json.loads(lock.read_text())["process"] == str(os.getpid())


PARENT = """
import sys
from sample_tasks import wait_for
from rlstitch.jobs.local import Task, run_tasks
folder = sys.argv[1]
tasks = [
    Task(key, "sample_tasks:wait_for", {"path": "-", "started": f"{folder}/{key}", "ended": f"{folder}/{key}.ended"})
    for key in "abc"
]
print([outcome.state for outcome in run_tasks(tasks, workers=2)])
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_parent_reaches_every_child(tmp_path: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        until(tmp_path / "a")
        until(tmp_path / "b")
        parent.send_signal(how)
        reported, _ = parent.communicate(timeout=600)
    if how == signal.SIGKILL:
        assert parent.returncode == -signal.SIGKILL
    else:
        assert reported.split("\n")[0] == "['interrupted', 'interrupted', 'interrupted']"
    until(tmp_path / "a.ended")
    until(tmp_path / "b.ended")
    assert not (tmp_path / "c").exists()


def test_what_cannot_be_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_tasks([]) == []
    assert available_cores() >= 1
    same = [task("same", "double", number=1)] * 2
    with pytest.raises(InvalidInputError, match="'same' twice"):
        run_tasks(same)
    with pytest.raises(InvalidInputError, match="workers: expected 1 or more, found 0"):
        run_tasks(same[:1], workers=0)
    with pytest.raises(InvalidInputError, match="threads: expected 1 or more, found -1"):
        run_tasks(same[:1], threads=-1)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RlstitchError, match="ended with status 1 before"):
        run_tasks(same[:1])


def test_answers_of_a_task() -> None:
    assert execute("sample_tasks:refuse", {"reason": "no"}, print) == {"kind": "failed", "error": "no"}
    with pytest.raises(ZeroDivisionError):
        execute("sample_tasks:crash", {}, print)
    assert find_callable("json:loads") is json.loads
    for wrong in ("json", "json:nothing", "no_such_module:loads", "json:__name__"):
        with pytest.raises(InvalidInputError, match="call"):
            find_callable(wrong)
    reports: list[tuple[int, int]] = []
    answer = execute("sample_tasks:half_way", {"path": __file__}, lambda *units: reports.append(units))
    assert (answer["kind"], reports) == ("done", [(1, 2)])


def test_folders_in_arguments_become_names() -> None:
    arguments = {"a": Path("x"), "b": [{"c": Path("/y")}, 1], "d": "x"}
    assert plain(arguments) == {"a": "x", "b": [{"c": "/y"}, 1], "d": "x"}
    assert plain(arguments, lambda path: "there")["b"] == [{"c": "there"}, 1]


def test_progress_of_a_task_reaches_the_parent(tmp_path: Path) -> None:
    def go_on(status: Status) -> None:
        if status.running.get("half") == (1, 2):
            (tmp_path / "go").touch()

    (outcome,) = run_tasks([task("half", "half_way", path=str(tmp_path / "go"))], on_progress=go_on)
    assert outcome.value == "all the way"
