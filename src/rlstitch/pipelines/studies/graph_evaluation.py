"""Study `graphs-latent-evaluation`: is a model any good? Its likeness to a good one, in relative space, as a guess.

After Moschella et al. 2022 (2209.15430, section 4.2): many node classifiers, from hardly trained to good, of several
makes; each is compared with one reference relative to the same anchor nodes, without a look at labels, and the
likeness is correlated with its accuracy on test nodes. The paper leaves out models below 0.5 on validation nodes.
Beside the paper's likeness stand others of ours; and a few models are followed along their training.

The sweep is fixed: model number i of a sweep always has the same settings and seed. What a model came to is kept in the
run's folder, `models/<number>.json`, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import torch
from torch import nn

from rlstitch.errors import InvalidInputError
from rlstitch.latent import matched_cosine, reference_similarity
from rlstitch.modalities.classifiers import accuracy
from rlstitch.modalities.graph import LabelledGraph
from rlstitch.modalities.graph_encoders import import_geometric
from rlstitch.modalities.graph_training import NodeClassifier, encode_nodes, train_node_classifier
from rlstitch.pipelines.runs import resolve_device
from rlstitch.pipelines.studies.figures import scatter_figure
from rlstitch.pipelines.studies.graphs import load_graph
from rlstitch.pipelines.studies.study import Findings, Row, StudyOptions, mean_interval, study_folder
from rlstitch.storage import read_json, write_json

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
_STOPS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 45, 60, 100)
"""Epochs after which a model that is followed along its training is looked at."""


def _over_nodes(x: torch.Tensor, y: torch.Tensor) -> float:
    alike: float = matched_cosine(x - x.mean(0), y - y.mean(0))
    return alike


LIKENESS: dict[str, tuple[str, Callable[[torch.Tensor], torch.Tensor], dict[str, Any]]] = {
    "as they are": ("latents", lambda x: x, {}),
    "centred": ("latents", lambda x: x, {"normalization": "center"}),
    "whitened": ("latents", lambda x: x, {"normalization": "whiten"}),
    "less the mean node": ("latents", lambda x: x, {"proxy": _over_nodes}),
    "probabilities": ("logits", lambda x: x.softmax(1), {"proxy": _over_nodes}),
    "decisions": ("logits", lambda x: nn.functional.one_hot(x.argmax(1), x.shape[1]).float(), {"proxy": _over_nodes}),
}
"""What is compared, how it is seen before it is relative to its anchors, and options of `reference_similarity`. The
first is the paper's. The last three subtract the mean relative vector of all nodes, which models share whatever they
know; the last two look at what the head makes of the latents, probabilities or the likeliest class.
"""


@dataclass(frozen=True)
class EvaluationStudyConfig:
    """Everything that decides the outcome. `models`: how many of the sweep; `anchors`: nodes, of all of the graph;
    `followed`: how many of each make are looked at along their training.
    """

    dataset: str
    seeds: tuple[int, ...]
    models: int
    anchors: int
    reference: Row
    followed: int
    stops: tuple[int, ...] = _STOPS
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
    if options.quick:
        return asdict(EvaluationStudyConfig("block-model", (0,), 24, 100, _REFERENCE, 1, _STOPS[:-3]))
    return asdict(EvaluationStudyConfig("cora", (0,), 600, 300, _REFERENCE, 3))


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
    looks = _Looks(graph, anchors, _spaces(reference.encoder, reference.head, graph))
    good = accuracy(reference.head, looks.reference["latents"][graph.test], graph.labels[graph.test])
    options.on_progress(f"reference {reference.name} trained: accuracy {good:.3f}")
    folder = study_folder(config) / "models"
    cells: list[Row] = []
    kept = 0
    for number, chosen in enumerate(sweep(settings.models, settings.sweep_seed)):
        found, old = _kept(folder / f"{number:04}.json", partial(_measure, looks, chosen, device))
        cells += found
        kept += old
        if (number + 1) % 12 == 0 or number + 1 == settings.models:
            options.on_progress(f"{number + 1} of {settings.models} models, {kept} of them from before")
    followed: list[Row] = []
    for chosen in _to_follow(settings):
        path = folder / f"along-{chosen['arch']}-{chosen['seed']}.json"
        found, _ = _kept(path, partial(_follow, looks, chosen, settings.stops, device))
        followed += found
        options.on_progress(f"{chosen['arch']}-s{chosen['seed']} followed along its training")
    table = [_line(cells, name, group) for group in _GROUPS for name in LIKENESS]
    table += [_line_along(followed, name) for name in LIKENESS]
    files = {
        "models.png": _picture(cells, "as they are"),
        "decisions.png": _picture(cells, "decisions"),
        "training.png": _picture(followed, "as they are"),
    }
    return Findings([*cells, *followed], table, _facts(table, good, graph, len(cells)), files)


@dataclass(frozen=True, eq=False)
class _Looks:
    """What models are compared on: nodes, anchors among them, and the reference's spaces, latents and logits."""

    graph: LabelledGraph
    anchors: torch.Tensor
    reference: dict[str, torch.Tensor]

    def at(self, encoder: nn.Module, head: nn.Module) -> Row:
        """Accuracy on validation and test nodes, and likeness to the reference by every measure."""
        spaces = _spaces(encoder, head, self.graph)
        row: Row = {
            name: accuracy(head, spaces["latents"][nodes], self.graph.labels[nodes])
            for name, nodes in (("validation", self.graph.validation), ("accuracy", self.graph.test))
        }
        for name, (space, see, how) in LIKENESS.items():
            x, y = see(spaces[space]), see(self.reference[space])
            row[f"likeness, {name}"] = reference_similarity(x, y, self.anchors, **how)
        return row


