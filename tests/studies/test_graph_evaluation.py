"""Similarity of node classifiers to a reference is correlated with their accuracy."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from functools import partial

import numpy as np
import pytest
import scipy.stats
from PIL import Image

from rlstitch.errors import InvalidInputError
from rlstitch.modalities.graph import block_model
from rlstitch.storage import canonical_json
from rlstitch.studies.catalogue.graphs_latent_evaluation import sweep
from rlstitch.studies.graph_evaluation import resplit, training_settings
from rlstitch.studies.runs import StudyOutcome, run_study
from rlstitch.studies.study import StudyOptions

pytestmark = pytest.mark.usefixtures("workplace")

needs_geometric = pytest.mark.skipif(
    not importlib.util.find_spec("torch_geometric"),
    reason="PyTorch Geometric is not installed: pip install 'rlstitch[graph]'",
)


def test_the_sweep_is_fixed() -> None:
    assert hashlib.sha256(canonical_json(sweep(600))).hexdigest()[:16] == "05bbb54f0015257c"
    assert sweep(600)[:5] == sweep(5)
    assert len({model["seed"] for model in sweep(600)} | {0}) == 601
    second = partial(training_settings, seed=2022)
    assert hashlib.sha256(canonical_json(second(320))).hexdigest()[:16] == "4763060b72b6d5d6"
    assert second(320)[:70] == second(70)
    assert {model["seed"] for model in second(320)} == set(range(1, 321))
    settings = [{**model, "seed": 0} for model in second(320)]
    assert all(settings.count(one) == 5 for one in settings[:64]), "all of the table, five times"


@needs_geometric
def test_latent_evaluation_quick_goes_on_where_it_was_and_shows_its_claim() -> None:
    def stop(line: str) -> None:
        if line.startswith("12 of 18"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study("graphs-latent-evaluation", StudyOptions(quick=True, device="cpu", on_progress=stop))
    lines: list[str] = []
    outcome = run_study("graphs-latent-evaluation", StudyOptions(quick=True, device="cpu", on_progress=lines.append))
    assert "18 of 18 models, 12 of them from before" in lines
    assert len(list((outcome.folder / "models").iterdir())) == 18 + 4 + 4
    by = {(row["models"], row["likeness"]): row for row in outcome.findings.table}
    for group, least in (("validation from 0.5", 0.8), ("all", 0.85)):
        assert by[group, "centred"]["pearson"] > least
        assert by[group, "centred"]["pearson low"] > 0.6, "models drawn anew say so too"
    assert by["better half", "centred"]["spearman"] > 0.6
    cells = [row for row in outcome.findings.cells if row["part"] == "sweep"]
    # From bad (chance is 0.2) to good, and the same figures as SciPy's.
    assert min(row["accuracy"] for row in cells) < 0.3
    assert max(row["accuracy"] for row in cells) > 0.8
    result = scipy.stats.spearmanr([row["likeness, whitened"] for row in cells], [row["accuracy"] for row in cells])
    assert by["all", "whitened"]["spearman"] == pytest.approx(result[0])
    assert by["validation from 0.5", "centred"]["number"] == sum(row["validation"] >= 0.5 for row in cells)
    # What was kept is what another run is told.
    path = outcome.folder / "models" / "0003.json"
    path.write_text(path.read_text().replace(f'"accuracy": {cells[3]["accuracy"]}', '"accuracy": 0.125'))
    again = run_study("graphs-latent-evaluation", StudyOptions(quick=True, device="cpu"))
    assert again.findings.cells[3] == {**cells[3], "accuracy": 0.125}
    assert list(again.findings.cells[4:]) == list(outcome.findings.cells[4:])
    _follows_models_along_their_training(outcome)
    _counts_as_the_paper_does_in_a_second_sweep(outcome)


def _follows_models_along_their_training(outcome: StudyOutcome) -> None:
    stops = [row for row in outcome.findings.cells if row["part"] == "training"]
    models = {(row["arch"], row["seed"]) for row in stops}
    assert {arch for arch, _ in models} == {"gcn", "sage", "gat", "gin"}
    swept = {row["seed"] for row in outcome.findings.cells if row["part"] == "sweep"}
    assert swept.isdisjoint(seed for _, seed in models), "no seed of the sweep"
    result = []
    for model in models:
        own = [row for row in stops if (row["arch"], row["seed"]) == model]
        assert [row["epochs"] for row in own] == [1, 2, 3, 4, 5, 7, 10, 15, 20, 30]
        assert own[-1]["accuracy"] > own[0]["accuracy"]
        alike = [row["likeness, as they are"] for row in own]
        result.append(scipy.stats.pearsonr(alike, [row["accuracy"] for row in own])[0])
    (line,) = (
        row
        for row in outcome.findings.table
        if row["models"] == "along one training" and row["likeness"] == "as they are"
    )
    assert (line["number"], line["pearson"]) == (4, pytest.approx(np.mean(result)))
    assert line["pearson"] > 0.6
    for name in ("models.png", "decisions.png", "training.png"):
        with Image.open(outcome.folder / name) as picture:
            assert picture.format == "PNG"


def _counts_as_the_paper_does_in_a_second_sweep(outcome: StudyOutcome) -> None:
    models = [row for row in outcome.findings.cells if row["part"] == "second sweep"]
    assert [row["epochs"] for row in models] == [10, 30, 50] * 4
    folder = outcome.folder / "models"
    for model in models:
        epochs = json.loads((folder / f"second-{model['seed'] - 1:04}.json").read_text())["rows"][: model["epochs"]]
        alike, result = [row["likeness, decisions"] for row in epochs], [row["accuracy"] for row in epochs]
        assert model["pearson, decisions"] == pytest.approx(scipy.stats.pearsonr(alike, result)[0])
        assert (model["validation"], model["accuracy"]) == (max(row["validation"] for row in epochs), result[-1])
    good = [row["pearson, as they are"] for row in models if row["validation"] >= 0.5]
    lines = {(row["models"], row["likeness"]): row for row in outcome.findings.table}
    line = lines["second sweep, along each training", "as they are"]
    assert (line["number"], line["pearson"]) == (len(good), pytest.approx(np.mean(good)))
    assert line["pearson low"] <= line["pearson"] <= line["pearson high"]
    assert line["pearson"] > 0.8


def test_nodes_split_anew_are_shared_by_no_two_parts() -> None:
    graph = block_model(nodes=250, classes=3, words=60)
    one, again, other = (resplit(graph, seed) for seed in (1, 1, 2))
    assert (len(one.train), len(one.validation), len(one.test)) == (200, 25, 25)
    assert np.array_equal(one.test, again.test)
    assert not np.array_equal(one.test, other.test)


def test_a_study_with_a_seed_a_model_takes_no_number_of_seeds() -> None:
    with pytest.raises(InvalidInputError, match="one seed a model, fixed by its sweep; leave seeds out, found 3"):
        run_study("graphs-latent-evaluation", StudyOptions(quick=True, seeds=3))
