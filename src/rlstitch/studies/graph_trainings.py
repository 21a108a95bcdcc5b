"""The second sweep of study `graphs-latent-evaluation`: likeness along many trainings, as the paper's figure has it.

It came second. The first sweep correlates models with one another. The notebook that the authors of Moschella et al.
2022 (2209.15430, section 4.2) published correlates likeness and accuracy over the epochs of each training, and the
figure they quote is the mean of that over models whose best epoch has at least 0.5 on validation nodes. This sweep
follows the notebook's table of settings (GCNII and GIN, Adam and SGD, 10, 30 and 50 epochs, ...), smaller: 2 and 4
layers of 32 for 32 and 64 of 300, one activation a model, and test nodes besides validation nodes.

Trainings of one setting and seed are the same for as long as they last, in the notebook too: a model is a training up
to one of the three lengths.
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
from torch import nn

from rlstitch.modalities.graph import LabelledGraph
from rlstitch.modalities.graph_training import train_node_classifier
from rlstitch.studies.graph_likeness import FILTER, RESAMPLES, Looks, correlated, kept, pearson
from rlstitch.studies.study import Findings, Row

LENGTHS = (10, 30, 50)
"""Epochs of a model."""
NAMES = ("as they are", "less the mean node", "decisions")
"""Likenesses that are told; the first is the paper's."""
_TABLE: dict[str, Sequence[Any]] = {
    "arch": ("gcnii", "gin"),
    "layers": (2, 4),
    "dropout": (0.1, 0.5),
    "activation": ("relu", "tanh"),
    "optimizer": ("adam", "sgd"),
    "learning_rate": (0.01, 0.02),
}
_COMMON: Row = {"hidden": 32, "latent_dim": 32, "weight_decay": 0.0}
REFERENCE: Row = {
    "arch": "gcnii", "layers": 2, "dropout": 0.5, "activation": "relu", "optimizer": "adam", "learning_rate": 0.02,
    **_COMMON, "epochs": 200,
}  # fmt: skip
_SHARE = 0.1
"""Of all nodes: those to choose by, and as many to test on."""


