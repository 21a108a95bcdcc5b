"""Similarity of node classifiers to a reference, relative to the same anchor nodes and without labels."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import nn

from rlstitch.latent import matched_cosine, relative_projection
from rlstitch.modalities.graph import LabelledGraph
from rlstitch.storage import read_json, write_json
from rlstitch.studies.tables import Row
from rlstitch.studies.training.classifiers import accuracy
from rlstitch.studies.training.node_classifiers import (
    NodeTraining,
    encode_nodes,
    train_node_classifier,
)
from rlstitch.studies.training.node_networks import NodeInputs
from rlstitch.studies.training.optim import Network

MIN_VALIDATION = 0.5
"""The paper's filter: models below this accuracy on validation nodes are left out."""


@dataclass(frozen=True)
class Similarity:
    """The mean cosine of relative vectors of the same nodes.

    Attributes:
        space: what is compared, `latents` or `logits`.
        transform: applied to these first.
        normalization: before the projection.
        centered: subtract the mean relative vector of all nodes.
    """

    space: str = "latents"
    transform: Callable[[torch.Tensor], torch.Tensor] = lambda x: x
    normalization: str = "identity"
    centered: bool = False

    def relative(self, spaces: dict[str, torch.Tensor], anchors: torch.Tensor) -> torch.Tensor:
        """Project all nodes: (n, anchors)."""
        x = self.transform(spaces[self.space])
        relative: torch.Tensor = relative_projection(x, x[anchors], normalization=self.normalization)
        return relative - relative.mean(0) if self.centered else relative


def _decisions(logits: torch.Tensor) -> torch.Tensor:
    return nn.functional.one_hot(logits.argmax(1), logits.shape[1]).float()


SIMILARITIES: dict[str, Similarity] = {
    "as they are": Similarity(),
    "centred": Similarity(normalization="center"),
    "whitened": Similarity(normalization="whiten"),
    "less the mean node": Similarity(centered=True),
    "probabilities": Similarity("logits", lambda x: x.softmax(1), centered=True),
    "decisions": Similarity("logits", _decisions, centered=True),
}
"""The first is the paper's. The last three subtract the mean relative vector of all nodes, which models share whatever
they know; the last two compare what the head makes of the latents, probabilities or the most probable class.
"""


class Reference:
    """A good model that others are compared with on the nodes of a graph."""

    def __init__(self, graph: LabelledGraph, anchors: torch.Tensor, settings: Row, device: str) -> None:
        """Train the reference.

        Args:
            graph: whose nodes are compared.
            anchors: row numbers of nodes.
            settings: as for `train`.
            device: `cpu`, `cuda`, ....
        """
        self.graph, self.anchors, self.device = graph, anchors, device
        self._inputs = NodeInputs.of(graph)
        self.model = self.train(settings, select=True)
        spaces = self._spaces(self.model.encoder, self.model.head)
        self._relative = {name: kind.relative(spaces, anchors) for name, kind in SIMILARITIES.items()}

    @property
    def accuracy(self) -> float:
        """The reference's own, on test nodes."""
        return float(self.compare(self.model.encoder, self.model.head, ())["accuracy"])

    def train(
        self,
        settings: Row,
        *,
        select: bool = False,
        on_epoch: Callable[[int, nn.Module, nn.Module], None] | None = None,
    ) -> Network:
        """Train a model on the graph; `settings` holds fields of `NodeTraining` and arguments of `NodeEncoder`."""
        of_training = {field.name for field in fields(NodeTraining)} & settings.keys()
        training = NodeTraining(select=select, **{name: settings[name] for name in of_training})
        network = {name: value for name, value in settings.items() if name not in of_training}
        return train_node_classifier(self.graph, training=training, device=self.device, on_epoch=on_epoch, **network)

    def compare(self, encoder: nn.Module, head: nn.Module, names: Iterable[str] = SIMILARITIES) -> Row:
        """Accuracy on validation and test nodes, and similarity to the reference by each of `names`."""
        spaces = self._spaces(encoder, head)
        row: Row = {
            name: accuracy(head, spaces["latents"][nodes], self.graph.labels[nodes])
            for name, nodes in (("validation", self.graph.validation), ("accuracy", self.graph.test))
        }
        for name in names:
            relative = SIMILARITIES[name].relative(spaces, self.anchors)
            row[f"likeness, {name}"] = matched_cosine(relative, self._relative[name])
        return row

    def follow(self, settings: Row, names: Iterable[str], stops: Container[int]) -> list[Row]:
        """Train a model as `train` does, and compare it after each of the epochs in `stops`, counted from 1."""
        rows: list[Row] = []

        def compare(epoch: int, encoder: nn.Module, head: nn.Module) -> None:
            if epoch + 1 in stops:
                rows.append({"epoch": epoch + 1, **self.compare(encoder, head, names)})

        self.train(settings, on_epoch=compare)
        return rows

    def _spaces(self, encoder: nn.Module, head: nn.Module) -> dict[str, torch.Tensor]:
        latents = encode_nodes(encoder, self.graph, inputs=self._inputs).vectors
        head.eval()
        with torch.no_grad():
            return {"latents": latents, "logits": head(latents)}


def stored_rows(path: Path, measure: Callable[[], list[Row]]) -> tuple[list[Row], bool]:
    """Return the rows that an earlier run stored in a file, or measure and store them; and whether they were stored."""
    if path.is_file():
        rows: list[Row] = read_json(path, schema_version=2)["rows"]
        return rows, True
    rows = measure()
    write_json(path, {"rows": rows}, schema_version=2)
    return rows, False
