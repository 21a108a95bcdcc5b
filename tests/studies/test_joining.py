"""Independently trained encoders and heads are joined by every method."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlstitch.latent import LatentSpace, translation_methods
from rlstitch.studies.catalogue.images_classification import ImagesClassification
from rlstitch.studies.joining import (
    ALL_TRANSLATIONS,
    INVERSE,
    RELATIVE,
    TRANSLATIONS,
    Part,
    join,
    join_all,
    joining_table,
    native_scores,
)
from rlstitch.studies.training.trainers import Trained


class Nearest(torch.nn.Module):
    """A head that knows the class means of what it was shown."""

    def __init__(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        super().__init__()
        self.means = torch.stack([features[labels == label].mean(0) for label in range(3)])

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return -torch.cdist(features, self.means)


def parts(seeds: tuple[int, ...]) -> tuple[list[Part], torch.Tensor]:
    """Two architectures, each seed the same points in other axes, of another size: what every method can join."""
    rng = np.random.default_rng(0)
    labels = torch.tensor(np.arange(90) % 3)
    points = rng.normal(size=(90, 6)) * 0.3 + np.eye(6)[labels] * 4
    keys = tuple(f"k{row}" for row in range(90))
    made = []
    for seed in seeds:
        for arch in ("a", "b"):
            turn = np.linalg.qr(rng.normal(size=(6, 6)))[0] * (1 + rng.random())
            space = LatentSpace(torch.tensor(points @ turn, dtype=torch.float32), keys)
            known, test = space.subset(range(60)), space.subset(range(60, 90))
            head = Nearest(known.vectors, labels[:60])
            trained = Trained(head, known, test, lambda features: Nearest(features, labels[:60]))
            made.append(Part.of(arch, seed, trained, range(40)))
    return made, labels[60:]


def test_joining_turned_spaces_is_as_good_as_not_parting() -> None:
    made, labels = parts((0, 1, 2))

    def score(head: torch.nn.Module, features: torch.Tensor) -> float:
        return float((head(features).argmax(1) == labels).float().mean())

    cells = join_all(made, score, ALL_TRANSLATIONS)
    table = {row["method"]: row for row in joining_table(cells)}
    rigid = {"orthogonal", "l_orthogonal", "robust"}  # sizes differ, and a rotation keeps them
    for method in {"no-stitch", *RELATIVE, *ALL_TRANSLATIONS, INVERSE} - rigid:
        assert table[method]["accuracy"] > 0.95, method
    assert table["absolute"]["accuracy"] < 0.8
    assert (table["affine"]["seed pairs"], table["affine"]["cells"]) == (3, 12)
    pairs = {(row["encoder seed"], row["head seed"]) for row in cells}
    assert pairs == {(0, 1), (1, 2), (2, 0)}
    # The naive mean over cells.
    result = [row["accuracy"] for row in cells if row["method"] == "absolute" and row["encoder"] == row["head"]]
    assert table["absolute"]["same make"] == pytest.approx(np.mean(result))
    assert join(made[0], made[0], score)["absolute"] == native_scores(made[0], score)["no-stitch"]


def test_studies_in_full_have_every_translator() -> None:
    # A method that is added later is no part of them: the hash of a run's folder depends on the list.
    assert set(translation_methods()) - set(ALL_TRANSLATIONS) == {"calibrated", "total_least_squares"}
    assert set(ALL_TRANSLATIONS) <= set(translation_methods())
    assert ImagesClassification.full.translations == ALL_TRANSLATIONS
    assert ImagesClassification.quick.translations == TRANSLATIONS
