"""Joining parts that were trained apart by every method, and the table of it: what the studies of encoders and heads
share.

A part is an encoder with its head; the encoder of x drives the head of y. A seed pair (s, next s) joins encoders of
seed s to heads of the next seed, so that the two sides share neither weights nor order of training, and every network
is an encoder once and a head once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rlstitch.latent import (
    LatentSpace,
    aggregate_sum,
    fit,
    fit_inverse_projection,
    fit_normalization,
    project_product,
    relative_projection,
)
from rlstitch.studies.study import Row, mean_interval

TRANSLATIONS = (
    "orthogonal", "scaled_orthogonal", "l_orthogonal", "linear", "ridge", "affine", "low_rank", "cca", "pls",
)  # fmt: skip
"""Those that have a closed form."""
ALL_TRANSLATIONS = (*TRANSLATIONS, "robust", "affine_gradient")
"""Those that go in rounds, too, and take up to a hundred times as long: in full only."""
INVERSE = "inverse relative"

Relation = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Score = Callable[[nn.Module, torch.Tensor], float]
"""(head, features of the test items) -> how well they do."""


def _product(x: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Crescenzi et al. 2023 (2310.01211): several similarities, summed after a layer norm of each."""
    normalize = fit_normalization("center", anchors)
    found: torch.Tensor = aggregate_sum(
        project_product(normalize(x), normalize(anchors), ["cosine", "euclidean", "l1", "linf"])
    )
    return found


RELATIVE: dict[str, Relation] = {
    "relative": relative_projection,
    "relative whitened": lambda x, anchors: relative_projection(x, anchors, normalization="whiten"),
    "relative product": _product,
}
"""Method -> features (n, anchors) of x (n, d) relative to anchors (anchors, d)."""


@dataclass(frozen=True, eq=False)
class Part:
    """A trained network: its own head, its heads for relative features, and what its encoder makes of anchors and test
    items. Parts that are joined name the same anchors and the same test items by the same keys.
    """

    make: str
    seed: int
    head: nn.Module
    heads: Mapping[str, nn.Module]
    anchors: LatentSpace[torch.Tensor]
    test: LatentSpace[torch.Tensor]

    def relative(self, method: str) -> torch.Tensor:
        """Test items (n, anchors), relative to this encoder's own anchors."""
        return RELATIVE[method](self.test.vectors, self.anchors.vectors)


def make_part(
    make: str,
    seed: int,
    head: nn.Module,
    known: LatentSpace[torch.Tensor],
    test: LatentSpace[torch.Tensor],
    anchors: Sequence[int],
    train_head: Callable[[torch.Tensor], nn.Module],
) -> Part:
    """A part with a head for each relative method, which `train_head` trains on the relative features of the `known`
    items; `anchors` are rows of these.
    """
    chosen = known.subset(list(anchors))
    heads = {method: train_head(relate(known.vectors, chosen.vectors)) for method, relate in RELATIVE.items()}
    return Part(make, seed, head, heads, chosen, test)


def native_scores(y: Part, score: Score) -> dict[str, float]:
    """The scores of y's encoder with y's own heads: the no-stitch rows."""
    results = {"no-stitch": score(y.head, y.test.vectors)}
    return results | {f"no-stitch, {method}": score(y.heads[method], y.relative(method)) for method in RELATIVE}


def join(
    x: Part,
    y: Part,
    score: Score,
    translations: Sequence[str] = TRANSLATIONS,
    seen: Mapping[str, torch.Tensor] | None = None,
) -> dict[str, float]:
    """The score of x's encoder with y's head by each method. `seen`: x's relative features by method, where known."""
    source, target = x.anchors.pair(y.anchors)
    seen = seen or {method: x.relative(method) for method in RELATIVE}
    results = {"absolute": score(y.head, x.test.vectors)}
    results |= {method: score(y.heads[method], features) for method, features in seen.items()}
    for method in translations:
        results[method] = score(y.head, fit(method, source.vectors, target.vectors)(x.test.vectors))
    back = fit_inverse_projection(source.vectors, target.vectors)
    return results | {INVERSE: score(y.head, back(x.test.vectors))}


def join_all(
    parts: Sequence[Part], score: Score, translations: Sequence[str] = TRANSLATIONS, measure: str = "accuracy"
) -> list[Row]:
    """A cell for each encoder, head of the next seed, and method."""
    seeds = list(dict.fromkeys(part.seed for part in parts))
    following = dict(zip(seeds, seeds[1:] + seeds[:1], strict=True))
    natives = {part: native_scores(part, score) for part in parts}
    cells: list[Row] = []
    for x in parts:
        seen = {method: x.relative(method) for method in RELATIVE}
        for y in parts:
            if y.seed == following[x.seed]:
                where: Row = {"encoder": x.make, "head": y.make, "encoder seed": x.seed, "head seed": y.seed}
                found = natives[y] | join(x, y, score, translations, seen)
                cells += [where | {"method": name, measure: value} for name, value in found.items()]
    return cells


def table_of(cells: Sequence[Row], measure: str = "accuracy", within: tuple[float, float] = (0.0, 1.0)) -> list[Row]:
    """A row for each method: over all pairs of makes, of the same make, of different makes.

    The value that counts once is the mean of a seed pair, as its cells share networks. `within`: values that are
    possible.
    """
    kinds: dict[str, Callable[[Row], bool]] = {
        measure: lambda row: True,
        "same make": lambda row: row["encoder"] == row["head"],
        "other make": lambda row: row["encoder"] != row["head"],
    }
    rows: list[Row] = []
    for method in dict.fromkeys(row["method"] for row in cells):
        line: Row = {"method": method}
        for kind, belongs in kinds.items():
            chosen = [row for row in cells if row["method"] == method and belongs(row)]
            pairs = sorted({row["encoder seed"] for row in chosen})
            means = [float(np.mean([row[measure] for row in chosen if row["encoder seed"] == s])) for s in pairs]
            mean, low, high = mean_interval(means, within=within) if means else (None, None, None)
            line |= {kind: mean}
            if kind == measure:
                line |= {"low": low, "high": high, "seed pairs": len(means), "cells": len(chosen)}
        rows.append(line)
    return rows


def translators(table: Sequence[Row]) -> list[str]:
    """The methods of a table that map one space to the other."""
    return [row["method"] for row in table if row["method"] in (*ALL_TRANSLATIONS, INVERSE)]


def accuracy_facts(table: Sequence[Row], tested: str, cells: Sequence[Row]) -> list[str]:
    """What the table says in words, with the no-stitch accuracy of each make. `tested`: what was classified."""
    by = {row["method"]: row["accuracy"] for row in table}
    best = max(translators(table), key=by.__getitem__)
    relative = max(RELATIVE, key=by.__getitem__)
    own = [row for row in cells if row["method"] == "no-stitch"]
    makes = ", ".join(
        f"{make} {np.mean([row['accuracy'] for row in own if row['head'] == make]):.3f}"
        for make in dict.fromkeys(row["head"] for row in own)
    )
    return [
        f"Accuracy on {tested}. No-stitch {by['no-stitch']:.3f} ({makes}), joined as is {by['absolute']:.3f}, "
        f"best translation ({best}) {by[best]:.3f} = {100 * by[best] / by['no-stitch']:.1f} % of no-stitch, "
        f"best relative ({relative}) {by[relative]:.3f} = {100 * by[relative] / by['no-stitch']:.1f} %.",
        "low and high: 95 % interval (Student's t) over seed pairs; the two sides never share a seed.",
    ]
