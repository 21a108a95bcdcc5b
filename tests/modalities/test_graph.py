"""Graphs of labelled nodes: what Planetoid's files hold is read without unpickling; encoders of nodes are trained."""

from __future__ import annotations

import os
import pickle
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from rlstitch.errors import ArtefactError, InvalidInputError, MissingExtraError, UnknownNameError
from rlstitch.modalities.graph import CORA_FILES, LabelledGraph, block_model, read_cora
from rlstitch.modalities.planetoid_pickle import read_planetoid_pickle

DEEP = {"gcn": 2, "sage": 2, "gat": 2, "gin": 2, "gcnii": 4}


def whole(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def text(value: bytes) -> bytes:
    return b"T" + struct.pack("<i", len(value)) + value


def array(value: np.ndarray) -> bytes:
    """The naive writer: an array as Python 2 pickled it."""
    code, order = value.dtype.str[1:].encode(), b"\x89"
    shape = b"(" + b"".join(whole(side) for side in value.shape) + b"t"
    dtype = (
        b"cnumpy\ndtype\n"
        + text(code)
        + b"K\0K\1\x87R(K\3"
        + text(b"<")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    )
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + text(b"b") + b"\x87R"
    return made + b"(K\1" + shape + dtype + order + text(value.tobytes()) + b"tb"


def matrix(value: sparse.csr_matrix) -> bytes:
    parts = {"data": value.data, "indices": value.indices, "indptr": value.indptr}
    state = b"".join(text(name.encode()) + array(part) for name, part in parts.items())
    shape = text(b"_shape") + b"".join(whole(side) for side in value.shape) + b"\x86"
    return b"cscipy.sparse.csr\ncsr_matrix\n)\x81}(" + text(b"format") + text(b"csr") + shape + state + b"ub"


def neighbours(graph: dict[int, list[int]]) -> bytes:
    rows = b"".join(whole(node) + b"](" + b"".join(map(whole, others)) + b"e" for node, others in graph.items())
    return b"ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R(" + rows + b"u"


def store(path: Path, body: bytes) -> Path:
    path.write_bytes(b"\x80\x02" + body + b".")
    return path


@pytest.mark.parametrize("dtype", ["<i4", "<i8", "<f4", "<f8"])
def test_arrays_come_back(tmp_path: Path, dtype: str) -> None:
    value = np.arange(12).reshape(3, 4).astype(dtype)
    read = read_planetoid_pickle(store(tmp_path / "a", array(value)))
    assert read.dtype == value.dtype
    assert np.array_equal(read, value)


def test_matrices_and_neighbours_come_back(tmp_path: Path) -> None:
    value = sparse.random(6, 9, 0.3, format="csr", random_state=0, dtype=np.float32)
    assert np.array_equal(read_planetoid_pickle(store(tmp_path / "m", matrix(value))).toarray(), value.toarray())
    graph = {0: [1, 2], 1: [0], 2: []}
    assert read_planetoid_pickle(store(tmp_path / "g", neighbours(graph))) == graph


class Evil:
    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int) -> None:
    monkeypatch.chdir(tmp_path)
    Path("evil").write_bytes(pickle.dumps(Evil(), protocol=protocol))
    with pytest.raises(ArtefactError, match="evil: expected a Planetoid file of plain arrays: it "):
        read_planetoid_pickle("evil")
    assert not Path("ran").exists()


GOOD = array(np.arange(6, dtype=np.int32))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (GOOD.replace(b"cnumpy\ndtype", b"cnumpy\nfloat"), "asks for 'numpy float'"),
        (GOOD.replace(b"i4", b"O8"), "calls dtype in a way"),
        (GOOD.replace(text(b"<"), text(b">")), "little-endian"),
        (GOOD.replace(whole(6), whole(7)), r"shape \(7,\) of <i4 does not take 24 bytes"),
        (GOOD.replace(whole(6), whole(-6)), "one or two dimensions"),
        (b"c__builtin__\nlist\n)R", "calls list"),
        (b"cnumpy\nndarray\n)\x81", "no CSR matrix"),
        (b"}}b", "fills a dict"),
        (b"h\x07", "7"),
        (b"K\1", "expected dict, found int"),
        (b"a", "list index out of range"),
        (b"}(K\1u", "shorter"),
        (b"cos\nsystem\n" + text(b"true") + b"\x85R", "asks for 'os system'"),
        (b"\x8c\x02os\x8c\x06system\x93", "instruction SHORT_BINUNICODE"),
        (b"P1\n", "instruction PERSID"),
    ],
)
def test_what_arrays_do_not_need_is_refused(tmp_path: Path, body: bytes, message: str) -> None:
    if "list index" in message or "shorter" in message:
        message = "expected a Planetoid file of plain arrays"
    with pytest.raises(ArtefactError, match=message):
        read_planetoid_pickle(store(tmp_path / "a", body))


