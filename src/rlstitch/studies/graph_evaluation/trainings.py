"""The second sweep of study `graphs-latent-evaluation`: similarity along many trainings, as the paper measures it.

The first sweep correlates models with one another. The notebook that the authors of Moschella et al. 2022 (2209.15430,
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
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlstitch.modalities.graph import LabelledGraph
from rlstitch.studies.graph_evaluation.correlation import RESAMPLES, correlated, pearson
from rlstitch.studies.graph_evaluation.similarity import MIN_VALIDATION, Reference, stored_rows
from rlstitch.studies.study import Findings
from rlstitch.studies.tables import Row

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
    table = [_along(models, name) for name in NAMES] + [_between(models, name) for name in NAMES]
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


def _between(models: Sequence[Row], name: str) -> Row:
    """Both correlations between the models of the greatest length with at least 0.5."""
    chosen = [row for row in models if row["validation"] >= MIN_VALIDATION and row["epochs"] == max(LENGTHS)]
    correlations = correlated([row[f"likeness, {name}"] for row in chosen], [row["accuracy"] for row in chosen])
    return {"models": "second sweep, between models", "likeness": name, "number": len(chosen), **correlations}


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
