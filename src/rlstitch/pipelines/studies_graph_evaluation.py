"""Study `graphs-latent-evaluation`: is a model any good? Its likeness to a good one, in relative space, as a guess.

After Moschella et al. 2022 (2209.15430, section 4.2): many node classifiers, from hardly trained to good, of several
makes; each is compared with one reference relative to the same anchor nodes, without a look at labels, and the
likeness is correlated with its accuracy on test nodes. The paper leaves out models below 0.5 on validation nodes.

The sweep is fixed: model number i of a sweep always has the same settings and seed. What a model came to is kept in the
run's folder, `models/<number>.json`, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.stats
import torch

from rlstitch.errors import InvalidInputError
from rlstitch.latent import reference_similarity
from rlstitch.modalities.classifiers import accuracy
from rlstitch.modalities.graph import LabelledGraph
from rlstitch.modalities.graph_encoders import import_geometric
from rlstitch.modalities.graph_training import NodeClassifier, encode_nodes, train_node_classifier
from rlstitch.pipelines.runs import resolve_device
from rlstitch.pipelines.studies import Findings, Row, StudyOptions, study_folder
from rlstitch.pipelines.studies_graphs import load_graph
from rlstitch.storage import read_json, write_json

NORMALIZATIONS = ("identity", "center", "whiten")
FILTER = 0.5
"""The paper's: models below this accuracy on validation nodes are left out."""

_SWEEP_SEED = 2022
_CHOICES: dict[str, Sequence[Any]] = {
    "arch": ("gcn", "sage", "gat", "gin"),
    "hidden": (16, 32, 64),
    "latent_dim": (16, 32, 64),
    "layers": (1, 2, 3),
    "dropout": (0.0, 0.3, 0.5, 0.7),
    "activation": ("relu", "tanh", "elu"),
    "learning_rate": (0.002, 0.005, 0.01, 0.02),
    "weight_decay": (0.0, 5e-4, 5e-3),
    "epochs": (1, 2, 4, 7, 10, 15, 20, 30, 45, 60),
}
_REFERENCE: Row = {
    "arch": "gcn", "hidden": 64, "latent_dim": 64, "layers": 2, "dropout": 0.5, "activation": "relu",
    "learning_rate": 0.01, "weight_decay": 5e-4, "epochs": 100,
}  # fmt: skip
_RESAMPLES = 2000


@dataclass(frozen=True)
class EvaluationStudyConfig:
    """Everything that decides the outcome. `models`: how many of the sweep; `anchors`: nodes, of all of the graph."""

    dataset: str
    seeds: tuple[int, ...]
    models: int
    anchors: int
    reference: Row
    sweep_seed: int = _SWEEP_SEED


def resolve(options: StudyOptions) -> Row:
    """The config as JSON. Its only seed is the reference's; `--seeds` does not apply, as every model has its own.

    Raises:
        InvalidInputError: where a number of seeds is asked for.
    """
    if options.seeds is not None:
        raise InvalidInputError(
            f"seeds: this study has one seed a model, fixed by its sweep; leave --seeds out, found {options.seeds}"
        )
    dataset, models, anchors = ("block-model", 48, 100) if options.quick else ("cora", 600, 300)
    return asdict(EvaluationStudyConfig(dataset, (0,), models, anchors, _REFERENCE))


def sweep(models: int, seed: int = _SWEEP_SEED) -> list[Row]:
    """The settings of the first `models` of the sweep; number i is the same in every sweep that is long enough.

    Settings are drawn independently of each other; seeds are i + 1, and the reference alone has seed 0.
    """
    found: list[Row] = []
    for number in range(models):
        rng = np.random.default_rng([seed, number])
        chosen = {name: values[int(rng.integers(len(values)))] for name, values in _CHOICES.items()}
        found.append(chosen | {"seed": number + 1})
    return found


