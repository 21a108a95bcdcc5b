"""Studies run end to end on what is bundled or made on the spot, and show what they claim."""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlstitch.errors import MissingExtraError
from rlstitch.modalities.audio import synthetic_sounds
from rlstitch.reporting.plots import SERIES
from rlstitch.studies.catalogue.audio_digits import held_out_sounds
from rlstitch.studies.catalogue.few_pairs import FewPairs
from rlstitch.studies.joining import (
    TRANSLATIONS,
)
from rlstitch.studies.runs import StudyOutcome, run_study
from rlstitch.studies.study import StudyOptions
from rlstitch.studies.training.networks import TEXT_ARCHITECTURES

pytestmark = pytest.mark.usefixtures("workplace")

needs_geometric = pytest.mark.skipif(
    not importlib.util.find_spec("torch_geometric"),
    reason="PyTorch Geometric is not installed: pip install 'rlstitch[graph]'",
)
needs_transport = pytest.mark.skipif(
    not importlib.util.find_spec("ot"), reason="POT is not installed: pip install 'rlstitch[ot]'"
)


def accuracies(outcome: StudyOutcome) -> dict[str, float]:
    return {row["method"]: row["accuracy"] for row in outcome.findings.table}


@needs_geometric
def test_graphs_quick_shows_its_claim() -> None:
    lines: list[str] = []
    outcome = run_study("graphs-nodes", StudyOptions(quick=True, device="cpu", on_progress=lines.append))
    by = accuracies(outcome)
    # Chance is 0.2.
    assert by["no-stitch"] > 0.8
    assert by["absolute"] < 0.4
    assert max(by[method] for method in TRANSLATIONS) > 0.95 * by["no-stitch"]
    assert by["relative whitened"] > 0.95 * by["no-stitch"]
    assert by["relative"] > by["absolute"] + 0.3
    # The seeds support it: no cell of the better methods is as bad as the best that is joined as is.
    cells = outcome.findings.cells
    worst = min(row["accuracy"] for row in cells if row["method"] in ("affine", "relative whitened"))
    assert worst > max(row["accuracy"] for row in cells if row["method"] == "absolute")
    assert all(row["encoder seed"] != row["head seed"] for row in cells)
    assert (len(cells), len(lines)) == (4 * 4 * 2 * (9 + len(TRANSLATIONS)), 4 * 2)
    stored = json.loads((outcome.folder / "config.json").read_text())
    assert stored["config"]["dataset"] == "block-model"


def test_a_study_of_graphs_without_the_extra_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_geometric.nn", None)
    with pytest.raises(MissingExtraError, match=r"rlstitch\[graph\]"):
        run_study("graphs-nodes", StudyOptions(quick=True))
    assert not Path("runs").exists()


def test_reconstruction_quick_shows_its_claim_and_pictures_of_it() -> None:
    outcome = run_study("images-reconstruction", StudyOptions(quick=True, device="cpu"))
    by = {row["method"]: row["ratio"] for row in outcome.findings.table}
    assert by["no-stitch"] == 1
    assert by["absolute"] > 3
    assert min(by[method] for method in TRANSLATIONS) < 1.3
    assert by["relative whitened"] < 1.6
    # The seeds support it: each cell is better joined than as it is.
    cells = outcome.findings.cells
    for good in ("affine", "relative whitened"):
        result = {
            (row["encoder"], row["head"], row["encoder seed"], row["method"]): row["error"]
            for row in cells
            if row["method"] in (good, "absolute")
        }
        assert all(result[*key[:3], good] < value / 2 for key, value in result.items() if key[3] == "absolute")
    with Image.open(outcome.folder / "pictures.png") as pictures:
        assert pictures.format == "PNG"
        assert pictures.size == (12 * 10 * 7, 5 * 10 * 7), "five rows of twelve framed digits, enlarged"
        rows = np.asarray(pictures, dtype=float).reshape(5, 70, 840)
    shown = [np.abs(rows[row] - rows[0]).mean() for row in range(5)]
    assert max(shown[1], shown[3], shown[4]) < shown[2], "joined as is, they look least like the originals"


