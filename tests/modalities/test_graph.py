"""Graphs of labelled nodes: the published ones alone are unpickled."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pickle
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from rlstitch.errors import ArtefactError, InvalidInputError, MissingExtraError, UnknownNameError
from rlstitch.modalities.graph import PLANETOID, LabelledGraph, block_model, read_planetoid

needs_geometric = pytest.mark.skipif(
    importlib.util.find_spec("torch_geometric") is None,
    reason="PyTorch Geometric is not installed: pip install 'rlstitch[graph]'",
)
needs_data = pytest.mark.skipif("RLSTITCH_DATA" not in os.environ, reason="RLSTITCH_DATA names no folder of real data")
CORA = Path(os.environ.get("RLSTITCH_DATA", "")) / "planetoid"


class Evil:
    """Unpickled, it touches a file."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (Path("ran"),)


@needs_geometric
@pytest.mark.parametrize("name", list(PLANETOID))
def test_other_files_than_the_published_ones_are_never_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtefactError, match=rf"ind\.{name}\.x: there is no such file"):
        read_planetoid(tmp_path, name)
    for file in PLANETOID[name]:
        Path(file).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ArtefactError, match=rf"ind\.{name}\.x: expected the published file, found other content"):
        read_planetoid(tmp_path, name)
    assert not Path("ran").exists()


@needs_geometric
@needs_data
def test_one_changed_byte_in_a_published_file_is_refused(tmp_path: Path) -> None:
    for file in PLANETOID["cora"]:
        shutil.copy(CORA / file, tmp_path)
    graph = tmp_path / "ind.cora.graph"
    content = graph.read_bytes()
    for damaged in (content[:200], content[:-1], content[:1000] + b"\0" + content[1001:], b""):
        graph.write_bytes(damaged)
        with pytest.raises(ArtefactError, match=r"ind\.cora\.graph: expected the published file"):
            read_planetoid(tmp_path)


@needs_geometric
@needs_data
def test_the_published_cora() -> None:
    before = list(warnings.filters)
    graph = read_planetoid(CORA)
    assert warnings.filters == before
    assert (graph.features.shape, graph.edges.shape, graph.name) == ((2708, 1433), (2, 10556), "cora")
    assert np.bincount(graph.labels).tolist() == [351, 217, 418, 818, 426, 298, 180]
    assert np.bincount(graph.labels[graph.train]).tolist() == [20] * 7
    # Homophily, as published: 81 % of edges join papers of one class.
    assert round(float((graph.labels[graph.edges[0]] == graph.labels[graph.edges[1]]).mean()), 2) == 0.81
    # Bit for bit what earlier versions read, on which the published results rest.
    arrays = (graph.features, graph.edges, graph.labels, graph.train, graph.validation, graph.test)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()
    assert digest == "aaeba81fe9661270a7a94a23a3a38dc3bf679689fe20b4e79b3d0ff763da6488"


def test_a_planetoid_data_set_that_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean cora"):
        read_planetoid(tmp_path, "corra")


def test_a_block_model_is_what_it_says() -> None:
    graph = block_model(nodes=600, classes=4, within=0.05, between=0.01, seed=3)
    same = graph.labels[graph.edges[0]] == graph.labels[graph.edges[1]]
    pairs = 4 * 150 * 149
    assert same.sum() / pairs == pytest.approx(0.05, abs=0.005)
    assert (~same).sum() / (600 * 450) == pytest.approx(0.01, abs=0.002)
    assert set(map(tuple, graph.edges.T)) == set(map(tuple, graph.edges[::-1].T)), "every edge in both directions"
    assert np.bincount(graph.labels[graph.train]).tolist() == [20] * 4
    assert np.array_equal(graph.edges, block_model(nodes=600, classes=4, within=0.05, between=0.01, seed=3).edges)
    assert graph.keys[:2] == ("node-0", "node-1")


def test_graphs_that_cannot_be() -> None:
    with pytest.raises(InvalidInputError, match="50 nodes and 5 words a class, found classes 5, nodes 100"):
        block_model(nodes=100)
    with pytest.raises(InvalidInputError, match=r"within and between must lie in \[0, 1\]"):
        block_model(within=2)
    good = {
        "features": np.ones((4, 2), np.float32), "edges": np.zeros((2, 1), np.int64), "labels": np.array([0, 1, 0, 1]),
        "train": np.array([0]), "validation": np.array([1]), "test": np.array([2, 3]), "classes": 2,
    }  # fmt: skip
    assert len(LabelledGraph(**good)) == 4  # type: ignore[arg-type]
    wrong = {
        "labels": (np.array([0, 1]), r"features must be \(n, f\)"), "edges": (np.array([[0], [4]]), r"in \[0, 4\)"),
        "classes": (1, r"lie in \[0, 1\), found 0 to 1"), "train": (np.array([2]), "share none"),
    }  # fmt: skip
    for name, (value, message) in wrong.items():
        with pytest.raises(InvalidInputError, match=message):
            LabelledGraph(**{**good, name: value})  # type: ignore[arg-type]


@needs_data
def test_without_the_extra_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_geometric.nn", None)
    with pytest.raises(MissingExtraError, match=r"A study of graphs needs .* 'rlstitch\[graph\]'"):
        read_planetoid(CORA)
