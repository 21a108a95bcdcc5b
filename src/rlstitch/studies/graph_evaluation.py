"""Similarity of node classifiers to a reference, without labels, and its correlation with accuracy.

Similarity is relative to the same anchor nodes; correlations have bootstrap intervals (Efron 1979).

The second sweep of study `graphs-latent-evaluation` measures similarity along many trainings, as the paper does. The
first sweep correlates models with one another. The notebook that the authors of Moschella et al. 2022 (2209.15430,
section 4.2) published correlates similarity and accuracy over the epochs of each training, and the number they quote is
the mean over models whose best epoch has at least 0.5 on validation nodes. This sweep follows the notebook's table of
settings (GCNII and GIN, Adam and SGD, 10, 30 and 50 epochs, ...), smaller: 2 and 4 layers of 32 for 32 and 64 of 300,
one activation a model, and test nodes besides validation nodes.

Trainings of one setting and seed agree for as long as they last, in the notebook too: a model is a training up to one
of the three lengths.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import torch
from numpy.typing import NDArray
from torch import nn

from rlstitch.latent import matched_cosine, relative_projection
from rlstitch.modalities.graph import LabelledGraph
from rlstitch.storage import read_json, write_json
from rlstitch.studies.study import Findings
from rlstitch.studies.tables import Row
from rlstitch.studies.training.node_classifiers import (
    NodeInputs,
    NodeTraining,
    encode_nodes,
    train_node_classifier,
)
from rlstitch.studies.training.trainers import Network, accuracy

RESAMPLES = 2000
MIN_VALIDATION = 0.5
"""The paper's filter: models below this accuracy on validation nodes are left out."""
LENGTHS = (10, 30, 50)
"""Epochs of a model."""
NAMES = ("as they are", "less the mean node", "decisions")
"""Similarities that are reported; the first is the paper's."""
_TABLE: dict[str, Sequence[Any]] = {
    "arch": ("gcnii", "gin"),
    "layers": (2, 4),
    "dropout": (0.1, 0.5),
    "activation": ("relu", "tanh"),
    "optimizer": ("adam", "sgd"),
    "learning_rate": (0.01, 0.02),
}
_COMMON: Row = {"hidden": 32, "latent_dim": 32, "weight_decay": 0.0}
SECOND_REFERENCE: Row = {
    "arch": "gcnii", "layers": 2, "dropout": 0.5, "activation": "relu", "optimizer": "adam", "learning_rate": 0.02,
    **_COMMON, "epochs": 200,
}  # fmt: skip
_SHARE = 0.1
"""Of all nodes: validation nodes, and as many test nodes."""


def correlated(similarities: Sequence[float], accuracies: Sequence[float]) -> Row:
    """Pearson and Spearman over models, with 95 % percentile intervals over resampled models.

    Spearman's intervals keep the ranks of all models. All are None where a correlation is undefined.
    """
    x, y = np.asarray(similarities, dtype=float), np.asarray(accuracies, dtype=float)
    samples = np.random.default_rng(0).integers(max(len(x), 1), size=(RESAMPLES, len(x)))
    line: Row = {}
    for name in ("pearson", "spearman"):
        if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
            line |= {name: None, f"{name} low": None, f"{name} high": None}
            continue
        if name == "spearman":
            x, y = scipy.stats.rankdata(x), scipy.stats.rankdata(y)
        with np.errstate(invalid="ignore"):
            resampled = pearson(x[samples], y[samples])
        low, high = np.nanpercentile(resampled, [2.5, 97.5])
        line |= {name: float(pearson(x[None], y[None])[0]), f"{name} low": float(low), f"{name} high": float(high)}
    return line


def correlation_line(models: str, similarity: str, rows: Sequence[Row]) -> Row:
    """A line of the table: both correlations over these rows, which are a group of `models`."""
    correlations = correlated([row[f"likeness, {similarity}"] for row in rows], [row["accuracy"] for row in rows])
    return {"models": models, "likeness": similarity, "number": len(rows), **correlations}


def pearson(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    """Row by row, (b, n), (b, n) -> (b,)."""
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    return (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1))


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


