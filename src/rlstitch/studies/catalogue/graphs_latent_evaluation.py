"""Study `graphs-latent-evaluation`: does a model's similarity to a good one, in relative space, predict its accuracy?

Shows: how well a model's likeness to one good model, in relative space and without labels, tells its accuracy
Data: Cora (Planetoid files); with --quick a stochastic block model; needs the extra graph
Time: quick: under 15 seconds; in full: some 12 minutes, resumable, as 1,177 small networks are trained

After Moschella et al. 2022 (2209.15430, section 4.2): many node classifiers, from hardly trained to good, of several
architectures; each is compared with one reference relative to the same anchor nodes, without labels, and the similarity
is correlated with its accuracy on test nodes. The paper leaves out models below 0.5 on validation nodes. Beside the
paper's similarity there are others of ours; and a few models are followed along their training. A second sweep,
`graph_evaluation.trainings`, is nearer to the paper's.

The sweep is fixed: model number i of a sweep always has the same settings and seed. Each model's results are stored in
the run's folder, `models/<number>.json`, so that an interrupted run continues where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import torch

from rlstitch.jobs.resources import torch_threads
from rlstitch.modalities.graph import LabelledGraph, import_geometric
from rlstitch.reporting.plots import scatter_plot
from rlstitch.studies.data import load_graph
from rlstitch.studies.graph_evaluation import (
    LENGTHS,
    MIN_VALIDATION,
    SECOND_REFERENCE,
    SIMILARITIES,
    Reference,
    correlation_line,
    follow_trainings,
    second_reference,
    stored_rows,
    training_settings,
)
from rlstitch.studies.study import Findings, Study, StudyConfig
from rlstitch.studies.tables import Row, grouped, mean_interval

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
"""Epochs after which a model that is followed along its training is measured."""
_SWEEP_SEED = 2022


class Config(StudyConfig):
    """Everything that decides the result.

    The only seed is the reference's. `models`: how many of the sweep; `anchors`: nodes of the whole graph; `followed`:
    how many of each architecture are measured along their training; `trainings`: how many of the second sweep, with
    its `second_reference`.
    """

    seeds: tuple[int, ...] = (0,)
    dataset: str
    models: int
    anchors: int
    reference: Row = _REFERENCE
    followed: int
    trainings: int
    stops: tuple[int, ...] = _STOPS
    sweep_seed: int = _SWEEP_SEED
    second_reference: Row = SECOND_REFERENCE


def sweep(models: int, seed: int = _SWEEP_SEED) -> list[Row]:
    """The settings of the first `models` of the sweep; number i is the same in every sweep that is long enough.

    Settings are random and independent of each other; seeds are i + 1, and the reference alone has seed 0.
    """
    rows: list[Row] = []
    for number in range(models):
        rng = np.random.default_rng([seed, number])
        chosen = {name: values[int(rng.integers(len(values)))] for name, values in _CHOICES.items()}
        rows.append(chosen | {"seed": number + 1})
    return rows


class GraphsLatentEvaluation(Study[Config]):
    """Correlates similarity to a reference with accuracy."""

    takes_seeds = False

    quick = Config(
        dataset="block-model", models=18, anchors=100, followed=1, trainings=4, stops=_STOPS[:-3],
        second_reference=SECOND_REFERENCE | {"epochs": 40},
    )  # fmt: skip
    full = Config(dataset="cora", models=1100, anchors=300, followed=3, trainings=64)

    def run(self) -> Findings:
        """Train the reference and every model that is not stored yet, and correlate similarity with accuracy."""
        config, folder = self.config, self.folder / "models"
        graph = load_graph(config.dataset, 0, self.data)
        import_geometric()
        # Such small graphs take longer on several threads.
        with torch_threads(1):
            anchors = torch.tensor(np.random.default_rng(0).permutation(len(graph))[: config.anchors])
            reference = Reference(graph, anchors, config.reference | {"seed": config.seeds[0]}, self.device)
            own = reference.accuracy
            self.report(f"reference {reference.model.name} trained: accuracy {own:.3f}")
            cells = self._sweep(reference, folder)
            followed = self._follow_all(reference, folder)
            second = follow_trainings(
                second_reference(
                    graph, config.anchors, config.second_reference, config.sweep_seed, self.device
                ),
                training_settings(config.trainings, config.sweep_seed), folder, self.report,
            )  # fmt: skip
        table = [correlation_line(group, name, of(cells)) for group, of in _GROUPS.items() for name in SIMILARITIES]
        table += [_line_along(followed, name) for name in SIMILARITIES]
        ends = [row for row in second.cells if row["epochs"] == max(LENGTHS)]
        files = {
            "models.png": _plot(cells, "as they are"),
            "decisions.png": _plot(cells, "decisions"),
            "training.png": _plot(followed, "as they are"),
            "second.png": _plot(ends, "as they are"),
        }
        facts = [*_facts(table, own, graph, len(cells)), *second.facts]
        return Findings([*cells, *followed, *second.cells], [*table, *second.table], facts, files)

    def _sweep(self, reference: Reference, folder: Path) -> list[Row]:
        cells: list[Row] = []
        earlier = 0
        for number, settings in enumerate(sweep(self.config.models, self.config.sweep_seed)):
            rows, stored = stored_rows(folder / f"{number:04}.json", partial(_measure, reference, settings))
            cells += rows
            earlier += stored
            if (number + 1) % 12 == 0 or number + 1 == self.config.models:
                self.report(f"{number + 1} of {self.config.models} models, {earlier} of them from before")
        return cells

    def _follow_all(self, reference: Reference, folder: Path) -> list[Row]:
        """Follow the reference's settings with each architecture, under seeds that no other model has."""
        config = self.config
        followed: list[Row] = []
        for arch in _CHOICES["arch"]:
            for number in range(config.followed):
                seed = config.models + 1 + number
                settings = config.reference | {"arch": arch, "epochs": max(config.stops), "seed": seed}
                path = folder / f"along-{arch}-{seed}.json"
                followed += stored_rows(path, partial(_follow, reference, settings, config.stops))[0]
                self.report(f"{arch}-s{seed} followed along its training")
        return followed