def run(config: Row, options: StudyOptions) -> Findings:
    """Train the reference and every model of the sweep that is not there yet, and correlate likeness with accuracy."""
    settings = EvaluationStudyConfig(**{name: value for name, value in config.items() if name != "study"})
    device = resolve_device(options.device)
    graph = load_graph(settings.dataset, options)
    import_geometric()
    anchors = torch.tensor(np.random.default_rng(0).permutation(len(graph))[: settings.anchors])
    reference = _train(graph, settings.reference | {"seed": settings.seeds[0]}, device, select=True)
    target = encode_nodes(reference.encoder, graph).vectors
    good = accuracy(reference.head, target[graph.test], graph.labels[graph.test])
    options.on_progress(f"reference {reference.name} trained: accuracy {good:.3f}")
    folder = study_folder(config) / "models"
    cells: list[Row] = []
    kept = 0
    for number, chosen in enumerate(sweep(settings.models, settings.sweep_seed)):
        path = folder / f"{number:04}.json"
        if path.is_file():
            stored = read_json(path, schema_version=1)
            cells.append({name: value for name, value in stored.items() if name != "schema_version"})
            kept += 1
            continue
        cells.append(_measure(graph, chosen, target, anchors, device))
        write_json(path, cells[-1], schema_version=1)
        if (number + 1) % 25 == 0 or number + 1 == settings.models:
            options.on_progress(f"{number + 1} of {settings.models} models, {kept} of them from before")
    table = [_line(cells, name, group) for group in _GROUPS for name in NORMALIZATIONS]
    return Findings(cells, table, _facts(table, good, graph, len(cells)))


def _train(graph: LabelledGraph, chosen: Row, device: str, *, select: bool) -> NodeClassifier:
    return train_node_classifier(graph, device=device, select=select, **chosen)


def _measure(graph: LabelledGraph, chosen: Row, target: torch.Tensor, anchors: torch.Tensor, device: str) -> Row:
    """One model: its settings, its accuracies, and its likeness to the reference by each normalisation."""
    model = _train(graph, chosen, device, select=False)
    seen = encode_nodes(model.encoder, graph).vectors
    found = accuracy(model.head, seen[graph.test], graph.labels[graph.test])
    alike = {
        f"likeness, {name}": reference_similarity(seen, target, anchors, normalization=name) for name in NORMALIZATIONS
    }
    return {**chosen, "validation": model.validation, "accuracy": found, **alike}


def _better_half(cells: Sequence[Row]) -> list[Row]:
    middle = float(np.median([row["accuracy"] for row in cells]))
    return [row for row in cells if row["accuracy"] >= middle]


_GROUPS: dict[str, Callable[[Sequence[Row]], list[Row]]] = {
    "validation from 0.5": lambda cells: [row for row in cells if row["validation"] >= FILTER],
    "all": list,
    "better half": _better_half,
}


def _line(cells: Sequence[Row], normalization: str, group: str) -> Row:
    """Both correlations in a group of models, with 95 % intervals of percentiles over models drawn anew (Efron)."""
    chosen = _GROUPS[group](cells)
    line: Row = {"models": group, "normalization": normalization, "number": len(chosen)}
    alike = np.array([row[f"likeness, {normalization}"] for row in chosen])
    found = np.array([row["accuracy"] for row in chosen])
    rng = np.random.default_rng(0)
    draws = rng.integers(len(chosen), size=(_RESAMPLES, len(chosen))) if chosen else np.empty((0, 0), int)
    for name in ("pearson", "spearman"):
        if len(chosen) < 3 or np.ptp(alike) == 0 or np.ptp(found) == 0:
            line |= {name: None, f"{name} low": None, f"{name} high": None}
            continue
        x, y = (alike, found) if name == "pearson" else (scipy.stats.rankdata(alike), scipy.stats.rankdata(found))
        with np.errstate(invalid="ignore"):
            drawn = _pearson(x[draws], y[draws])
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
        line |= {name: float(_pearson(x[None], y[None])[0]), f"{name} low": float(low), f"{name} high": float(high)}
    return line


def _pearson(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Row by row, (b, n), (b, n) -> (b,)."""
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    found: np.ndarray[Any, Any] = (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1))
    return found


def _facts(table: Sequence[Row], good: float, graph: LabelledGraph, models: int) -> list[str]:
    by = {(row["models"], row["normalization"]): row for row in table}

    def text(group: str, name: str, measure: str) -> str:
        value = by[group, name][measure]
        return "undefined" if value is None else f"{value:.3f}"

    filtered, everything, half = _GROUPS
    lines = [
        f"{models:,} models on {graph.name}; the reference, whose accuracy is {good:.3f}, is none of them. Likeness: "
        "the mean cosine of relative vectors of the same nodes.",
    ]
    for name, words in (("identity", "Cosines as they are, as in the paper"), ("center", "Cosines after centring")):
        lines.append(
            f"{words}: Pearson {text(filtered, name, 'pearson')} over the {by[filtered, name]['number']} models with "
            f"at least {FILTER} on validation nodes; Spearman {text(everything, name, 'spearman')} over all, "
            f"{text(half, name, 'spearman')} within the better half."
        )
    return [
        *lines,
        "low and high: 95 % interval over models drawn anew (bootstrap); Spearman's with the ranks of the whole group.",
    ]
