"""Studies across languages and across modalities run end to end on synthetic data."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rlstitch.errors import ArtefactError
from rlstitch.studies.catalogue import cross_modal as modal
from rlstitch.studies.catalogue import text_cross_lingual as lingual
from rlstitch.studies.runs import run_study
from rlstitch.studies.study import StudyOptions

pytestmark = pytest.mark.usefixtures("workplace")


def test_cross_lingual_quick_shows_its_claim() -> None:
    lines: list[str] = []
    outcome = run_study("text-cross-lingual", StudyOptions(quick=True, on_progress=lines.append))
    cells = outcome.findings.cells
    assert len(lines) == 2, "a line a seed"
    by = {(row["anchors"], row["method"]): row for row in outcome.findings.table}
    # Chance is 10 of 300.
    assert by["200 of any topic", "absolute"]["recall@10"] < 0.1
    for method in ("relative", "relative whitened", "affine", "ridge", lingual.INVERSE):
        assert by["200 of any topic", method]["recall@10"] > 0.7, method
    # The seeds support it: the worst cell of these is far above the best as they are.
    recall = {
        method: [row["recall@10"] for row in cells if row["method"] == method and row["anchors"] == lingual.ANY]
        for method in ("absolute", "relative", "relative whitened", "affine")
    }
    worst = min(min(result) for method, result in recall.items() if method != "absolute")
    assert worst > max(recall["absolute"]) + 0.5
    for method in ("relative", "affine"):
        same, other = (by[f"120 {kind}", method]["recall@10"] for kind in (lingual.SAME, lingual.OTHER))
        assert same > other + 0.05, "anchors of other topics serve less well"
    assert {(row["from"], row["to"]) for row in cells} == {(a, b) for a in "abc" for b in "abc" if a != b}
    assert all(row["from seed"] != row["to seed"] for row in cells)
    assert all(row["tests"] < 300 for row in cells if row["anchors"] != lingual.ANY)
    stored = json.loads((outcome.folder / "config.json").read_text())
    assert stored["config"]["dataset"] == "made-up"


def test_ranks_with_and_without_correction_for_hubs() -> None:
    rng = np.random.default_rng(0)
    keys = rng.normal(size=(40, 30)).astype(np.float32)
    queries = keys + 1.2 * rng.normal(size=(40, 30)).astype(np.float32)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, keys)]
    cosines = unit[0] @ unit[1].T
    corrected = 2 * cosines - np.sort(cosines, 1)[:, -10:].mean(1)[:, None] - np.sort(cosines, 0)[-10:].mean(0)
    result = lingual.search_scores(queries, keys)
    for name, scores in (("", cosines), ("csls ", corrected)):
        ranks = 1 + (scores > np.diag(scores)[:, None]).sum(1)
        assert result[f"{name}recall@1"] == pytest.approx((ranks <= 1).mean())
        assert result[f"{name}recall@10"] == pytest.approx((ranks <= 10).mean())
        assert 0.2 < result[f"{name}recall@1"] < result[f"{name}recall@10"]
    assert result["mrr"] == pytest.approx((1 / (1 + (cosines > np.diag(cosines)[:, None]).sum(1))).mean())


def test_languages_of_different_length_are_refused(workplace: Path) -> None:
    folder = workplace / "data" / "multi30k"
    folder.mkdir(parents=True)
    for name in ("train", "test_2016_flickr"):
        for language, lines in (("en", "a\nb\n"), ("de", "c\nd\n"), ("fr", "e\n")):
            (folder / f"{name}.{language}.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    with pytest.raises(ArtefactError, match="as many lines in each language of train"):
        run_study("text-cross-lingual", StudyOptions(data=workplace / "data"))
    (folder / "train.fr.gz").write_bytes(gzip.compress(b"e\nf\n", mtime=0))
    (folder / "test_2016_flickr.fr.gz").write_bytes(gzip.compress(b"e\nf\n", mtime=0))
    with pytest.raises(ArtefactError, match="expected at least 29,000 sentences to train on, found 2"):
        run_study("text-cross-lingual", StudyOptions(data=workplace / "data"))


def test_cross_modal_quick_shows_its_claim() -> None:
    lines: list[str] = []
    outcome = run_study("cross-modal", StudyOptions(quick=True, device="cpu", on_progress=lines.append))
    by = {(row["images and"], row["pairs"], row["method"]): row for row in outcome.findings.table}
    cells = outcome.findings.cells
    own = {
        side: np.mean([row["accuracy"] for row in cells if row["method"] == "no-stitch" and row["to"] == side])
        for side in ("images", "sounds")
    }
    assert min(own.values()) > 0.8
    # Chance is 0.1, and the bar 0.9 of the weaker of the two alone.
    assert by["sounds", "–", "absolute"]["precision@1"] < 0.4
    for pairs in modal.PAIRINGS:
        assert by["sounds", pairs, "relative whitened"]["precision@1"] > 0.9 * min(own.values())
        assert by["sounds", pairs, "relative whitened"]["accuracy"] > 0.9 * min(own.values())
        assert by["names", pairs, "relative whitened"]["precision@1"] > 0.9 * own["images"]
    assert by["sounds", "random", "affine"]["precision@1"] > 0.9 * min(own.values())
    # The seeds support it.
    result = {
        method: [
            row["precision@1"] for row in cells if row["method"] == method and "sounds" in (row["from"], row["to"])
        ]
        for method in ("absolute", "relative whitened")
    }
    assert min(result["relative whitened"]) > max(result["absolute"]) + 0.3
    assert all(row["encoder seed"] != row["head seed"] for row in cells)
    assert len(lines) == 4


def side(modality: str, seed: int, turn: torch.Tensor) -> modal.Side:
    """Three clouds in axes of its own."""
    generator = torch.Generator().manual_seed(seed)
    labels = np.arange(60) % 3
    points = 4 * torch.eye(3)[labels] + 0.2 * torch.randn(60, 3, generator=generator)
    known, test = points[:30] @ turn, points[30:] @ turn

    class Means(torch.nn.Module):
        def __init__(self, features: torch.Tensor) -> None:
            super().__init__()
            self.means = torch.stack([features[labels[:30] == label].mean(0) for label in range(3)])

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return -torch.cdist(features, self.means)

    return modal.Side(modality, seed, known, labels[:30], test, labels[30:], Means(known), Means)


def test_clouds_in_other_axes_meet_by_labels_alone() -> None:
    (x, other_x), (y, other_y) = (
        [side(modality, seed, turn) for seed in (0, 1)]
        for modality, turn in (("images", torch.eye(3)), ("sounds", torch.eye(3).roll(1, 0)))
    )
    cells = modal.join(x, other_y, 30, 0) + modal.join(y, other_x, 30, 0)
    table = {(row["pairs"], row["method"]): row for row in modal.modality_table(cells)}
    assert table["–", "no-stitch"]["precision@1"] == table["–", "no-stitch"]["accuracy"] == 1
    assert table["–", "absolute"]["precision@1"] == table["–", "absolute"]["accuracy"] == 0
    for pairs in modal.PAIRINGS:
        for method in ("orthogonal", "linear", "relative", "relative whitened"):
            row = table[pairs, method]
            assert (row["precision@1"], row["accuracy"], row["seed pairs"]) == (1, 1, 1), (pairs, method)


def test_pairs_share_their_label_and_are_spread_over_classes() -> None:
    labels = torch.arange(30) % 3
    alone = modal.Side("images", 0, labels[:, None].float(), labels.numpy(), labels[:, None].float(), labels.numpy())
    x, y = modal.paired(alone, alone, "random", 7, np.random.default_rng(0))
    assert torch.equal(x, y)
    assert x[:, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]
    x, y = modal.paired(alone, alone, "class means", 7, np.random.default_rng(0))
    assert x[:, 0].tolist() == y[:, 0].tolist() == [0, 1, 2]
