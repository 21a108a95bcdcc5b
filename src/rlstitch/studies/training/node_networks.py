"""Five encoder architectures for the nodes of a graph, by PyTorch Geometric.

All begin with a linear layer on the words of a node, followed by message-passing layers: GCN, Kipf and Welling 2016
(1609.02907); GraphSAGE, Hamilton et al. 2017 (1706.02216); GAT, Velickovic et al. 2017 (1710.10903); GIN, Xu et al.
2018 (1810.00826); GCNII, Chen et al. 2020 (2007.02133).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from rlstitch.errors import InvalidInputError, require_known
from rlstitch.modalities.graph import LabelledGraph, import_geometric

ARCHITECTURES = ("gcn", "sage", "gat", "gin", "gcnii")
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "elu": nn.functional.elu,
}
_HEADS = 4


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
            arch: one of `ARCHITECTURES`.
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
        require_known("graph architecture", arch, ARCHITECTURES)
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
