"""Grids on Ray: a real cluster of several nodes on this computer, one of which is killed while it works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rlstitch.agents.artefact import load_agent
from rlstitch.api.sweeps.sweep import sweep
from rlstitch.api.train import train
from rlstitch.config.sweep import load_sweep
from rlstitch.errors import ArtefactError, InvalidInputError, MissingExtraError
from rlstitch.jobs.local import Status, Task
from rlstitch.jobs.node import interrupted_once
from rlstitch.jobs.on_ray import Cluster, _connected, run_tasks_on_ray
from rlstitch.jobs.transfer import pack, unpack
from rlstitch.storage.locks import exclusive_lock

GRID = """
axes: {seed: [1, 2, 3]}
set:
  environment: MiniGrid-Empty-5x5-v0
  device: cpu
  threads: 1
  num_envs: 4
  total_steps: 512
  ppo: {n_steps: 32, n_minibatches: 2, n_epochs: 2}
  encoder.latent_dim: 8
  controller.hidden: [8]
  evaluation: {every_steps: 256, episodes: 2, video: false}
  checkpoint.every_steps: 256
resources: {cpus: 1}
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_lost_node_loses_no_run(ray_cluster, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_cluster, nodes, scratch = ray_cluster
    Path("some.yaml").write_text(GRID)
    grid = load_sweep("some.yaml")
    killed: list[Any] = []

    def kill_a_node(status: Status) -> None:
        # Both nodes work when two folders are there.
        if not killed and len(list(scratch.glob("rlstitch-*/work/runs/*/config.json"))) == 2:
            killed.append(nodes[0])
            whole_cluster.remove_node(nodes[0], allow_graceful=False)

    result = sweep(grid, ray="auto", on_progress=kill_a_node)
    assert ([entry.state for entry in result.states], result.trained) == (["done"] * 3, 3), result.states
    assert killed
    assert list(scratch.glob("rlstitch-*/work")), "the lost task left its folder behind"
    assert all(Path(f"runs/{run.key}/curve.json").is_file() for run in grid.runs)
    assert sweep(grid, ray="auto").trained == 0

    # What a task reports is heard while it runs.
    def go_on(status: Status) -> None:
        if status.running.get("half") == (1, 2):
            Path("go").touch()

    half = Task("half", "sample_tasks:half_way", {"path": str(workplace / "go")})
    assert [outcome.value for outcome in run_tasks_on_ray([half], Cluster("auto"), on_progress=go_on)] == [
        "all the way"
    ]

    # One node is left: two tasks that take half of its GPU each run at the same time and see the same one.
    one, other = (str(workplace / name) for name in ("one", "other"))
    pair = [
        Task("one", "sample_tasks:meet", {"mine": one, "other": other}),
        Task("other", "sample_tasks:meet", {"mine": other, "other": one}),
    ]
    shares = run_tasks_on_ray(pair, Cluster("auto", cpus=0.5, gpus=0.5))
    assert [outcome.value for outcome in shares] == ["0", "0"]

    # What another process did meanwhile is not done again.
    lock = Path("a.lock")
    in_the_meantime = [Task("crash", "sample_tasks:crash", {}, lock=lock)]
    (outcome,) = run_tasks_on_ray(in_the_meantime, Cluster("auto"), on_locked=lambda key: {"key": key})
    assert (outcome.state, outcome.value) == ("done", {"key": "crash"})
    with exclusive_lock(lock, "it"):  # it can be taken again
        pass
    outcomes = run_tasks_on_ray(
        [
            Task(name, f"sample_tasks:{name}", {"reason": "no"} if name == "refuse" else {})
            for name in ("refuse", "crash")
        ],
        Cluster("auto"),
    )
    assert [(outcome.state, outcome.error.split(": ")[-1]) for outcome in outcomes] == [
        ("failed", "no"),
        ("failed", "a fault of the program"),
    ]

    # Ctrl-C while one task is at work and two wait: it ends as it thinks right, and what it wrote comes back.
    def interrupt(status: Status) -> None:
        if Path("started").exists():
            raise KeyboardInterrupt

    marks = {"path": "never", "started": str(workplace / "started"), "ended": "out/ended"}
    waiting = [Task(key, "sample_tasks:wait_for", marks, writes=(Path("out"),), keep_partial=True) for key in "abc"]
    outcomes = run_tasks_on_ray(waiting, Cluster("auto"), on_progress=interrupt)
    assert [outcome.state for outcome in outcomes] == ["interrupted"] * 3
    assert Path("out/ended").is_file()

    (workplace / "here").mkdir()
    monkeypatch.chdir(workplace / "here")
    for run in grid.runs[:2]:
        train(run.config, progress="none")
        here, remote = (load_agent(root / "agents" / run.config.name) for root in (Path(), workplace))
        for part in ("encoder", "controller"):
            weights, others = getattr(here, part).state_dict(), getattr(remote, part).state_dict()
            assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_folders_that_travel_arrive_whole_and_stay_below(tmp_path: Path) -> None:
    files = {"agents/a/agent.json": b"{}", "agents/a/encoder.safetensors": b"1", "runs/a/curve.csv": b"x\n"}
    for _ in range(2):
        unpack(files, tmp_path / "here")
    (tmp_path / "here" / "a.lock").touch()
    assert pack(tmp_path / "here") == files
    unpack({"agents/a/agent.json": b"[]"}, tmp_path / "here")
    assert pack(tmp_path / "here" / "agents") == {"a/agent.json": b"[]"}, "an artefact is replaced as a whole"
    for name in ("../a", "/a", "a/../../b", "a\\b"):
        with pytest.raises(InvalidInputError, match="below its folder"):
            unpack({name: b""}, tmp_path)
    with pytest.raises(ArtefactError, match="no such folder"):
        pack(tmp_path / "nowhere")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"rlstitch\[ray\]"):
        run_tasks_on_ray([], Cluster("auto"))


def test_a_task_is_interrupted_once() -> None:
    """Ray interrupts again and again; what a task saves then must not be lost."""
    before, saved = signal.getsignal(signal.SIGINT), []
    with interrupted_once():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            signal.raise_signal(signal.SIGINT)
            saved.append("all")
    assert saved == ["all"]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_cluster_started_here_hears_no_client_without_its_token(workplace: Path) -> None:
    pytest.importorskip("ray")
    client = "import sys, ray; ray.init(sys.argv[1], log_to_driver=False); print(ray.nodes())"
    with _connected("local") as ray:
        command = [sys.executable, "-c", client, ray.get_runtime_context().gcs_address]
        ours, others = (
            subprocess.run(command, env={**os.environ, **token}, capture_output=True, text=True, check=False)
            for token in ({}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64})
        )
    assert (ours.returncode, "NodeID" in ours.stdout) == (0, True), ours.stderr
    assert (others.returncode, others.stdout) == (1, ""), others.stderr
