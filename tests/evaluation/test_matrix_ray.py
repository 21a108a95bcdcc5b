"""A matrix on Ray: a real cluster of several nodes on this computer, one of which is killed while it plays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlstitch.api import matrix as api_matrix
from rlstitch.api.matrix import matrix
from rlstitch.cli.main import main
from rlstitch.config.sweep import Resources
from rlstitch.errors import InvalidInputError, MissingExtraError
from rlstitch.jobs.resources import torch_threads
from rlstitch.storage import read_json
from rlstitch.storage.validation import validated

FAST = {"episodes": 6, "pairs": 24, "methods": ("naive", "affine")}


@pytest.fixture
def three(stored):
    for seed, look in enumerate(("red", "green", "blue"), 1):
        stored(look, seed=seed, variation=look)
    return ["red", "green", "blue"]


def returns(folder: Path) -> dict[str, Any]:
    return {path.name: read_json(path)["returns"] for path in (folder / "cells").iterdir()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_lost_node_loses_no_cell(
    ray_cluster, three, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_cluster, nodes, scratch = ray_cluster
    killed: list[Any] = []
    reported: list[tuple[int, int]] = []

    def kill_a_node(done: int, total: int) -> None:
        reported.append((done, total))
        if not killed and len(list(scratch.glob("rlstitch-*/work"))) == 2:  # both nodes are at work
            killed.append(nodes[0])
            whole_cluster.remove_node(nodes[0], allow_graceful=False)

    sent = matrix(three, out=Path("sent"), ray="auto", on_progress=kill_a_node, **FAST)
    assert killed
    assert list(scratch.glob("rlstitch-*/work")), "the lost task left its folder behind"
    assert (sent.failed, sent.interrupted, sent.complete) == ((), False, True)
    assert reported[-1] == (16, 16)  # three natives, random actions in one world, twelve cells
    assert not Path("sent/agents").exists(), "agents travel one way"
    assert Path("sent/log.txt").read_text().count("== ") == 7

    with torch_threads(1):
        here = matrix(three, out=Path("here"), **FAST)
    assert sent.results == here.results
    assert returns(Path("sent")) == returns(Path("here"))

    # What is there is left alone; in a folder that all nodes see nothing is sent.
    assert matrix(three, out=Path("sent"), ray="auto", **FAST).results == here.results
    lost = sorted(Path("sent/cells").iterdir())[:5]
    for path in lost:
        path.unlink()
    command = ["matrix", *three, "--methods", "naive,affine", "--episodes", "6", "--pairs", "24", "--out", "sent"]
    assert main([*command, "--ray", "auto", "--shared"]) == 0
    assert "IQM" in capsys.readouterr().out
    assert returns(Path("sent")) == returns(Path("here"))

    # An agent that is damaged meanwhile costs its own cells only.
    plan = here.plan
    monkeypatch.setattr(api_matrix, "plan_matrix", lambda *args, **options: plan)
    weights = Path("agents/blue/encoder.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    broken = matrix(three, out=Path("broken"), ray="auto", **FAST)
    assert all("encoder.safetensors" in outcome.error for outcome in broken.failed)
    assert {row.state for row in broken.results.cells if "blue" in (row.encoder, row.controller)} == {"missing"}
    assert {row.state for row in broken.results.cells if "blue" not in (row.encoder, row.controller)} == {"done"}


def test_without_ray_the_extra_is_named(three, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"rlstitch\[ray\]"):
        matrix(three, ray="auto", **FAST)


def test_resources_out_of_range_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidInputError, match="resources: gpus"):
        validated(Resources, {"gpus": -1}, "resources")
    assert main(["matrix", "red", "--ray", "auto", "--cpus", "-1"]) == 2
    assert "resources: cpus" in capsys.readouterr().err
