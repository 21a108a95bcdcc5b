"""Grids from end to end, with tiny trainings: skipped, resumed, failed, changed, cut off at any moment, two at once."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rlstitch.agents.artefact import load_agent
from rlstitch.agents.manifest import list_agents
from rlstitch.api.sweeps.plan_sweep import plan_sweep
from rlstitch.api.sweeps.sweep import RunState, SweepProgress, SweepResult, sweep, sweep_states
from rlstitch.api.train import train
from rlstitch.cli.main import main
from rlstitch.config.sweep import load_sweep
from rlstitch.jobs.local import Status

SETTINGS = """
set:
  environment: MiniGrid-Empty-5x5-v0
  device: cpu
  threads: 1
  num_envs: 4
  total_steps: 1024
  ppo: {n_steps: 32, n_minibatches: 2, n_epochs: 2}
  encoder.latent_dim: 8
  controller.hidden: [8]
  relative.anchors: 12
  evaluation: {every_steps: 256, episodes: 2, video: false}
  checkpoint.every_steps: 256
"""
SHORT = SETTINGS.replace("total_steps: 1024", "total_steps: 128\n  task: length:5").replace(
    "episodes: 2", "episodes: 1"
)


def write(text: str, name: str = "tiny") -> Path:
    path = Path(f"{name}.yaml")
    path.write_text(text)
    return path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    agent = load_agent(folder)
    return {**agent.encoder.state_dict(), **{f"c.{name}": part for name, part in agent.controller.state_dict().items()}}


def equal(first: Path, second: Path) -> bool:
    one, two = weights(first), weights(second)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def start(*arguments: str) -> subprocess.Popen[str]:
    program = "import sys; from rlstitch.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "sweep", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def children(parent: int) -> list[int]:
    """Processes whose parent this is."""
    actual = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            if f"\nPPid:\t{parent}\n" in status.read_text():
                actual.append(int(status.parent.name))
    return actual


def until(condition: Callable[[], bool]) -> None:
    for _ in range(30_000):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("it never came to this")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="finds child processes in /proc")
def test_cut_off_sweeps_end_as_if_nothing_had_happened(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("axes: {seed: 1, representation: [absolute, relative], task: 'length:20'}" + SETTINGS)
    # The first time all processes are killed, the second time the grid is stopped as Ctrl-C does.
    with start(str(path), "--workers", "2") as killed:
        until(lambda: any(Path("runs").glob("*/checkpoints/0*/progress.json")))
        for process in [killed.pid, *children(killed.pid)]:
            os.kill(process, signal.SIGKILL)
    assert all(not entry.broken for entry in list_agents(roots=[workplace / "agents"]))
    states = [entry.state for entry in sweep_states(load_sweep(path))]
    assert "begun" in states
    assert not {"failed", "changed"} & set(states)
    with start(str(path), "--workers", "1") as stopped:
        until(lambda: sum(log.read_text().count("== ") for log in Path("runs/_grid/logs").iterdir()) > 2)
        stopped.send_signal(signal.SIGINT)
        reported, _ = stopped.communicate(timeout=600)
    assert stopped.returncode == 130, reported
    assert main(["sweep", str(path), "--workers", "1"]) == 0

    whole = workplace / "whole"
    whole.mkdir()
    runs = load_sweep(path).runs
    monkeypatch.chdir(whole)
    for run in runs:
        train(run.config, progress="none")
        assert equal(whole / "agents" / run.config.name, workplace / "agents" / run.config.name)
        curve = json.loads((whole / "runs" / run.key / "curve.json").read_text())
        assert curve == json.loads((workplace / "runs" / run.key / "curve.json").read_text())
        card, other = (load_agent(root / "agents" / run.config.name).card.training for root in (whole, workplace))
        assert card is not None
        assert other is not None
        assert (card.steps, card.return_mean, card.success_rate) == (other.steps, other.return_mean, other.success_rate)


def test_two_sweeps_at_once_train_each_run_once(workplace: Path) -> None:
    path = write("axes: {seed: [1, 2, 3]}" + SHORT)
    with start(str(path), "--workers", "1") as other:
        here = sweep(load_sweep(path))
        reported, _ = other.communicate(timeout=600)
    assert other.returncode == 0, reported
    trained = int(re.search(r"3 of 3 runs done, (\d) of them now, 0 failed", reported).group(1))
    assert here.trained + trained == 3, reported
    assert [entry.state for entry in sweep_states(load_sweep(path))] == ["done"] * 3
    assert len(list(Path("runs").glob("*/events.*"))) == 3


def test_modules_that_an_agents_file_names_are_not_imported(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("axes: {seed: [1]}" + SHORT)
    config = load_sweep(path).runs[0].config
    folder = workplace / "agents" / config.name
    folder.mkdir(parents=True)
    (workplace / "stranger.py").write_text("open('imported', 'w').close()")
    monkeypatch.syspath_prepend(workplace)
    record = {**config.resolved(), "environment": "Elsewhere-v0", "modules": ["stranger"]}
    for stated in (record, {**record, "sensor": None}, {"world": {"environment": "X-v0", "modules": ["stranger"]}}):
        (folder / "agent.json").write_text(json.dumps({"training": {"hyperparameters": stated}}))
        assert [entry.state for entry in sweep_states(load_sweep(path))] == ["changed"]
        assert not Path("imported").exists()


def test_a_sweep_again_runs_what_is_missing_failed_changed_or_damaged(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("axes: {seed: [1, 2, 3, 4]}" + SHORT)
    bad, damaged, changed, good = (run.config.name for run in load_sweep(path).runs)
    in_the_way = Path("runs") / load_sweep(path).runs[0].key
    in_the_way.parent.mkdir()
    in_the_way.write_text("no folder")
    assert main(["sweep", str(path), "--workers", "1"]) == 1
    out, err = capsys.readouterr()
    assert out == "3 of 4 runs done, 3 of them now, 1 failed\n"
    log = f"runs/_grid/logs/{in_the_way.name}.txt"
    assert err.count(f"{bad}: failed: ") == 2, "when it failed, and in the end"
    assert f"see {log}" in err
    assert "failed: " in Path(log).read_text()

    in_the_way.unlink()
    assert main(["sweep", str(path)]) == 1  # a failed run waits for --retry
    assert capsys.readouterr().out == "3 of 4 runs done, 0 of them now, 1 failed\n"

    before = Path(f"agents/{changed}/agent.json").read_bytes()
    written = Path(f"agents/{good}/agent.json").stat().st_mtime_ns
    Path(f"agents/{damaged}/agent.json").write_text('{"training": {"hyper')
    path = write("axes: {seed: [1, 2, 3, 4]}" + SHORT + "overrides: [{when: {seed: 3}, set: {ppo.gamma: 0.5}}]")
    assert [entry.state for entry in sweep_states(load_sweep(path))] == ["failed", "changed", "changed", "done"]
    assert main(["sweep", str(path), "--dry-run", "--retry"]) == 0
    assert "4 runs: 2 to train again, because their config changed" in capsys.readouterr().out
    assert main(["sweep", str(path), "--retry", "--workers", "1"]) == 0
    assert capsys.readouterr().out == "4 of 4 runs done, 3 of them now, 0 failed\n"
    assert Path(f"agents/{good}/agent.json").stat().st_mtime_ns == written
    (kept,) = Path("runs/_grid/replaced").glob(f"{changed}-*")
    assert (kept / "agent.json").read_bytes() == before
    assert load_agent(kept).card.seed == 3
    table = json.loads(Path("runs/_grid/tiny.json").read_text())
    assert [(row["name"], row["state"], row["steps"]) for row in table] == [
        (name, "done", 128) for name in (bad, damaged, changed, good)
    ]
    assert sweep(load_sweep(path)).trained == 0


def test_the_plan_estimates_from_what_is_recorded(workplace: Path, stored) -> None:
    text = "axes: {environment: [MiniGrid-Empty-5x5-v0, MiniGrid-Empty-6x6-v0], seed: [1, 2]}\nset: {total_steps: 500}"
    grid = load_sweep(write(text))
    states = sweep_states(grid)
    assert "unknown, no such training is recorded" in str(plan_sweep(states, workers=2))
    for seed, steps in ((7, 1000), (8, 3000)):
        stored(f"some-s{seed}")
        path = Path(f"agents/some-s{seed}/agent.json")
        card = json.loads(path.read_text())
        card["world"]["environment"] = "MiniGrid-Empty-5x5-v0"
        given = {"representation": "absolute"}
        card["training"] = {"steps": steps, "seconds": steps / 10, "hyperparameters": given}
        path.write_text(json.dumps(card))
    plan = plan_sweep(states, workers=2)
    # Both of the known environment take 500 steps at 10 a second, on two workers.
    assert (plan.seconds, plan.unknown) == (100.0, 2)
    assert "about 50 s on 2 worker(s) and an unknown time for 2 runs" in str(plan)
    stored_bytes = sum(file.stat().st_size for file in Path("agents/some-s7").iterdir())
    assert sum(cost.size for cost in plan.costs) == pytest.approx(2 * stored_bytes, rel=0.01)
    assert re.search(r"; [\d.]+ MB, of [\d,]+ MB that are free$", str(plan))
    assert "MB, which is more than 0 MB that are free" in str(replace(plan, free=0))
    # One was cut off after its checkpoint at 300 steps.
    Path(f"runs/{states[0].run.key}/checkpoints/{300:012d}").mkdir(parents=True)
    begun = sweep_states(grid)
    assert begun[0].state == "begun"
    assert plan_sweep(begun, workers=2).seconds == 70.0
    done = [RunState(entry.run, "done") for entry in states]
    assert str(plan_sweep(done, workers=2)).endswith("4 runs: 4 done\nnothing to do")


def test_progress_counts_the_steps_of_now_only(workplace: Path) -> None:
    entries = sweep_states(load_sweep(write("axes: {seed: [1, 2, 3]}" + SETTINGS)))
    keys = [entry.run.key for entry in entries]
    stream = io.StringIO()
    progress = SweepProgress(entries, stream=stream)
    for steps in (500, 600, 700):  # a run that had been cut off at about 500 steps
        progress(Status({keys[0]: (steps, 1024)}, 2, {}))
    progress.ended(RunState(entries[0].run, "done", result={"steps": 1024, "return": 0.5, "success": 0.25}))
    progress.ended(RunState(entries[1].run, "failed", "no luck", Path("a.txt")))
    progress.ended(entries[2])
    progress(Status({}, 0, {keys[2]: "it is locked by another process"}))
    failed = RunState(entries[1].run, "failed", "no luck", Path("a.txt"))
    progress.close(SweepResult((failed,), 1, False))
    *lines, last, once_more = stream.getvalue().splitlines()
    assert lines == [
        "empty-5x5-standard-s1: done, 1,024 steps, success 25%, return 0.500",
        "empty-5x5-standard-s2: failed: no luck; see a.txt",
        "empty-5x5-standard-s3: interrupted; it continues from its newest checkpoint the next time",
        f"{keys[2]}: it is locked by another process; it is tried again later",
    ]
    assert last.startswith("200 of 200 steps, 1 done, 1 failed, 0 running, 0 waiting, 1 held by others, ")
    assert once_more == lines[1]


def test_grid_is_an_alias_of_the_command(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("axes: {seed: [1, 2]}" + SETTINGS)
    outputs = []
    for command in ("sweep", "grid"):
        assert main([command, "tiny.yaml", "--dry-run"]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert "2 runs: 2 to train" in outputs[0]


@pytest.mark.parametrize(
    ("axes", "named"),
    [
        ("environment: [MiniGrid-Empty-5x5-v0, MiniGrid-Emty-5x5-v0]", "did you mean MiniGrid-Empty-5x5-v0"),
        ("environment: [Nowhere-v0]", "Nowhere-v0"),
        ("task: [standard, 'leave-out:fly']", "fly"),
    ],
)
def test_a_dry_run_refuses_worlds_that_cannot_be_made(workplace: Path, capsys, axes, named) -> None:
    setting = "  environment: MiniGrid-Empty-5x5-v0\n"
    write(f"axes: {{{axes}}}" + (SETTINGS.replace(setting, "") if "environment" in axes else SETTINGS))
    assert main(["grid", "tiny.yaml", "--dry-run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line


def test_a_mission_that_agents_do_not_see_is_said_before_and_after_training(workplace: Path, capsys) -> None:
    fetch = "MiniGrid-Fetch-5x5-N2-v0"
    write(f"axes: {{environment: [{fetch}, MiniGrid-Empty-5x5-v0]}}\nset: {{total_steps: 128}}")
    assert main(["sweep", "tiny.yaml", "--dry-run"]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "mission" in line]
    assert [line.partition(":")[0] for line in said] == [fetch]
    settings = SHORT.partition("set:\n")[2].replace("\n  ", "\n").replace("MiniGrid-Empty-5x5-v0", fetch)
    write(textwrap.dedent(settings.removeprefix("  ")) + "name: blind\n", "fetch")
    assert main(["train", "fetch.yaml"]) == 0
    assert f"{fetch}: the mission" in capsys.readouterr().err
    for name in ("blind", "fetch.yaml"):
        assert main(["show", name]) == 0
        assert "the mission, a text that differs between episodes, is not shown" in capsys.readouterr().out