def _spaces(encoder: nn.Module, head: nn.Module, graph: LabelledGraph) -> dict[str, torch.Tensor]:
    latents = encode_nodes(encoder, graph).vectors
    head.eval()
    with torch.no_grad():
        return {"latents": latents, "logits": head(latents)}


def _kept(path: Path, measure: Callable[[], list[Row]]) -> tuple[list[Row], bool]:
    """What an earlier run kept, or what is measured and kept now; and whether it was there."""
    if path.is_file():
        found: list[Row] = read_json(path, schema_version=2)["rows"]
        return found, True
    found = measure()
    write_json(path, {"rows": found}, schema_version=2)
    return found, False


def _to_follow(settings: EvaluationStudyConfig) -> list[Row]:
    """The reference's settings with each make, under seeds that no other model has."""
    return [
        settings.reference | {"arch": arch, "epochs": max(settings.stops), "seed": settings.models + 1 + number}
        for arch in _CHOICES["arch"]
        for number in range(settings.followed)
    ]


def _train(graph: LabelledGraph, chosen: Row, device: str, *, select: bool) -> NodeClassifier:
    return train_node_classifier(graph, device=device, select=select, **chosen)


def _measure(looks: _Looks, chosen: Row, device: str) -> list[Row]:
    """One model of the sweep: its settings, its accuracies and its likeness."""
    model = _train(looks.graph, chosen, device, select=False)
    return [{"part": "sweep", **chosen, **looks.at(model.encoder, model.head)}]


def _follow(looks: _Looks, chosen: Row, stops: Sequence[int], device: str) -> list[Row]:
    """One model at every stop along its training."""
    rows: list[Row] = []

    def look(epoch: int, encoder: nn.Module, head: nn.Module) -> None:
        if epoch + 1 in stops:
            seen = looks.at(copy.deepcopy(encoder).cpu(), copy.deepcopy(head).cpu())
            rows.append({"part": "training", **chosen, "epochs": epoch + 1, **seen})

    train_node_classifier(looks.graph, device=device, select=False, on_epoch=look, **chosen)
    return rows


def _better_half(cells: Sequence[Row]) -> list[Row]:
    middle = float(np.median([row["accuracy"] for row in cells]))
    return [row for row in cells if row["accuracy"] >= middle]


_GROUPS: dict[str, Callable[[Sequence[Row]], list[Row]]] = {
    "validation from 0.5": lambda cells: [row for row in cells if row["validation"] >= FILTER],
    "all": list,
    "better half": _better_half,
}


def _line(cells: Sequence[Row], likeness: str, group: str) -> Row:
    """Both correlations in a group of models, with 95 % intervals of percentiles over models drawn anew (Efron)."""
    chosen = _GROUPS[group](cells)
    line: Row = {"models": group, "likeness": likeness, "number": len(chosen)}
    alike = np.array([row[f"likeness, {likeness}"] for row in chosen])
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


def _line_along(followed: Sequence[Row], likeness: str) -> Row:
    """Both correlations along the training of one model: means over models, with intervals of Student's t."""
    models = list(dict.fromkeys((row["arch"], row["seed"]) for row in followed))
    line: Row = {"models": "along one training", "likeness": likeness, "number": len(models)}
    for name, correlate in (("pearson", scipy.stats.pearsonr), ("spearman", scipy.stats.spearmanr)):
        found = []
        for model in models:
            stops = [row for row in followed if (row["arch"], row["seed"]) == model]
            alike = [row[f"likeness, {likeness}"] for row in stops]
            found.append(float(correlate(alike, [row["accuracy"] for row in stops])[0]))
        mean, low, high = mean_interval(found, within=(-1.0, 1.0))
        line |= {name: mean, f"{name} low": low, f"{name} high": high}
    return line


def _picture(rows: Sequence[Row], likeness: str) -> bytes:
    """Likeness against accuracy: a dot for each model, or each stop of a training."""
    groups = {
        arch: [(row[f"likeness, {likeness}"], row["accuracy"]) for row in rows if row["arch"] == arch]
        for arch in dict.fromkeys(row["arch"] for row in rows)
    }
    return scatter_figure(groups, f"likeness to the reference, {likeness}", "accuracy")


def _pearson(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Row by row, (b, n), (b, n) -> (b,)."""
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    found: np.ndarray[Any, Any] = (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1))
    return found


def _facts(table: Sequence[Row], good: float, graph: LabelledGraph, models: int) -> list[str]:
    by = {(row["models"], row["likeness"]): row for row in table}

    def text(group: str, name: str, measure: str) -> str:
        value = by[group, name][measure]
        return "undefined" if value is None else f"{value:.3f}"

    filtered, everything, half = _GROUPS
    lines = [
        f"{models:,} models on {graph.name}; the reference, whose accuracy is {good:.3f}, is none of them. Likeness: "
        "the mean cosine of relative vectors of the same nodes.",
    ]
    for name, words in (
        ("as they are", "Cosines as they are, as in the paper"),
        ("less the mean node", "Relative vectors less their mean over nodes"),
        ("decisions", "The likeliest classes in place of latents"),
    ):
        lines.append(
            f"{words}: Pearson {text(filtered, name, 'pearson')} over the {by[filtered, name]['number']} models with "
            f"at least {FILTER} on validation nodes; Spearman {text(everything, name, 'spearman')} over all, "
            f"{text(half, name, 'spearman')} within the better half; along one training Pearson "
            f"{text('along one training', name, 'pearson')}."
        )
    return [
        *lines,
        "low and high: 95 % interval over models drawn anew (bootstrap), Spearman's with the ranks of the whole group; "
        "along one training Student's t over models.",
    ]