def training_settings(number: int, seed: int) -> list[Row]:
    """The settings of the first `number` trainings; number i is the same in every sweep that is long enough.

    They go through the table of settings again and again, each time in a new random order; seeds are i + 1, the
    reference's is 0.
    """
    grid = [dict(zip(_TABLE, values, strict=True)) for values in itertools.product(*_TABLE.values())]
    rows: list[Row] = []
    for again in range(-(-number // len(grid))):
        for at in np.random.default_rng([seed, again]).permutation(len(grid)):
            rows.append({**grid[at], **_COMMON, "epochs": max(LENGTHS), "seed": len(rows) + 1})
    return rows[:number]


def follow_trainings(
    reference: Reference, rows: Sequence[Row], folder: Path, report: Callable[[str], None]
) -> Findings:
    """Follow every training that is not in `folder` yet, epoch by epoch, and correlate."""
    own = reference.accuracy
    report(f"reference of the second sweep trained: accuracy {own:.3f}")
    models: list[Row] = []
    for place, settings in enumerate(rows):
        measure = partial(reference.follow, settings, NAMES, range(1, max(LENGTHS) + 1))
        epochs, _ = stored_rows(folder / f"second-{place:04}.json", measure)
        models += [_model(settings, epochs[:length]) for length in LENGTHS]
        if (place + 1) % 12 == 0 or place + 1 == len(rows):
            report(f"second sweep: {place + 1} of {len(rows)} trainings")
    ends = [row for row in models if row["validation"] >= MIN_VALIDATION and row["epochs"] == max(LENGTHS)]
    table = [_along(models, name) for name in NAMES]
    table += [correlation_line("second sweep, between models", name, ends) for name in NAMES]
    return Findings(models, table, _facts(table, own, models))


def second_reference(graph: LabelledGraph, anchors: int, settings: Row, seed: int, device: str) -> Reference:
    """Train the reference of this sweep on another split of the graph; anchors are training nodes."""
    graph = resplit(graph, seed)
    chosen = torch.tensor(np.random.default_rng(seed).permutation(graph.train)[:anchors])
    return Reference(graph, chosen, settings | {"seed": 0}, device)


def resplit(graph: LabelledGraph, seed: int) -> LabelledGraph:
    """The graph with a random split by `seed`: 80, 10 and 10 % of its nodes for training, validation and test."""
    order = np.random.default_rng(seed).permutation(len(graph))
    held_out = round(_SHARE * len(graph))
    validation, test, train = (np.sort(rows) for rows in np.split(order, [held_out, 2 * held_out]))
    return dataclasses.replace(graph, validation=validation, test=test, train=train)


def _model(settings: Row, epochs: Sequence[Row]) -> Row:
    """A model: its best validation accuracy, its last epoch, and Pearson along its training (None if undefined)."""
    model: Row = {"part": "second sweep", **settings, **epochs[-1], "epochs": len(epochs)}
    del model["epoch"]
    model["validation"] = max(row["validation"] for row in epochs)
    accuracies = np.array([[row["accuracy"] for row in epochs]])
    for name in NAMES:
        similarities = np.array([[row[f"likeness, {name}"] for row in epochs]])
        defined = np.isfinite(similarities).all() and np.ptp(similarities) > 0 and np.ptp(accuracies) > 0
        model[f"pearson, {name}"] = float(pearson(similarities, accuracies)[0]) if defined else None
    return model


def _along(models: Sequence[Row], name: str) -> Row:
    """The mean over models of at least 0.5, with a 95 % percentile interval over resampled trainings."""
    column = f"pearson, {name}"
    chosen = [row for row in models if row["validation"] >= MIN_VALIDATION and row[column] is not None]
    line: Row = {"models": "second sweep, along each training", "likeness": name, "number": len(chosen)}
    if not chosen:
        return line | {"pearson": None, "pearson low": None, "pearson high": None}
    seeds = sorted({row["seed"] for row in chosen})
    parts = [[row[column] for row in chosen if row["seed"] == seed] for seed in seeds]
    sums, counts = np.array([sum(part) for part in parts]), np.array([len(part) for part in parts])
    samples = np.random.default_rng(0).integers(len(seeds), size=(RESAMPLES, len(seeds)))
    low, high = np.percentile(sums[samples].sum(1) / counts[samples].sum(1), [2.5, 97.5])
    return line | {"pearson": float(sums.sum() / counts.sum()), "pearson low": float(low), "pearson high": float(high)}


def _facts(table: Sequence[Row], own: float, models: Sequence[Row]) -> list[str]:
    by = {(row["models"].split(", ")[1], row["likeness"]): row for row in table}

    def text(way: str) -> str:
        values = [(name, by[way, name]["pearson"]) for name in NAMES]
        return ", ".join(f"{name} {'undefined' if value is None else f'{value:.3f}'}" for name, value in values)

    number = by["along each training", NAMES[0]]["number"]
    return [
        f"Second sweep, after the paper's settings and its way of counting (reference {own:.3f}): mean Pearson along "
        f"each training of the {number} of {len(models)} models that reach {MIN_VALIDATION} on validation nodes: "
        f"{text('along each training')}; between models at their end: {text('between models')}.",
    ]