def _measure(reference: Reference, settings: Row) -> list[Row]:
    """One model of the sweep: its settings, its accuracies and its similarity."""
    model = reference.train(settings)
    return [{"part": "sweep", **settings, **reference.compare(model.encoder, model.head)}]


def _follow(reference: Reference, settings: Row, stops: Sequence[int]) -> list[Row]:
    """One model at every stop along its training."""
    return [
        {"part": "training", **settings, "epochs": row.pop("epoch"), **row}
        for row in reference.follow(settings, SIMILARITIES, stops)
    ]


def _better_half(cells: Sequence[Row]) -> list[Row]:
    median = float(np.median([row["accuracy"] for row in cells]))
    return [row for row in cells if row["accuracy"] >= median]


_GROUPS: dict[str, Callable[[Sequence[Row]], list[Row]]] = {
    "validation from 0.5": lambda cells: [row for row in cells if row["validation"] >= MIN_VALIDATION],
    "all": list,
    "better half": _better_half,
}


def _line_along(followed: Sequence[Row], similarity: str) -> Row:
    """Both correlations along the training of one model: means over models, with intervals of Student's t."""
    models = grouped(followed, itemgetter("arch", "seed"))
    line: Row = {"models": "along one training", "likeness": similarity, "number": len(models)}
    for name, correlate in (("pearson", scipy.stats.pearsonr), ("spearman", scipy.stats.spearmanr)):
        values = [
            float(correlate([row[f"likeness, {similarity}"] for row in stops], [row["accuracy"] for row in stops])[0])
            for stops in models.values()
        ]
        mean, low, high = mean_interval(values, within=(-1.0, 1.0))
        line |= {name: mean, f"{name} low": low, f"{name} high": high}
    return line


def _plot(rows: Sequence[Row], similarity: str) -> bytes:
    """Similarity against accuracy: a dot for each model, or each stop of a training."""
    points = {
        arch: [(row[f"likeness, {similarity}"], row["accuracy"]) for row in group]
        for arch, group in grouped(rows, itemgetter("arch")).items()
    }
    return scatter_plot(points, f"likeness to the reference, {similarity}", "accuracy").png()


def _facts(table: Sequence[Row], own: float, graph: LabelledGraph, models: int) -> list[str]:
    by = {(row["models"], row["likeness"]): row for row in table}

    def text(group: str, name: str, measure: str) -> str:
        value = by[group, name][measure]
        return "undefined" if value is None else f"{value:.3f}"

    filtered, everything, half = _GROUPS
    lines = [
        f"{models:,} models on {graph.name}; the reference, whose accuracy is {own:.3f}, is none of them. Likeness: "
        "the mean cosine of relative vectors of the same nodes.",
    ]
    for name, words in (
        ("as they are", "Cosines as they are, as in the paper"),
        ("less the mean node", "Relative vectors less their mean over nodes"),
        ("decisions", "The likeliest classes in place of latents"),
    ):
        lines.append(
            f"{words}: Pearson {text(filtered, name, 'pearson')} over the {by[filtered, name]['number']} models with "
            f"at least {MIN_VALIDATION} on validation nodes; Spearman {text(everything, name, 'spearman')} over all, "
            f"{text(half, name, 'spearman')} within the better half; along one training Pearson "
            f"{text('along one training', name, 'pearson')}."
        )
    return [
        *lines,
        "low and high: 95 % interval over models drawn anew (bootstrap), Spearman's with the ranks of the whole group; "
        "along one training Student's t over models.",
    ]
