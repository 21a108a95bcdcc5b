"""Study `graphs-latent-evaluation`: is a model any good? Its likeness to a good one, in relative space, as a guess.

After Moschella et al. 2022 (2209.15430, section 4.2): many node classifiers, from hardly trained to good, of several
makes; each is compared with one reference relative to the same anchor nodes, without a look at labels, and the
likeness is correlated with its accuracy on test nodes. The paper leaves out models below 0.5 on validation nodes.
Beside the paper's likeness stand others of ours; and a few models are followed along their training. A second sweep,
`graph_trainings`, is nearer to the paper's.

The sweep is fixed: model number i of a sweep always has the same settings and seed. What a model came to is kept in the
run's folder, `models/<number>.json`, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import torch
from torch import nn

from rlstitch.errors import InvalidInputError
from rlstitch.jobs.resources import resolve_device, torch_threads
from rlstitch.modalities.graph import LabelledGraph, import_geometric
from rlstitch.modalities.graph_training import train_node_classifier
from rlstitch.reporting.plots import scatter_plot
from rlstitch.studies import graph_trainings
from rlstitch.studies.graph_likeness import FILTER, LIKENESS, Looks, correlated, kept
from rlstitch.studies.graphs import load_graph
from rlstitch.studies.study import Findings, Row, StudyOptions, mean_interval, study_folder

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
_STOPS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 45, 60, 100)
"""Epochs after which a model that is followed along its training is looked at."""


@dataclass(frozen=True)
class EvaluationStudyConfig:
    """Everything that decides the outcome. `models`: how many of the sweep; `anchors`: nodes, of all of the graph;
    `followed`: how many of each make are looked at along their training; `trainings`: how many of the second sweep,
    by its `second_reference`.
    """

    dataset: str
    seeds: tuple[int, ...]
    models: int
    anchors: int
    reference: Row
    followed: int
    trainings: int
    stops: tuple[int, ...] = _STOPS
    sweep_seed: int = _SWEEP_SEED
    second_reference: Row = field(default_factory=lambda: graph_trainings.REFERENCE)


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
        quick = graph_trainings.REFERENCE | {"epochs": 40}
        return asdict(
            EvaluationStudyConfig("block-model", (0,), 18, 100, _REFERENCE, 1, 4, _STOPS[:-3], second_reference=quick)
        )
    return asdict(EvaluationStudyConfig("cora", (0,), 1100, 300, _REFERENCE, 3, 64))


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
    """Train the reference and every model of the sweep that is not there yet, and correlate likeness with accuracy;
    then the same along the trainings of the second sweep.
    """
    settings = EvaluationStudyConfig(**{name: value for name, value in config.items() if name != "study"})
    device = resolve_device(options.device)
    graph = load_graph(settings.dataset, options)
    import_geometric()
    folder = study_folder(config) / "models"
    # Such small graphs take longer on several threads.
    with torch_threads(1):
        anchors = torch.tensor(np.random.default_rng(0).permutation(len(graph))[: settings.anchors])
        reference = train_node_classifier(graph, device=device, **settings.reference, seed=settings.seeds[0])
        looks = Looks(graph, anchors, reference.encoder, reference.head)
        good = looks.at(reference.encoder, reference.head, ())["accuracy"]
        options.on_progress(f"reference {reference.name} trained: accuracy {good:.3f}")
        cells = _swept(settings, looks, folder, device, options)
        followed = _all_followed(settings, looks, folder, device, options)
        second = graph_trainings.run(
            graph, settings.trainings, settings.anchors, settings.second_reference, settings.sweep_seed,
            folder, device, options.on_progress,
        )  # fmt: skip
    table = [_line(cells, name, group) for group in _GROUPS for name in LIKENESS]
    table += [_line_along(followed, name) for name in LIKENESS]
    files = {
        "models.png": _plot(cells, "as they are"),
        "decisions.png": _plot(cells, "decisions"),
        "training.png": _plot(followed, "as they are"),
        "second.png": _plot([row for row in second.cells if row["epochs"] == max(graph_trainings.LENGTHS)]),
    }
    facts = [*_facts(table, good, graph, len(cells)), *second.facts]
    return Findings([*cells, *followed, *second.cells], [*table, *second.table], facts, files)


def _swept(
    settings: EvaluationStudyConfig, looks: Looks, folder: Path, device: str, options: StudyOptions
) -> list[Row]:
    cells: list[Row] = []
    before = 0
    for number, chosen in enumerate(sweep(settings.models, settings.sweep_seed)):
        found, old = kept(folder / f"{number:04}.json", partial(_measure, looks, chosen, device))
        cells += found
        before += old
        if (number + 1) % 12 == 0 or number + 1 == settings.models:
            options.on_progress(f"{number + 1} of {settings.models} models, {before} of them from before")
    return cells


def _all_followed(
    settings: EvaluationStudyConfig, looks: Looks, folder: Path, device: str, options: StudyOptions
) -> list[Row]:
    followed: list[Row] = []
    for chosen in _to_follow(settings):
        path = folder / f"along-{chosen['arch']}-{chosen['seed']}.json"
        followed += kept(path, partial(_follow, looks, chosen, settings.stops, device))[0]
        options.on_progress(f"{chosen['arch']}-s{chosen['seed']} followed along its training")
    return followed


def _to_follow(settings: EvaluationStudyConfig) -> list[Row]:
    """The reference's settings with each make, under seeds that no other model has."""
    return [
        settings.reference | {"arch": arch, "epochs": max(settings.stops), "seed": settings.models + 1 + number}
        for arch in _CHOICES["arch"]
        for number in range(settings.followed)
    ]


def _measure(looks: Looks, chosen: Row, device: str) -> list[Row]:
    """One model of the sweep: its settings, its accuracies and its likeness."""
    model = train_node_classifier(looks.graph, device=device, select=False, **chosen)
    return [{"part": "sweep", **chosen, **looks.at(model.encoder, model.head)}]


def _follow(looks: Looks, chosen: Row, stops: Sequence[int], device: str) -> list[Row]:
    """One model at every stop along its training."""
    rows: list[Row] = []

    def look(epoch: int, encoder: nn.Module, head: nn.Module) -> None:
        if epoch + 1 in stops:
            rows.append({"part": "training", **chosen, "epochs": epoch + 1, **looks.at(encoder, head)})

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
    """Both correlations in a group of models."""
    chosen = _GROUPS[group](cells)
    found = correlated([row[f"likeness, {likeness}"] for row in chosen], [row["accuracy"] for row in chosen])
    return {"models": group, "likeness": likeness, "number": len(chosen), **found}


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


def _plot(rows: Sequence[Row], likeness: str = "as they are") -> bytes:
    """Likeness against accuracy: a dot for each model, or each stop of a training."""
    groups = {
        arch: [(row[f"likeness, {likeness}"], row["accuracy"]) for row in rows if row["arch"] == arch]
        for arch in dict.fromkeys(row["arch"] for row in rows)
    }
    return scatter_plot(groups, f"likeness to the reference, {likeness}", "accuracy").png()


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
