from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stitch_samples import relativize_quickly, untrained

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import save_agent
from rlstitch.jobs import progress
from rlstitch.rollouts import display, video

SMALL = "MiniGrid-LavaCrossingS9N1-v0"
"""Hundreds of views, quickly found, and episodes that soon end in the lava."""


@pytest.fixture(autouse=True)
def _no_lines_of_progress_on_a_slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds of silence, after which a line of progress comes, are no part of what a command prints."""
    monkeypatch.setattr(progress, "_SILENCE", 3600.0)


@pytest.fixture(autouse=True)
def _one_width_of_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command sets COLUMNS for its process, which would reach the tests after it."""
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder of the module's own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("work")
        patch.chdir(folder)
        yield folder


@pytest.fixture
def stored(workplace: Path):
    """Make an agent with random weights and store it: `stored("name", variation=...)`."""

    def make(name: str, **overrides: Any) -> Agent:
        agent = untrained(name, **{"environment": SMALL, **overrides})
        save_agent(agent, workplace / "agents" / name, force=True)
        return agent

    return make


@pytest.fixture
def two(stored):
    """A red and a green agent in `./agents`."""
    return stored("red"), stored("green", seed=2, variation="green")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relativize on fewer states, in fewer steps than usual."""
    relativize_quickly(monkeypatch)


@pytest.fixture
def short_films(monkeypatch: pytest.MonkeyPatch) -> None:
    """Films of a few small frames."""
    monkeypatch.setattr(video, "_FRAMES", 6)
    monkeypatch.setattr(display, "_TILE", 8)


@pytest.fixture
def ray_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that works on nothing, and two nodes of one processor and what passes for a GPU."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'rlstitch[ray]'")
    from ray.cluster_utils import Cluster

    scratch = Path(tempfile.mkdtemp(prefix="r"))  # pytest's own folder is too long a path for Ray's sockets
    monkeypatch.setenv("TMPDIR", str(scratch))  # where tasks make their folders
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "helpers"), prepend=os.pathsep)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    store = 80 * 2**20
    head = {"num_cpus": 0, "object_store_memory": store, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=store) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    yield cluster, nodes, scratch
    ray.shutdown()
    cluster.shutdown()
    shutil.rmtree(scratch, ignore_errors=True)
