"""Study `graphs-nodes`: encoders and heads of node classifiers that were trained independently are joined.

Shows: four encoder architectures (gcn, sage, gat, gcnii) drive node classifiers' heads of one another
Data: Cora (Planetoid files); with --quick a stochastic block model; needs the extra graph
Time: quick: under 15 seconds; in full: minutes, as 20 networks are trained

After Moschella et al. 2022 (2209.15430, section 5, Cora), with more architectures. All networks see the same graph, as
is usual for node classification; training knows the labels of 20 nodes a class. Anchors are nodes, without labels.
"""

from __future__ import annotations

from collections.abc import Iterator

from rlstitch.modalities.graph import import_geometric
from rlstitch.studies.data import load_graph
from rlstitch.studies.joining import ALL_TRANSLATIONS, ClassificationConfig, ClassificationStudy, JoiningTask
from rlstitch.studies.training.node_classifiers import NodeClassifierTrainer

LAYERS = {"gcn": 2, "sage": 2, "gat": 2, "gcnii": 8}
"""Architecture -> number of message-passing layers; GCNII is made to be deep."""


class Config(ClassificationConfig):
    """Everything that decides the result. `layers` by architecture; `anchors` are nodes of the whole graph."""

    layers: dict[str, int]
    epochs: int


class GraphsNodes(ClassificationStudy[Config]):
    """Joins node classifiers."""

    quick = Config(
        dataset="block-model", seeds=(0, 1), layers=LAYERS | {"gcnii": 4}, epochs=40, head_epochs=40,
        anchors=100, latent_dim=32,
    )  # fmt: skip
    full = Config(
        dataset="cora", seeds=(0, 1, 2, 3, 4), layers=LAYERS, epochs=150, head_epochs=150, anchors=500,
        latent_dim=64, translations=ALL_TRANSLATIONS,
    )  # fmt: skip

    def tasks(self) -> Iterator[JoiningTask]:
        """One task: all architectures on the test nodes."""
        config = self.config
        graph = load_graph(config.dataset, config.data_seed, self.data)
        import_geometric()
        encoders = {
            arch: NodeClassifierTrainer(
                graph=graph, arch=arch, epochs=config.epochs, head_epochs=config.head_epochs, device=self.device,
                network={"latent_dim": config.latent_dim, "layers": layers},
            )
            for arch, layers in config.layers.items()
        }  # fmt: skip
        tested = f"{len(graph.test):,} test nodes of {graph.name}"
        yield JoiningTask(encoders, config.anchors, graph.labels[graph.test], tested)
