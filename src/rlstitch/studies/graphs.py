"""Study `graphs-nodes`: encoders and heads of node classifiers that were trained apart are joined.

After Moschella et al. 2022 (2209.15430, section 5, Cora), with more makes of encoder. All see the same graph, as is
usual where nodes of one graph are told apart; labels of 20 nodes a class are known to training. Anchors are nodes
whose labels are not looked at.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from rlstitch.jobs.resources import resolve_device
from rlstitch.modalities.classifiers import accuracy
from rlstitch.modalities.graph import PLANETOID, LabelledGraph, block_model, import_geometric, read_planetoid
from rlstitch.modalities.graph_training import encode_nodes, train_node_classifier, train_node_head
from rlstitch.studies.joining import (
    ALL_TRANSLATIONS,
    TRANSLATIONS,
    Part,
    accuracy_facts,
    join_all,
    make_part,
    table_of,
)
from rlstitch.studies.study import Findings, Row, StudyOptions, find_data

LAYERS = {"gcn": 2, "sage": 2, "gat": 2, "gcnii": 8}
"""Make -> its layers of messages; GCNII is made to be deep."""

_WHAT = "Cora (Planetoid files, https://github.com/kimiyoung/planetoid)"


@dataclass(frozen=True)
class GraphStudyConfig:
    """Everything that decides the outcome. `anchors`: nodes, of all of the graph."""

    dataset: str
    seeds: tuple[int, ...]
    layers: dict[str, int]
    epochs: int
    head_epochs: int
    anchors: int
    latent_dim: int
    translations: tuple[str, ...] = TRANSLATIONS
    data_seed: int = 0


def resolve(options: StudyOptions) -> Row:
    """The config as JSON: a block model of 700 nodes where quick, else Cora."""
    seeds = tuple(range(options.seeds or (2 if options.quick else 5)))
    if options.quick:
        return asdict(GraphStudyConfig("block-model", seeds, LAYERS | {"gcnii": 4}, 40, 40, 100, 32))
    return asdict(GraphStudyConfig("cora", seeds, LAYERS, 150, 150, 500, 64, ALL_TRANSLATIONS))


def load_graph(dataset: str, options: StudyOptions, seed: int = 0) -> LabelledGraph:
    """The graph of that name; Cora from where the options say.

    Raises:
        InvalidInputError: where Cora is not found.
        ArtefactError: where it is damaged.
    """
    if dataset == "block-model":
        return block_model(seed=seed)
    return read_planetoid(find_data(options.data, "planetoid", list(PLANETOID[dataset]), _WHAT), dataset)


def run(config: Row, options: StudyOptions) -> Findings:
    """Train every network, join each encoder to each head of the next seed, and measure accuracy on test nodes."""
    settings = GraphStudyConfig(**{name: value for name, value in config.items() if name != "study"})
    device = resolve_device(options.device)
    graph = load_graph(settings.dataset, options, settings.data_seed)
    import_geometric()
    anchors = np.random.default_rng(settings.data_seed).permutation(len(graph))[: settings.anchors]
    parts: list[Part] = []
    for seed in settings.seeds:
        for arch in settings.layers:
            parts.append(_part(arch, seed, settings, graph, anchors, device))
            own = accuracy(parts[-1].head, parts[-1].test.vectors, graph.labels[graph.test])
            options.on_progress(f"{arch}-s{seed} trained: accuracy {own:.3f} with its own head")
    labels = graph.labels[graph.test]
    cells = join_all(parts, lambda head, features: accuracy(head, features, labels), settings.translations)
    table = table_of(cells)
    tested = f"{len(graph.test):,} test nodes of {graph.name}"
    return Findings(cells, table, accuracy_facts(table, tested, cells))


def _part(
    arch: str,
    seed: int,
    settings: GraphStudyConfig,
    graph: LabelledGraph,
    anchors: np.ndarray[Any, np.dtype[np.int64]],
    device: str,
) -> Part:
    model = train_node_classifier(
        graph, arch=arch, seed=seed, epochs=settings.epochs, device=device,
        latent_dim=settings.latent_dim, layers=settings.layers[arch],
    )  # fmt: skip
    seen = encode_nodes(model.encoder, graph, name=model.name)

    def head(features: torch.Tensor) -> nn.Module:
        return train_node_head(graph, features, seed=seed, epochs=settings.head_epochs)

    return make_part(arch, seed, model.head, seen, seen.subset(graph.test.tolist()), anchors.tolist(), head)