def test_text_quick_shows_its_claim() -> None:
    outcome = run_study("text-classification", StudyOptions(quick=True, device="cpu"))
    by = accuracies(outcome)
    # Chance is a sixth.
    assert by["no-stitch"] > 0.95
    assert by["absolute"] < 0.4
    assert max(by[method] for method in TRANSLATIONS) > 0.95 * by["no-stitch"]
    assert by["relative whitened"] > 0.9 * by["no-stitch"]
    cells = outcome.findings.cells
    worst = min(row["accuracy"] for row in cells if row["method"] in ("affine", "relative whitened"))
    assert worst > max(row["accuracy"] for row in cells if row["method"] == "absolute") + 0.2
    assert {(row["encoder"], row["head"]) for row in cells} == set(itertools.product(TEXT_ARCHITECTURES, repeat=2))


def test_audio_quick_shows_its_claim() -> None:
    outcome = run_study("audio-digits", StudyOptions(quick=True, device="cpu"))
    cells = outcome.findings.cells
    assert all(row["encoder seed"] != row["head seed"] for row in cells)
    # Chance is a sixth.
    for split, native, least in (("takes", 0.97, 0.95), ("speakers", 0.6, 0.85), ("languages", 0.9, 0.9)):
        by = {row["method"]: row["accuracy"] for row in outcome.findings.table if row["split"] == split}
        assert by["no-stitch"] > native, split
        assert by["absolute"] < 0.5, split
        assert max(by[method] for method in TRANSLATIONS) > least * by["no-stitch"], split
        assert by["relative whitened"] > least * by["no-stitch"], split
    takes = [row for row in cells if row["split"] == "takes"]
    worst = min(row["accuracy"] for row in takes if row["method"] in ("affine", "relative whitened"))
    assert worst > max(row["accuracy"] for row in takes if row["method"] == "absolute") + 0.2
    speakers = {row["encoder"] for row in cells if row["split"] == "languages"}
    assert speakers == {"speaker0", "speaker1", "speaker2"}


def test_speakers_that_are_tested_are_not_heard_in_training() -> None:
    sounds = synthetic_sounds(7, speakers=3, classes=2)
    tested, what = held_out_sounds(sounds, "speakers", 1)
    assert {speaker for speaker, row in zip(sounds.speakers, tested, strict=True) if row} == {"speaker2"}
    assert what == "14 takes of speaker2, who are not heard in training"
    tested, what = held_out_sounds(sounds, "takes", 1)
    assert sorted(set(sounds.takes[tested])) == [0, 1, 2, 3, 4]
    assert what == "30 unseen takes"


@needs_transport
def test_few_pairs_quick_shows_its_claim() -> None:
    outcome = run_study("few-pairs", StudyOptions(quick=True, device="cpu"))
    result: dict[tuple[str, int], float] = {}
    for row in outcome.findings.table:
        kind = (row["pairs"], row["number"])
        result[kind] = max(result.get(kind, 0.0), row["accuracy"])
    native = result["no-stitch", 0]
    assert native > 0.9
    assert result["absolute", 0] < 0.3
    assert result["supervised", 5] < result["supervised", 200]
    assert min(result["supervised", 200], result["labels only", 200]) > 0.95 * native
    assert result["grown", 15] > result["supervised", 15] > result["absolute", 0] + 0.5
    right = {row["pairs"]: row["right pairs"] for row in outcome.findings.table}
    assert right["supervised"] == 1
    assert right["labels only"] == 0
    assert right["grown"] > 0.6
    with Image.open(outcome.folder / "table.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert colours > {tuple(bytes.fromhex(colour[1:])) for colour in SERIES[:6]}, (
        "a colour for each of three kinds by two methods"
    )


@needs_transport
def test_matching_without_pairs_is_one_of_the_kinds() -> None:
    config = FewPairs.full
    assert config.unsupervised
    assert len(config.budgets) == 7
    small = {
        "dataset": "digits",
        "seeds": (0, 1),
        "architectures": ("mlp",),
        "train_images": 200,
        "epochs": 2,
        "pool": 40,
        "budgets": (5, 15),
        "batch_size": 20,
    }
    findings = FewPairs(config.model_copy(update=small), StudyOptions(device="cpu"), Path()).run()
    kinds = [(row["pairs"], row["number"]) for row in findings.table if row["method"] == "affine"]
    assert kinds == [
        ("supervised", 5), ("labels only", 5), ("supervised", 15), ("labels only", 15), ("grown", 15), ("none", 0),
    ]  # fmt: skip
    for row in findings.cells:
        assert row["right"] is None or 0 <= row["right"] <= 1


def test_growing_pairs_without_the_extra_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"rlstitch\[ot\]"):
        run_study("few-pairs", StudyOptions(quick=True))
