"""Training of node classifiers that fall into an encoder and a head, and what the encoder gives."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.latent import LatentSpace
from rlstitch.modalities.graph import LabelledGraph
from rlstitch.modalities.graph_encoders import NodeEncoder, NodeInputs, node_encoder, node_head

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


@dataclass(frozen=True, eq=False)
class NodeClassifier:
    """`head(encoder(inputs))`: logits. `validation` is the accuracy on validation nodes after the epoch that was
    kept.
    """

    encoder: nn.Module
    head: nn.Module
    arch: str
    seed: int
    validation: float

    @property
    def name(self) -> str:
        """`<arch>-s<seed>`."""
        return f"{self.arch}-s{self.seed}"


def train_node_classifier(
    graph: LabelledGraph,
    *,
    arch: str,
    seed: int,
    epochs: int = 100,
    learning_rate: float = 0.01,
    weight_decay: float = 5e-4,
    optimizer: str = "adam",
    device: str = "cpu",
    select: bool = True,
    on_epoch: Callable[[int, NodeEncoder, nn.Module], None] | None = None,
    **options: Any,
) -> NodeClassifier:
    """Train an encoder and a head together on the training nodes, seeing all edges and all features; the epoch with the
    best accuracy on validation nodes is kept, or without `select` the last one. `options` go to `node_encoder`.
    `on_epoch` is called after every epoch.

    Raises:
        UnknownNameError, InvalidInputError, MissingExtraError: as `node_encoder`, or for another `optimizer`, or where
            `epochs` or `learning_rate` is not above 0.
    """
    if optimizer not in OPTIMIZERS:
        raise UnknownNameError("optimizer", optimizer, OPTIMIZERS)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = node_encoder(arch, graph.features.shape[1], **options).to(device)
        head = node_head(encoder.latent_dim, graph.classes, dropout=encoder.dropout).to(device)
        inputs = NodeInputs.of(graph, device)
        model = nn.ModuleList([encoder, head])
        best = _descend(
            model, lambda rows: head(encoder(inputs)[rows]), graph, epochs, learning_rate, weight_decay,
            None if on_epoch is None else lambda epoch: on_epoch(epoch, encoder, head), select=select,
            optimizer=optimizer,
        )  # fmt: skip
    return NodeClassifier(encoder.cpu(), head.cpu(), arch, seed, best)


def train_node_head(
    graph: LabelledGraph,
    vectors: torch.Tensor,
    *,
    seed: int,
    epochs: int = 100,
    learning_rate: float = 0.01,
    weight_decay: float = 5e-4,
) -> nn.Module:
    """Train a head alone on given vectors (n, d) of all nodes, such as relative ones, as `train_node_classifier` does.

    Raises:
        InvalidInputError: where there is not one vector a node, or `epochs` or `learning_rate` is not above 0.
    """
    if vectors.ndim != 2 or len(vectors) != len(graph):
        raise InvalidInputError(f"vectors must be ({len(graph)}, d), one a node, found {tuple(vectors.shape)}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = node_head(vectors.shape[1], graph.classes)
        _descend(head, lambda rows: head(vectors[rows]), graph, epochs, learning_rate, weight_decay)
    return head


def encode_nodes(
    encoder: nn.Module, graph: LabelledGraph, *, name: str = "", inputs: NodeInputs | None = None
) -> LatentSpace[torch.Tensor]:
    """The latents (n, d) of all nodes, under the keys of the graph. `inputs`: those of the graph, where they are made
    already.
    """
    encoder.eval()
    with torch.no_grad():
        latents = encoder(inputs or NodeInputs.of(graph))
    return LatentSpace(latents, graph.keys, name)


def _descend(
    model: nn.Module,
    logits: Callable[[torch.Tensor], torch.Tensor],
    graph: LabelledGraph,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    on_epoch: Callable[[int], None] | None = None,
    *,
    select: bool = True,
    optimizer: str = "adam",
) -> float:
    """Descent on the cross-entropy of the training nodes; leaves the weights of the epoch that was best on validation,
    or the last ones, and tells its accuracy there.
    """
    for name, value in (("epochs", epochs), ("learning_rate", learning_rate)):
        if not (value > 0 and math.isfinite(value)):
            raise InvalidInputError(f"{name} must be above 0, found {value}")
    device = next(model.parameters()).device
    labels = torch.tensor(graph.labels).to(device)
    train, held = (torch.tensor(rows).to(device) for rows in (graph.train, graph.validation))
    steps = OPTIMIZERS[optimizer](model.parameters(), lr=learning_rate, weight_decay=weight_decay)

    def held_out() -> float:
        model.eval()
        with torch.no_grad():
            return float((logits(held).argmax(1) == labels[held]).float().mean())

    best, kept = -1.0, copy.deepcopy(model.state_dict())
    for epoch in range(epochs):
        model.train()
        loss = cross_entropy(logits(train), labels[train])
        steps.zero_grad()
        loss.backward()
        steps.step()
        if select and (found := held_out()) > best:
            best, kept = found, copy.deepcopy(model.state_dict())
        if on_epoch is not None:
            on_epoch(epoch)
    if not select:
        return held_out()
    model.load_state_dict(kept)
    model.eval()
    return best
