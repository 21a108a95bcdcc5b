"""Images meet captions without training: what the study claims, and what it leaves out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlstitch.studies.captions import ATTRIBUTES, CLASS_TEXTS
from rlstitch.studies.catalogue.asif import WEAK, ZERO, Asif
from rlstitch.studies.data import WORD2VEC
from rlstitch.studies.runs import run_study
from rlstitch.studies.study import StudyOptions

pytestmark = pytest.mark.usefixtures("workplace")


def test_asif_quick_shows_its_claim() -> None:
    outcome = run_study("asif", StudyOptions(quick=True, device="cpu"))
    table = outcome.findings.table
    by = {(row["setting"], row["images"], row["method"], row["pairs"], row["k"]): row["score"] for row in table[:13]}
    result = by[WEAK, "autoencoder", "ASIF", 1000, 800]
    # Chance is 0.1.
    assert result > by[WEAK, "autoencoder", "absolute", 1000, None] + 0.5
    assert result > by[WEAK, "autoencoder", "class means", 1000, None] + 0.03, "the same images, the same labels"
    assert result > by[WEAK, "autoencoder", "ASIF", 100, 100]
    # The seeds support it: each is better than the class means of its own images.
    cells = outcome.findings.cells
    for seed in (0, 1):
        mine = [row for row in cells if row["seed"] == seed and row["setting"] == WEAK and row["pairs"] == 1000]
        means = max(row["score"] for row in mine if row["method"] == "class means" and row["images"] == "autoencoder")
        asif = max(row["score"] for row in mine if (row["method"], row["k"], row["power"]) == ("ASIF", 800, 8.0))
        assert asif > means
    recall = {row["method"]: row["score"] for row in table if row["setting"] == "retrieval, recall@10"}
    assert recall["ASIF"] > recall["chance"] + 0.5
    assert recall["ASIF"] > recall["absolute"] + 0.5
    with Image.open(outcome.folder / "table.png") as figure:
        assert figure.format == "PNG"


def test_each_class_is_held_out_once_and_no_side_shares_a_seed() -> None:
    options = StudyOptions(quick=True, device="cpu")
    small = {"train_images": 600, "epochs": 2, "classifier_epochs": 1, "pairs": (60,), "kept": (5,), "powers": (1.0,)}
    config = Asif.quick.model_copy(update=small | {"unseen_pairs": 100, "folds": 3, "queries": 20})
    findings = Asif(config, options, Path()).run()
    held = Counter(
        (row["seed"], label)
        for row in findings.cells
        if row["setting"] == ZERO and row["method"] == "chance"
        for label in row["held out"].split()
    )
    assert held == {(seed, str(label)): 1 for seed in (0, 1) for label in range(10)}
    chance = [row["score"] for row in findings.table if (row["setting"], row["method"]) == (ZERO, "chance")]
    assert chance == pytest.approx([np.mean([1 / 4, 1 / 3, 1 / 3])])
    assert all(0 <= row["score"] <= 1 for row in findings.cells)
    again = Asif(config, options, Path()).run()
    assert again.cells == findings.cells


def test_captions_by_word_vectors_are_read_from_the_data(workplace: Path) -> None:
    known = {word for text in CLASS_TEXTS["digits"] for word in text.split()} | {w for pair in ATTRIBUTES for w in pair}
    rng = np.random.default_rng(0)
    (workplace / "data").mkdir()
    words = np.array(sorted(known))
    vectors = rng.normal(size=(len(words), 24)).astype(np.float32)
    np.savez(workplace / "data" / WORD2VEC, words=words, vectors=vectors)
    options = StudyOptions(quick=True, data=workplace / "data", device="cpu")
    small = {"pairs": (1000,), "kept": (), "powers": (), "folds": 5, "texts": ("words",), "classifier_epochs": 1}
    findings = Asif(Asif.quick.model_copy(update=small), options, Path()).run()
    by = {(row["setting"], row["texts"], row["method"]): row["score"] for row in findings.table}
    assert by[WEAK, "words", "ASIF"] > 0.7
    assert (WEAK, "words", "absolute") not in by, "the widths differ"
