"""Studies are listed and run, and their results written."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from rlstitch.cli.main import main
from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.studies.catalogue import describe, list_studies, study_names
from rlstitch.studies.joining import TRANSLATIONS
from rlstitch.studies.runs import run_study, study_class, study_folder
from rlstitch.studies.study import StudyConfig, StudyOptions

pytestmark = pytest.mark.usefixtures("workplace")


@pytest.fixture
def _no_data(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> None:
    """Nothing is named, nothing was fetched before, and nothing may be fetched."""
    monkeypatch.delenv("RLSTITCH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(workplace / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_images_quick_shows_its_claim_and_writes_it_all(capsys: pytest.CaptureFixture[str], workplace: Path) -> None:
    assert main(["latent", "run", "images-classification", "--quick", "--device", "cpu"]) == 0
    printed, progress = capsys.readouterr()
    assert len(progress.splitlines()) == 3 * 2, "a line a network"
    (folder,) = (workplace / "runs").iterdir()
    assert f"runs/{folder.name}" in printed
    accuracy = {row["method"]: float(row["accuracy"]) for row in json.loads((folder / "table.json").read_text())}
    best = max(accuracy[method] for method in TRANSLATIONS)
    # Chance is 0.1.
    assert accuracy["no-stitch"] > 0.9
    assert accuracy["absolute"] < 0.3
    assert best > accuracy["absolute"] + 0.5
    assert accuracy["relative whitened"] > accuracy["absolute"] + 0.5
    cells = rows_of(folder / "cells.csv")
    assert len(cells) == 3 * 3 * 2 * (9 + len(TRANSLATIONS))
    assert all(cell["encoder seed"] != cell["head seed"] for cell in cells)
    result = [float(cell["accuracy"]) for cell in cells if cell["method"] == "affine"]
    assert accuracy["affine"] == pytest.approx(np.mean(result))
    stored = json.loads((folder / "config.json").read_text())
    assert stored["config"]["seeds"] == [0, 1]
    assert stored["config"]["dataset"] == "digits"
    assert set(accuracy) <= {
        line.split("|")[1].strip() for line in (folder / "table.md").read_text().splitlines()[4:] if "|" in line
    }


@pytest.mark.skipif("RLSTITCH_DATA" not in os.environ, reason="RLSTITCH_DATA does not name the folder of real data")
def test_word_embeddings_quick_on_the_published_vectors() -> None:
    outcome = run_study("word-embeddings", StudyOptions(quick=True))
    by = {row["method"]: row for row in outcome.findings.table}
    assert by["absolute"]["jaccard"] < 0.05
    assert by["relative"]["jaccard"] > 0.4
    assert min(by[name]["mrr"] for name in ("relative", "orthogonal")) > 0.9
    assert sorted(path.name for path in outcome.folder.iterdir()) == [
        "cells.csv", "cells.json", "config.json", "table.csv", "table.json", "table.md",
        "table.png", "tensorboard",
    ]  # fmt: skip


def test_word_embeddings_on_synthetic_words_are_fixed_by_the_seeds(workplace: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(520, 12)).astype(np.float32)
    turned = 2 * x @ np.linalg.qr(rng.normal(size=(12, 12)))[0].astype(np.float32)
    words = np.array([f"w{row:03}" for row in range(520)])
    data = workplace / "data"
    data.mkdir()
    np.savez(data / "word2vec-googlenews-300d.npz", words=words, vectors=x)
    np.savez(data / "fasttext-english-300d.npz", words=words[::-1], vectors=turned[::-1])
    first, second = (run_study("word-embeddings", StudyOptions(True, data)) for _ in range(2))
    assert first.findings == second.findings
    assert first.folder == second.folder
    by = {row["method"]: row for row in first.findings.table}
    # One is the other, turned: everything but the naive way sees it.
    assert by["relative"]["jaccard"] == by["orthogonal"]["mrr"] == pytest.approx(1)
    assert by["absolute"]["mrr"] < 0.1


@pytest.mark.parametrize("name", ["word-embeddings", "words-similarity"])
def test_quick_studies_of_words_need_no_download(
    name: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RLSTITCH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(workplace))
    assert main(["latent", "run", name, "--quick"]) == 0
    assert "synthetic words" in capsys.readouterr().err
    for more in (["--data", str(workplace), "--quick"], []):
        assert main(["latent", "run", name, *more]) == 2
        assert "word vectors" in capsys.readouterr().err


def test_every_study_is_listed_with_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latent", "list"]) == 0
    printed = capsys.readouterr().out
    assert printed == list_studies() + "\n"
    for study in map(describe, study_names()):
        assert f"{study.name}\n  shows  {study.shows}\n  data   {study.data}\n  time   {study.time}\n" in printed


def test_listing_loads_no_study_and_no_torch() -> None:
    code = "import sys; from rlstitch.studies.catalogue import list_studies; list_studies(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "pydantic", "rlstitch.studies.study"} & set(loaded)


RUN_FOLDERS = {
    "asif": ("6621ca9e", "2492fcca"),
    "audio-digits": ("51b61407", "3ac34f1a"),
    "charts": ("d9a6eb5b", "ba03d203"),
    "cross-modal": ("221d1c2c", "0b035f10"),
    "few-pairs": ("2f21c90c", "bc634d2c"),
    "graphs-latent-evaluation": ("50094d17", "129dc9e2"),
    "graphs-nodes": ("4a122707", "27cf1979"),
    "images-classification": ("61277af3", "8ccbf1f4"),
    "images-reconstruction": ("a71dda04", "412da3d4"),
    "text-classification": ("7d49d02e", "34d4281c"),
    "text-cross-lingual": ("ff528f9e", "79ca2751"),
    "word-embeddings": ("6ad7ecfa", "d0fb9c19"),
    "words-similarity": ("277ec5d6", "54723b2f"),
}
"""Study -> the hashes in its run folders, quick and full; a new study adds a line."""


@pytest.mark.parametrize("name", study_names())
def test_run_folders_keep_their_names(name: str) -> None:
    study = study_class(name)
    folders = [study_folder(name, config).name for config in (study.quick, study.full)]
    assert folders == [f"latent-{name}-{digest}" for digest in RUN_FOLDERS[name]]


@pytest.mark.parametrize("name", study_names())
def test_configs_are_typed_and_the_quick_one_is_smaller(name: str) -> None:
    study = study_class(name)
    quick, full = study.quick, study.full
    assert isinstance(full, StudyConfig)
    assert quick != full
    assert type(full).model_validate_json(full.model_dump_json()) == full
    with pytest.raises(ValidationError, match="extra"):
        type(full)(**full.model_dump(), unknown=1)


@pytest.mark.usefixtures("_no_data")
@pytest.mark.parametrize("study", study_names())
def test_data_that_is_not_there_is_named(study: str, capsys: pytest.CaptureFixture[str], workplace: Path) -> None:
    assert main(["latent", "run", study]) == 2
    assert "--data or RLSTITCH_DATA names; found neither" in capsys.readouterr().err
    with pytest.raises(InvalidInputError, match=r"data: get .*; not found in "):
        run_study(study, StudyOptions(data=workplace))
    assert not (workplace / "runs").exists()


def test_studies_that_cannot_be_run() -> None:
    with pytest.raises(UnknownNameError, match="did you mean images-classification"):
        run_study("image-classification")
    with pytest.raises(InvalidInputError, match="at least 2, as the two sides never share one, found 1"):
        run_study("images-classification", StudyOptions(quick=True, seeds=1))
