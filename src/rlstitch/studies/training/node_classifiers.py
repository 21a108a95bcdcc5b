"""Node classifiers of a graph in two parts, an encoder and a head, and the training of each part.

Five encoder architectures, by PyTorch Geometric. All begin with a linear layer on the words of a node, followed by
message-passing layers: GCN, Kipf and Welling 2016 (1609.02907); GraphSAGE, Hamilton et al. 2017 (1706.02216); GAT,
Velickovic et al. 2017 (1710.10903); GIN, Xu et al. 2018 (1810.00826); GCNII, Chen et al. 2020 (2007.02133).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from rlstitch.errors import InvalidInputError, require_known
from rlstitch.latent import LatentSpace
from rlstitch.modalities.graph import LabelledGraph, import_geometric
from rlstitch.studies.training.trainers import Network, Trained, require_positive, seeded

NODE_ARCHITECTURES = ("gcn", "sage", "gat", "gin", "gcnii")
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "elu": nn.functional.elu,
}
_HEADS = 4
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


@dataclass(frozen=True, eq=False)
class NodeInputs:
    """A graph as encoders take it.

    Attributes:
        words: numbers of the words of all nodes, one node after another.
        starts: where the words of each node begin, (n,).
        weights: of the words.
        edges: (2, m).
        loops: edges with a self-loop at each node (2, m + n), for GCN and GCNII.
        shares: normalisation of each of these, 1 / sqrt(product of the degrees of its ends).
    """

    words: torch.Tensor
    starts: torch.Tensor
    weights: torch.Tensor
    edges: torch.Tensor
    loops: torch.Tensor
    shares: torch.Tensor

    @classmethod
    def of(cls, graph: LabelledGraph, device: str = "cpu") -> NodeInputs:
        """Convert a graph; zero features, nearly all of a bag of words, are left out."""
        rows, words = np.nonzero(graph.features)
        starts = np.searchsorted(rows, np.arange(len(graph)))
        own = np.arange(len(graph))
        apart = graph.edges[:, graph.edges[0] != graph.edges[1]]
        loops = np.concatenate([apart, np.stack([own, own])], axis=1)
        scale = (1 / np.sqrt(np.bincount(loops[1]))).astype(np.float32)
        parts = (words, starts, graph.features[rows, words], graph.edges, loops, scale[loops[0]] * scale[loops[1]])
        return cls(*(torch.tensor(part).to(device) for part in parts))


class NodeEncoder(nn.Module):
    """A linear layer on words, then repeatedly an activation, dropout and a message-passing layer.

    Every layer of GCNII also takes the output of the first one.
    """

    def __init__(
        self,
        arch: str,
        words: int,
        *,
        latent_dim: int = 64,
        hidden: int = 64,
        layers: int = 2,
        dropout: float = 0.5,
        activation: str = "relu",
    ) -> None:
        """Make an encoder, with weights from torch's global generator.

        Args:
            arch: one of `NODE_ARCHITECTURES`.
            words: number of features of a node.
            latent_dim: width of the latent space.
            hidden: width of the hidden layers.
            layers: number of message-passing layers.
            dropout: probability, in [0, 1).
            activation: one of `ACTIVATIONS`.

        Raises:
            UnknownNameError: for another `arch` or `activation`.
            InvalidInputError: for `words`, a width or `layers` below 1, or dropout not in [0, 1).
            MissingExtraError: where PyTorch Geometric is not installed.
        """
        super().__init__()
        require_known("graph architecture", arch, NODE_ARCHITECTURES)
        require_known("activation", activation, ACTIVATIONS)
        if min(words, latent_dim, hidden, layers) < 1 or not 0 <= dropout < 1:
            raise InvalidInputError(
                "words, latent_dim, hidden and layers must be at least 1 and dropout in [0, 1), found "
                f"{words}, {latent_dim}, {hidden}, {layers} and {dropout}"
            )
        geometric = import_geometric().nn
        first = latent_dim if arch == "gcnii" else hidden
        self.latent_dim, self.dropout, self.activation = latent_dim, dropout, ACTIVATIONS[activation]
        self.words = nn.Parameter(nn.init.xavier_uniform_(torch.empty(words, first)))
        sides = [first] * layers + [latent_dim]
        self.layers = nn.ModuleList(_layer(geometric, arch, sides[at], sides[at + 1], at) for at in range(layers))
        self.skips, self.shares = arch == "gcnii", arch in ("gcn", "gcnii")

    def forward(self, inputs: NodeInputs) -> torch.Tensor:
        """The latents (n, latent_dim) of the nodes."""
        weights = nn.functional.dropout(inputs.weights, self.dropout, self.training)
        hidden = nn.functional.embedding_bag(
            inputs.words, self.words, inputs.starts, mode="sum", per_sample_weights=weights
        )
        first = self.activation(hidden)
        for layer in self.layers:
            hidden = nn.functional.dropout(self.activation(hidden), self.dropout, self.training)
            inputs_of_layer = (hidden, first) if self.skips else (hidden,)
            messages = (inputs.loops, inputs.shares) if self.shares else (inputs.edges,)
            hidden = layer(*inputs_of_layer, *messages)
        return hidden


def node_head(width: int, classes: int, *, dropout: float = 0.5) -> nn.Sequential:
    """Make a head (n, width) -> logits (n, classes): layer norm, dropout, one linear layer, as labels are few."""
    return nn.Sequential(nn.LayerNorm(width), nn.Dropout(dropout), nn.Linear(width, classes))


def _layer(geometric: Any, arch: str, width: int, out: int, place: int) -> nn.Module:
    heads = 1 if out % _HEADS else _HEADS
    layers: dict[str, Callable[[], nn.Module]] = {
        "gcn": lambda: geometric.GCNConv(width, out, normalize=False),
        "sage": lambda: geometric.SAGEConv(width, out),
        "gat": lambda: geometric.GATConv(width, out // heads, heads=heads),
        "gin": lambda: geometric.GINConv(nn.Sequential(nn.Linear(width, out), nn.ReLU(), nn.Linear(out, out))),
        "gcnii": lambda: geometric.GCN2Conv(out, alpha=0.1, theta=0.5, layer=place + 1, normalize=False),
    }
    return layers[arch]()


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
