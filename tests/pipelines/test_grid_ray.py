"""Grids on Ray: a real cluster of several nodes on this computer, one of which is killed while it works."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rlstitch.agents.artefact import load_agent
from rlstitch.errors import InvalidInputError, MissingExtraError
from rlstitch.pipelines import grid_ray
from rlstitch.pipelines.grid import run_grid
from rlstitch.pipelines.grid_config import load_grid
from rlstitch.pipelines.grid_ray import fetch, run_tasks_on_ray
from rlstitch.pipelines.grid_runner import Progress, Task
from rlstitch.pipelines.train import train

HERE = Path(__file__).parent
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
  evaluation: {every_steps: 256, episodes: 2}
  checkpoint.every_steps: 256
resources: {cpus: 1}
"""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that works on nothing, and two nodes of one processor each."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'rlstitch[ray]'")
    from ray.cluster_utils import Cluster

    scratch = Path(tempfile.mkdtemp(prefix="r"))  # pytest's own folder is too long a path for Ray's sockets
    monkeypatch.setenv("TMPDIR", str(scratch))  # where tasks make their folders
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    store = 80 * 2**20
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": store})
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=store) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    yield cluster, nodes, scratch
    ray.shutdown()
    cluster.shutdown()
    shutil.rmtree(scratch, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_lost_node_loses_no_run(cluster, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_cluster, nodes, scratch = cluster
    Path("some.yaml").write_text(GRID)
    grid = load_grid("some.yaml")
    killed: list[Any] = []

    def kill_a_node(progress: Progress) -> None:
        # Both nodes work when two folders are there.
        if not killed and len(list(scratch.glob("rlstitch-*/work/runs/*/config.json"))) == 2:
            killed.append(nodes[0])
            whole_cluster.remove_node(nodes[0], allow_graceful=False)

    result = run_grid(grid, ray="auto", on_progress=kill_a_node)
    assert ([entry.state for entry in result.states], result.trained) == (["done"] * 3, 3), result.states
    assert killed
    assert list(scratch.glob("rlstitch-*/work")), "the lost task left its folder behind"
    assert all(Path(f"runs/{run.key}/curve.json").is_file() for run in grid.runs)
    assert run_grid(grid, ray="auto").trained == 0
    outcomes = run_tasks_on_ray(
        [
            Task(name, f"grid_tasks:{name}", {"reason": "no"} if name == "refuse" else {})
            for name in ("refuse", "crash")
        ],
        address="auto",
    )
    assert [(outcome.state, outcome.error.split(": ")[-1]) for outcome in outcomes] == [
        ("failed", "no"),
        ("failed", "a fault of the program"),
    ]

    (workplace / "here").mkdir()
    monkeypatch.chdir(workplace / "here")
    for run in grid.runs[:2]:
        train(run.config, progress="none")
        here, there = (load_agent(root / "agents" / run.config.name) for root in (Path(), workplace))
        for part in ("encoder", "controller"):
            weights, others = getattr(here, part).state_dict(), getattr(there, part).state_dict()
            assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_files_that_come_back_are_written_whole_and_stay_below(tmp_path: Path) -> None:
    replaced: list[Path] = []
    files = {"agents/a/agent.json": b"{}", "agents/a/encoder.safetensors": b"1", "runs/a/curve.csv": b"x\n"}
    fetch(files, tmp_path, replaced.append)
    fetch(files, tmp_path, replaced.append)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == set(files)
    assert replaced == [tmp_path / "agents" / "a"]
    for name in ("../a", "/a", "a/../../b", "a\\b"):
        with pytest.raises(InvalidInputError, match="below its folder"):
            fetch({name: b""}, tmp_path)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"rlstitch\[ray\]"):
        grid_ray.run_tasks_on_ray([], address="auto")
