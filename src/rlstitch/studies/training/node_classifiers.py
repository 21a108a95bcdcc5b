"""Node classifiers of a graph in two parts, an encoder and a head, and the training of each part."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from rlstitch.errors import InvalidInputError, require_known
from rlstitch.latent import LatentSpace
from rlstitch.modalities.graph import LabelledGraph
from rlstitch.studies.training.classifiers import Trained
from rlstitch.studies.training.node_networks import NodeEncoder, NodeInputs, node_head
from rlstitch.studies.training.optim import Network, require_positive, seeded

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


@dataclass(frozen=True, kw_only=True)
class NodeTraining:
    """Settings of a training on all nodes at once.

    Attributes:
        seed: of weights and dropout.
        epochs: number of steps.
        learning_rate: constant.
        weight_decay: of all weights.
        optimizer: one of `OPTIMIZERS`.
        select: keep the weights of the epoch with the best accuracy on validation nodes, not of the last one.

    Raises InvalidInputError for `epochs` or `learning_rate` not above 0, UnknownNameError for another optimizer.
    """

    seed: int
    epochs: int = 100
    learning_rate: float = 0.01
    weight_decay: float = 5e-4
    optimizer: str = "adam"
    select: bool = True

    def __post_init__(self) -> None:
        require_known("optimizer", self.optimizer, OPTIMIZERS)
        require_positive(epochs=self.epochs, learning_rate=self.learning_rate)


def train_node_classifier(
    graph: LabelledGraph,
    arch: str,
    training: NodeTraining,
    *,
    device: str = "cpu",
    on_epoch: Callable[[int, nn.Module, nn.Module], None] | None = None,
    **network: Any,
) -> Network:
    """Train an encoder and a head together on the training nodes, given all edges and all features.

    Args:
        graph: whose nodes are classified.
        arch: of the encoder, as for `NodeEncoder`.
        training: settings.
        device: `cpu`, `cuda`, ....
        on_epoch: called with the epoch's number from 0 on, encoder and head after every epoch.
        network: further arguments of `NodeEncoder`.

    Raises:
        UnknownNameError, InvalidInputError, MissingExtraError: as for `NodeEncoder`.
    """
    with seeded(training.seed):
        encoder = NodeEncoder(arch, graph.features.shape[1], **network).to(device)
        head = node_head(encoder.latent_dim, graph.classes, dropout=encoder.dropout).to(device)
        inputs = NodeInputs.of(graph, device)
        _train(
            nn.ModuleList([encoder, head]), lambda rows: head(encoder(inputs)[rows]), graph, training,
            None if on_epoch is None else lambda epoch: on_epoch(epoch, encoder, head),
        )  # fmt: skip
    return Network(encoder.cpu(), head.cpu(), f"{arch}-s{training.seed}")


def train_node_head(graph: LabelledGraph, vectors: torch.Tensor, training: NodeTraining) -> nn.Module:
    """Train a head alone on given vectors (n, d) of all nodes, such as relative ones.

    Raises:
        InvalidInputError: where there is not one vector a node.
    """
    if vectors.ndim != 2 or len(vectors) != len(graph):
        raise InvalidInputError(f"vectors must be ({len(graph)}, d), one a node, found {tuple(vectors.shape)}")
    with seeded(training.seed):
        head = node_head(vectors.shape[1], graph.classes)
        _train(head, lambda rows: head(vectors[rows]), graph, training)
    return head


def encode_nodes(
    encoder: nn.Module, graph: LabelledGraph, *, name: str = "", inputs: NodeInputs | None = None
) -> LatentSpace[torch.Tensor]:
    """Return the latents (n, d) of all nodes, under their keys; `inputs` are those of the graph if made already."""
    encoder.eval()
    with torch.no_grad():
        latents = encoder(inputs or NodeInputs.of(graph))
    return LatentSpace(latents, graph.keys, name)


@dataclass(frozen=True, eq=False, kw_only=True)
class NodeClassifierTrainer:
    """Trains a node classifier by a seed, and encodes all nodes; all of them count as training items of heads.

    `head_epochs` is that of heads which are trained alone, `network` holds arguments of `NodeEncoder`.
    """

    graph: LabelledGraph
    arch: str
    epochs: int
    head_epochs: int
    network: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    def __call__(self, seed: int) -> Trained:
        """Train with this seed."""
        training = NodeTraining(seed=seed, epochs=self.epochs)
        model = train_node_classifier(self.graph, self.arch, training, device=self.device, **self.network)
        known = encode_nodes(model.encoder, self.graph, name=model.name)
        heads = replace(training, epochs=self.head_epochs)
        return Trained(
            model.head,
            known,
            known.subset(self.graph.test.tolist()),
            lambda features: train_node_head(self.graph, features, heads),
        )


def _train(
    model: nn.Module,
    logits: Callable[[torch.Tensor], torch.Tensor],
    graph: LabelledGraph,
    training: NodeTraining,
    on_epoch: Callable[[int], None] | None = None,
) -> None:
    """Minimise the cross-entropy of the training nodes in place.

    Args:
        model: has the weights.
        logits: of the nodes with these row numbers.
        graph: gives labels and splits.
        training: settings.
        on_epoch: called after every epoch.
    """
    device = next(model.parameters()).device
    labels = torch.tensor(graph.labels).to(device)
    train, held_out = (torch.tensor(rows).to(device) for rows in (graph.train, graph.validation))
    optimizer = OPTIMIZERS[training.optimizer](
        model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )

    def validate() -> float:
        model.eval()
        with torch.no_grad():
            return float((logits(held_out).argmax(1) == labels[held_out]).float().mean())

    best, weights = -1.0, copy.deepcopy(model.state_dict())
    for epoch in range(training.epochs):
        model.train()
        loss = cross_entropy(logits(train), labels[train])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if training.select and (score := validate()) > best:
            best, weights = score, copy.deepcopy(model.state_dict())
        if on_epoch is not None:
            on_epoch(epoch)
    if training.select:
        model.load_state_dict(weights)
    model.eval()
