"""How like a reference a node classifier is, relative to the same anchor nodes: what both parts of study
`graphs-latent-evaluation` measure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import torch
from torch import nn

from rlstitch.latent import matched_cosine, relative_projection
from rlstitch.modalities.classifiers import accuracy
from rlstitch.modalities.graph import LabelledGraph
from rlstitch.modalities.graph_encoders import NodeInputs
from rlstitch.modalities.graph_training import encode_nodes
from rlstitch.storage import read_json, write_json
from rlstitch.studies.study import Row

FILTER = 0.5
"""The paper's: models below this accuracy on validation nodes are left out."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Likeness:
    """The mean cosine of relative vectors of the same nodes. `space`: what is compared, latents or logits; `see`: what
    becomes of it first; `normalization`: before the projection; `over_nodes`: relative vectors less their mean.
    """

    space: str = "latents"
    see: Callable[[torch.Tensor], torch.Tensor] = lambda x: x
    normalization: str = "identity"
    over_nodes: bool = False

    def relative(self, spaces: dict[str, torch.Tensor], anchors: torch.Tensor) -> torch.Tensor:
        """The relative vectors (n, anchors) of all nodes."""
        x = self.see(spaces[self.space])
        found: torch.Tensor = relative_projection(x, x[anchors], normalization=self.normalization)
        return found - found.mean(0) if self.over_nodes else found


def _likeliest(logits: torch.Tensor) -> torch.Tensor:
    return nn.functional.one_hot(logits.argmax(1), logits.shape[1]).float()


LIKENESS: dict[str, Likeness] = {
    "as they are": Likeness(),
    "centred": Likeness(normalization="center"),
    "whitened": Likeness(normalization="whiten"),
    "less the mean node": Likeness(over_nodes=True),
    "probabilities": Likeness("logits", lambda x: x.softmax(1), over_nodes=True),
    "decisions": Likeness("logits", _likeliest, over_nodes=True),
}
"""The first is the paper's. The last three subtract the mean relative vector of all nodes, which models share whatever
they know; the last two look at what the head makes of the latents, probabilities or the likeliest class.
"""


class Looks:
    """What models are compared on: nodes, anchors among them, and the reference's relative vectors."""

    def __init__(self, graph: LabelledGraph, anchors: torch.Tensor, encoder: nn.Module, head: nn.Module) -> None:
        self.graph, self.anchors, self._inputs = graph, anchors, NodeInputs.of(graph)
        spaces = self._spaces(encoder, head)
        self._reference = {name: like.relative(spaces, anchors) for name, like in LIKENESS.items()}

    def at(self, encoder: nn.Module, head: nn.Module, names: Iterable[str] = LIKENESS) -> Row:
        """Accuracy on validation and test nodes, and likeness to the reference by each of `names`."""
        spaces = self._spaces(encoder, head)
        row: Row = {
            name: accuracy(head, spaces["latents"][nodes], self.graph.labels[nodes])
            for name, nodes in (("validation", self.graph.validation), ("accuracy", self.graph.test))
        }
        for name in names:
            seen = LIKENESS[name].relative(spaces, self.anchors)
            row[f"likeness, {name}"] = matched_cosine(seen, self._reference[name])
        return row

    def _spaces(self, encoder: nn.Module, head: nn.Module) -> dict[str, torch.Tensor]:
        latents = encode_nodes(encoder, self.graph, inputs=self._inputs).vectors
        head.eval()
        with torch.no_grad():
            return {"latents": latents, "logits": head(latents)}


def kept(path: Path, measure: Callable[[], list[Row]]) -> tuple[list[Row], bool]:
    """What an earlier run kept, or what is measured and kept now; and whether it was there."""
    if path.is_file():
        found: list[Row] = read_json(path, schema_version=2)["rows"]
        return found, True
    found = measure()
    write_json(path, {"rows": found}, schema_version=2)
    return found, False


def correlated(alike: Sequence[float], found: Sequence[float]) -> Row:
    """Pearson and Spearman of likeness with accuracy over models, with 95 % intervals of percentiles over models drawn
    anew (Efron), Spearman's with the ranks of all; None where they are undefined.
    """
    x, y = np.asarray(alike, dtype=float), np.asarray(found, dtype=float)
    draws = np.random.default_rng(0).integers(max(len(x), 1), size=(RESAMPLES, len(x)))
    line: Row = {}
    for name in ("pearson", "spearman"):
        if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
            line |= {name: None, f"{name} low": None, f"{name} high": None}
            continue
        if name == "spearman":
            x, y = scipy.stats.rankdata(x), scipy.stats.rankdata(y)
        with np.errstate(invalid="ignore"):
            drawn = pearson(x[draws], y[draws])
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
        line |= {name: float(pearson(x[None], y[None])[0]), f"{name} low": float(low), f"{name} high": float(high)}
    return line


def pearson(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Row by row, (b, n), (b, n) -> (b,)."""
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    found: np.ndarray[Any, Any] = (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1))
    return found