def trainings(number: int, seed: int) -> list[Row]:
    """The settings of the first `number` trainings; number i is the same in every sweep that is long enough.

    All of the table's settings in an order drawn anew, over and over; seeds are i + 1, the reference's is 0.
    """
    grid = [dict(zip(_TABLE, values, strict=True)) for values in itertools.product(*_TABLE.values())]
    found: list[Row] = []
    for again in range(-(-number // len(grid))):
        for at in np.random.default_rng([seed, again]).permutation(len(grid)):
            found.append({**grid[at], **_COMMON, "epochs": max(LENGTHS), "seed": len(found) + 1})
    return found[:number]


def run(
    graph: LabelledGraph,
    number: int,
    anchors: int,
    reference: Row,
    seed: int,
    folder: Path,
    device: str,
    on_progress: Callable[[str], None],
) -> Findings:
    """Follow every training of the sweep that is not in `folder` yet, epoch by epoch, and correlate."""
    graph = split_anew(graph, seed)
    chosen = torch.tensor(np.random.default_rng(seed).permutation(graph.train)[:anchors])
    good = train_node_classifier(graph, device=device, **reference, seed=0)
    looks = Looks(graph, chosen, good.encoder, good.head)
    own = looks.at(good.encoder, good.head, ())["accuracy"]
    on_progress(f"reference of the second sweep trained: accuracy {own:.3f}")
    models: list[Row] = []
    for place, settings in enumerate(trainings(number, seed)):
        epochs, _ = kept(folder / f"second-{place:04}.json", partial(_follow, looks, settings, device))
        models += [_model(settings, epochs[:length]) for length in LENGTHS]
        if (place + 1) % 12 == 0 or place + 1 == number:
            on_progress(f"second sweep: {place + 1} of {number} trainings")
    table = [_along(models, name) for name in NAMES] + [_between(models, name) for name in NAMES]
    return Findings(models, table, _facts(table, own, models))


def split_anew(graph: LabelledGraph, seed: int) -> LabelledGraph:
    """The graph with other nodes to train on, to choose by and to test on: 80, 10 and 10 % of all, drawn by `seed`."""
    order = np.random.default_rng(seed).permutation(len(graph))
    held = round(_SHARE * len(graph))
    return dataclasses.replace(
        graph, validation=np.sort(order[:held]), test=np.sort(order[held : 2 * held]), train=np.sort(order[2 * held :])
    )


def _follow(looks: Looks, settings: Row, device: str) -> list[Row]:
    """One training, epoch by epoch."""
    rows: list[Row] = []

    def look(epoch: int, encoder: nn.Module, head: nn.Module) -> None:
        rows.append({"epoch": epoch + 1, **looks.at(encoder, head, NAMES)})

    train_node_classifier(looks.graph, device=device, select=False, on_epoch=look, **settings)
    return rows


def _model(settings: Row, epochs: Sequence[Row]) -> Row:
    """A model: its best accuracy on validation nodes, what it came to, and Pearson along its training (None where
    nothing changes).
    """
    model: Row = {"part": "second sweep", **settings, **epochs[-1], "epochs": len(epochs)}
    del model["epoch"]
    model["validation"] = max(row["validation"] for row in epochs)
    found = np.array([[row["accuracy"] for row in epochs]])
    for name in NAMES:
        alike = np.array([[row[f"likeness, {name}"] for row in epochs]])
        defined = np.isfinite(alike).all() and np.ptp(alike) > 0 and np.ptp(found) > 0
        model[f"pearson, {name}"] = float(pearson(alike, found)[0]) if defined else None
    return model


def _along(models: Sequence[Row], name: str) -> Row:
    """The mean over models of at least 0.5, with a 95 % interval of percentiles over trainings drawn anew."""
    column = f"pearson, {name}"
    chosen = [row for row in models if row["validation"] >= FILTER and row[column] is not None]
    line: Row = {"models": "second sweep, along each training", "likeness": name, "number": len(chosen)}
    if not chosen:
        return line | {"pearson": None, "pearson low": None, "pearson high": None}
    seeds = sorted({row["seed"] for row in chosen})
    parts = [[row[column] for row in chosen if row["seed"] == seed] for seed in seeds]
    sums, counts = np.array([sum(part) for part in parts]), np.array([len(part) for part in parts])
    draws = np.random.default_rng(0).integers(len(seeds), size=(RESAMPLES, len(seeds)))
    low, high = np.percentile(sums[draws].sum(1) / counts[draws].sum(1), [2.5, 97.5])
    return line | {"pearson": float(sums.sum() / counts.sum()), "pearson low": float(low), "pearson high": float(high)}


def _between(models: Sequence[Row], name: str) -> Row:
    """Both correlations between the models of the greatest length with at least 0.5."""
    chosen = [row for row in models if row["validation"] >= FILTER and row["epochs"] == max(LENGTHS)]
    found = correlated([row[f"likeness, {name}"] for row in chosen], [row["accuracy"] for row in chosen])
    return {"models": "second sweep, between models", "likeness": name, "number": len(chosen), **found}


def _facts(table: Sequence[Row], own: float, models: Sequence[Row]) -> list[str]:
    by = {(row["models"].split(", ")[1], row["likeness"]): row for row in table}

    def text(way: str) -> str:
        found = [(name, by[way, name]["pearson"]) for name in NAMES]
        return ", ".join(f"{name} {'undefined' if value is None else f'{value:.3f}'}" for name, value in found)

    number = by["along each training", NAMES[0]]["number"]
    return [
        f"Second sweep, after the paper's settings and its way of counting (reference {own:.3f}): mean Pearson along "
        f"each training of the {number} of {len(models)} models that reach {FILTER} on validation nodes: "
        f"{text('along each training')}; between models at their end: {text('between models')}.",
    ]
