"""Encoder architectures for nodes, and classifiers made of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.modalities.graph import LabelledGraph, block_model
from rlstitch.studies.training.node_classifiers import (
    NodeEncoder,
    NodeInputs,
    NodeTraining,
    encode_nodes,
    train_node_classifier,
    train_node_head,
)
from rlstitch.studies.training.trainers import accuracy

DEEP = {"gcn": 2, "sage": 2, "gat": 2, "gin": 2, "gcnii": 4}


@pytest.fixture(scope="module")
def nodes() -> LabelledGraph:
    pytest.importorskip("torch_geometric", reason="PyTorch Geometric is not installed: pip install 'rlstitch[graph]'")
    return block_model(nodes=250, classes=3, words=60, within=0.05, between=0.005)


@pytest.mark.parametrize("arch", DEEP)
def test_an_encoder_hears_its_neighbours_and_no_others(nodes: LabelledGraph, arch: str) -> None:
    torch.manual_seed(0)
    encoder = NodeEncoder(arch, 60, latent_dim=8, hidden=8, layers=1).eval()
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
    torch.manual_seed(0)
    encoder = NodeEncoder("sage", 60, latent_dim=4, hidden=5, layers=1).eval()
    naive = encoder.layers[0](torch.relu(torch.tensor(nodes.features) @ encoder.words), torch.tensor(nodes.edges))
    assert torch.allclose(encoder(NodeInputs.of(nodes)), naive, atol=1e-5)


@pytest.mark.parametrize("looped", [False, True], ids=["plain", "with an edge to itself"])
def test_messages_are_scaled_as_the_library_does(nodes: LabelledGraph, looped: bool) -> None:
    from torch_geometric.nn import GCN2Conv, GCNConv

    edges = np.concatenate([nodes.edges, [[3], [3]]], axis=1) if looped else nodes.edges
    inputs = NodeInputs.of(LabelledGraph(**{**vars(nodes), "edges": edges}))
    x, first = torch.randn(2, 250, 4, generator=torch.Generator().manual_seed(0))
    gcn, gcnii = (NodeEncoder(arch, 60, latent_dim=4, hidden=4, layers=1).layers[0] for arch in ("gcn", "gcnii"))
    own, deep = GCNConv(4, 4), GCN2Conv(4, alpha=0.1, theta=0.5, layer=1)
    own.load_state_dict(gcn.state_dict())
    deep.load_state_dict(gcnii.state_dict())
    both_ways = torch.tensor(edges)
    assert torch.allclose(gcn(x, inputs.loops, inputs.shares), own(x, both_ways), atol=1e-6)
    assert torch.allclose(gcnii(x, first, inputs.loops, inputs.shares), deep(x, first, both_ways), atol=1e-6)


def test_training_learns_and_is_fixed_by_its_seed(nodes: LabelledGraph) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    seen: list[int] = []
    small = {"latent_dim": 8, "hidden": 16}
    one, again, other = (
        train_node_classifier(
            nodes, "gcn", NodeTraining(seed=seed, epochs=25), on_epoch=lambda e, *_: seen.append(e), **small
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
    assert accuracy(one.head, spaces[0].vectors[nodes.test], labels) > 0.7
    slow = train_node_classifier(nodes, "gcn", NodeTraining(seed=1, epochs=25, optimizer="sgd"), **small)
    weak = encode_nodes(slow.encoder, nodes).vectors
    assert accuracy(slow.head, weak[nodes.test], labels) < accuracy(one.head, spaces[0].vectors[nodes.test], labels)
    head = train_node_head(nodes, spaces[2].vectors, NodeTraining(seed=0, epochs=25))
    assert accuracy(head, spaces[2].vectors[nodes.test], labels) > 0.7


def test_training_that_cannot_be_done(nodes: LabelledGraph) -> None:
    with pytest.raises(UnknownNameError, match="did you mean gcn"):
        train_node_classifier(nodes, "gcm", NodeTraining(seed=0))
    with pytest.raises(UnknownNameError, match="unknown activation"):
        train_node_classifier(nodes, "gcn", NodeTraining(seed=0), activation="step")
    with pytest.raises(UnknownNameError, match="unknown optimizer"):
        NodeTraining(seed=0, optimizer="adagrad")
    with pytest.raises(InvalidInputError, match=r"dropout in \[0, 1\), found 60, 64, 64, 2 and 1"):
        train_node_classifier(nodes, "gcn", NodeTraining(seed=0), dropout=1)
    with pytest.raises(InvalidInputError, match="epochs must be above 0, found 0"):
        NodeTraining(seed=0, epochs=0)
    with pytest.raises(InvalidInputError, match=r"vectors must be \(250, d\), one a node, found \(3, 2\)"):
        train_node_head(nodes, torch.zeros(3, 2), NodeTraining(seed=0))