def test_a_matrix_that_points_outside_of_itself_is_refused(tmp_path: Path) -> None:
    value = sparse.csr_matrix(np.eye(4, dtype=np.float32))
    value.indices = value.indices + np.int32(2)
    with pytest.raises(ArtefactError, match="plain arrays"):
        read_planetoid_pickle(store(tmp_path / "m", matrix(value)))


@pytest.mark.parametrize("cut", [0, 3, 40, 90])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    (tmp_path / "a").write_bytes((b"\x80\x02" + GOOD + b".")[:cut])
    with pytest.raises(ArtefactError, match="plain arrays"):
        read_planetoid_pickle(tmp_path / "a")
    with pytest.raises(ArtefactError, match="no such file"):
        read_planetoid_pickle(tmp_path / "b")


def small_cora(folder: Path, order: tuple[int, ...] = (705, 701, 702, 703, 704), **changed: bytes) -> None:
    """Files of Cora's form: 701 nodes that are known, and tests in an order of their own."""
    features = sparse.csr_matrix(np.eye(706, 9, dtype=np.float32) + np.ones((706, 9), np.float32))
    onehot = np.eye(3, dtype=np.int32)[np.arange(706) % 3]
    parts = {
        "x": matrix(features[:30]), "y": array(onehot[:30]),
        "allx": matrix(features[:701]), "ally": array(onehot[:701]),
        "tx": matrix(features[701:]), "ty": array(onehot[701:]),
        "graph": neighbours({0: [1, 1, 0], 1: [0], 705: [0]}),
    }  # fmt: skip
    for name, body in {**parts, **changed}.items():
        store(folder / f"ind.cora.{name}", body)
    (folder / "ind.cora.test.index").write_text("".join(f"{row}\n" for row in order))


def test_rows_of_tests_go_where_the_index_says(tmp_path: Path) -> None:
    small_cora(tmp_path)
    graph = read_cora(tmp_path)
    assert (len(graph), len(graph.train), len(graph.validation), graph.classes) == (706, 30, 500, 3)
    assert graph.test.tolist() == [701, 702, 703, 704, 705]
    # The first row of tests, row 701 of all, is that of node 705.
    assert graph.labels[701:].tolist() == [702 % 3, 703 % 3, 704 % 3, 705 % 3, 701 % 3]
    assert graph.edges.tolist() == [[0, 0, 1, 705], [1, 705, 0, 0]]
    assert np.allclose(graph.features.sum(1), 1)


def test_files_that_do_not_fit_together(tmp_path: Path) -> None:
    small_cora(tmp_path, order=(1, 2, 3, 4, 5))
    with pytest.raises(ArtefactError, match="rows from 701 on"):
        read_cora(tmp_path)
    small_cora(tmp_path, graph=neighbours({0: [9000]}))
    with pytest.raises(ArtefactError, match=r"do not fit together: edges must be \(2, m\) of nodes in \[0, 706\)"):
        read_cora(tmp_path)
    (tmp_path / "ind.cora.test.index").write_text("one\n")
    with pytest.raises(ArtefactError, match="one row number a line"):
        read_cora(tmp_path)


@pytest.mark.skipif("RLSTITCH_DATA" not in os.environ, reason="RLSTITCH_DATA does not name the folder of real data")
def test_the_published_cora() -> None:
    folder = Path(os.environ["RLSTITCH_DATA"]) / "planetoid"
    assert all((folder / name).is_file() for name in CORA_FILES)
    graph = read_cora(folder)
    assert graph.features.shape == (2708, 1433)
    assert graph.edges.shape == (2, 10556)
    assert np.bincount(graph.labels).tolist() == [351, 217, 418, 818, 426, 298, 180]
    assert np.bincount(graph.labels[graph.train]).tolist() == [20] * 7
    # Neighbours share their class: 0.81 is the homophily that is published for Cora.
    assert round(float((graph.labels[graph.edges[0]] == graph.labels[graph.edges[1]]).mean()), 2) == 0.81


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
    with pytest.raises(MissingExtraError, match=r"Training on graphs needs .* 'rlstitch\[graph\]'"):
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
