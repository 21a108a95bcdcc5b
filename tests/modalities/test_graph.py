"""Graphs of labelled nodes: the published ones alone are unpickled; encoders of nodes are trained."""

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
import torch

from rlstitch.errors import ArtefactError, InvalidInputError, MissingExtraError, UnknownNameError
from rlstitch.modalities.graph import PLANETOID, LabelledGraph, block_model, read_planetoid

needs_geometric = pytest.mark.skipif(
    importlib.util.find_spec("torch_geometric") is None,
    reason="PyTorch Geometric is not installed: pip install 'rlstitch[graph]'",
)
needs_data = pytest.mark.skipif("RLSTITCH_DATA" not in os.environ, reason="RLSTITCH_DATA names no folder of real data")
CORA = Path(os.environ.get("RLSTITCH_DATA", "")) / "planetoid"
DEEP = {"gcn": 2, "sage": 2, "gat": 2, "gin": 2, "gcnii": 4}


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


def test_without_the_extra_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from rlstitch.modalities.graph_encoders import node_encoder

    monkeypatch.setitem(sys.modules, "torch_geometric.nn", None)
    with pytest.raises(MissingExtraError, match=r"A study of graphs needs .* 'rlstitch\[graph\]'"):
        node_encoder("gcn", 5)


@pytest.fixture(scope="module")
def nodes() -> LabelledGraph:
    pytest.importorskip("torch_geometric", reason="PyTorch Geometric is not installed: pip install 'rlstitch[graph]'")
    return block_model(nodes=250, classes=3, words=60, within=0.05, between=0.005)


@pytest.mark.parametrize("arch", DEEP)
def test_an_encoder_hears_its_neighbours_and_no_others(nodes: LabelledGraph, arch: str) -> None:
    from rlstitch.modalities.graph_encoders import NodeInputs, node_encoder

    torch.manual_seed(0)
    encoder = node_encoder(arch, 60, latent_dim=8, hidden=8, layers=1).eval()
    before = encoder(NodeInputs.of(nodes))
    assert before.shape == (250, 8)
    changed = nodes.features.copy()
    changed[7] = np.roll(changed[7], 20) + 0.1
    near = {7, *nodes.edges[1, nodes.edges[0] == 7].tolist()}
    after = encoder(NodeInputs.of(LabelledGraph(**{**vars(nodes), "features": changed})))
    moved = set(torch.nonzero((after - before).abs().amax(1) > 1e-6)[:, 0].tolist())
    assert 7 in moved
    assert moved - {7} <= near
    assert len(moved) > 1


def test_words_are_a_linear_layer(nodes: LabelledGraph) -> None:
    from rlstitch.modalities.graph_encoders import NodeInputs, node_encoder

    torch.manual_seed(0)
    encoder = node_encoder("sage", 60, latent_dim=4, hidden=5, layers=1).eval()
    naive = encoder.layers[0](torch.relu(torch.tensor(nodes.features) @ encoder.words), torch.tensor(nodes.edges))
    assert torch.allclose(encoder(NodeInputs.of(nodes)), naive, atol=1e-5)


@pytest.mark.parametrize("looped", [False, True], ids=["plain", "with an edge to itself"])
def test_messages_are_scaled_as_the_library_does(nodes: LabelledGraph, looped: bool) -> None:
    from torch_geometric.nn import GCN2Conv, GCNConv

    from rlstitch.modalities.graph_encoders import NodeInputs, node_encoder

    edges = np.concatenate([nodes.edges, [[3], [3]]], axis=1) if looped else nodes.edges
    inputs = NodeInputs.of(LabelledGraph(**{**vars(nodes), "edges": edges}))
    x, first = torch.randn(2, 250, 4, generator=torch.Generator().manual_seed(0))
    gcn, gcnii = (node_encoder(arch, 60, latent_dim=4, hidden=4, layers=1).layers[0] for arch in ("gcn", "gcnii"))
    own, deep = GCNConv(4, 4), GCN2Conv(4, alpha=0.1, theta=0.5, layer=1)
    own.load_state_dict(gcn.state_dict())
    deep.load_state_dict(gcnii.state_dict())
    there = torch.tensor(edges)
    assert torch.allclose(gcn(x, inputs.loops, inputs.shares), own(x, there), atol=1e-6)
    assert torch.allclose(gcnii(x, first, inputs.loops, inputs.shares), deep(x, first, there), atol=1e-6)


def test_training_learns_and_is_fixed_by_its_seed(nodes: LabelledGraph) -> None:
    from rlstitch.modalities.classifiers import accuracy
    from rlstitch.modalities.graph_training import encode_nodes, train_node_classifier, train_node_head

    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    seen: list[int] = []
    one, again, other = (
        train_node_classifier(
            nodes, arch="gcn", seed=seed, epochs=25, latent_dim=8, hidden=16, on_epoch=lambda e, *_: seen.append(e)
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert seen == [*range(25)] * 3
    spaces = [encode_nodes(model.encoder, nodes, name=model.name) for model in (one, again, other)]
    assert torch.equal(spaces[0].vectors, spaces[1].vectors)
    assert not torch.allclose(spaces[0].vectors, spaces[2].vectors, atol=0.1)
    assert (spaces[0].name, spaces[0].keys) == ("gcn-s1", nodes.keys)
    labels = nodes.labels[nodes.test]
    own, held = (
        accuracy(one.head, spaces[0].vectors[rows], nodes.labels[rows]) for rows in (nodes.test, nodes.validation)
    )
    assert own > 0.7
    assert held == pytest.approx(one.validation)
    slow = train_node_classifier(nodes, arch="gcn", seed=1, epochs=25, latent_dim=8, hidden=16, optimizer="sgd")
    assert slow.validation < one.validation, "from the same weights"
    head = train_node_head(nodes, spaces[2].vectors, seed=0, epochs=25)
    assert accuracy(head, spaces[2].vectors[nodes.test], labels) > 0.7


def test_training_that_cannot_be_done(nodes: LabelledGraph) -> None:
    from rlstitch.modalities.graph_training import train_node_classifier, train_node_head

    with pytest.raises(UnknownNameError, match="did you mean gcn"):
        train_node_classifier(nodes, arch="gcm", seed=0)
    with pytest.raises(UnknownNameError, match="unknown activation"):
        train_node_classifier(nodes, arch="gcn", seed=0, activation="step")
    with pytest.raises(UnknownNameError, match="unknown optimizer"):
        train_node_classifier(nodes, arch="gcn", seed=0, optimizer="adagrad")
    with pytest.raises(InvalidInputError, match=r"dropout in \[0, 1\), found 60, 64, 64, 2 and 1"):
        train_node_classifier(nodes, arch="gcn", seed=0, dropout=1)
    with pytest.raises(InvalidInputError, match="epochs must be above 0, found 0"):
        train_node_classifier(nodes, arch="gcn", seed=0, epochs=0)
    with pytest.raises(InvalidInputError, match=r"vectors must be \(250, d\), one a node, found \(3, 2\)"):
        train_node_head(nodes, torch.zeros(3, 2), seed=0)
