"""Studies run end to end on what is bundled or made on the spot, and show what they claim."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image

from rlstitch.errors import InvalidInputError, MissingExtraError
from rlstitch.latent import LatentSpace, translation_methods
from rlstitch.modalities.audio import made_up_sounds
from rlstitch.modalities.graph import block_model
from rlstitch.modalities.text_encoders import KINDS
from rlstitch.reporting.plots import SERIES
from rlstitch.storage import canonical_json
from rlstitch.studies import audio as studies_audio
from rlstitch.studies import few_pairs as studies_few_pairs
from rlstitch.studies import graph_evaluation as studies_graph_evaluation
from rlstitch.studies import graph_trainings as studies_graph_trainings
from rlstitch.studies import images as studies_images
from rlstitch.studies.joining import (
    ALL_TRANSLATIONS,
    INVERSE,
    RELATIVE,
    TRANSLATIONS,
    Part,
    join,
    join_all,
    make_part,
    native_scores,
    table_of,
)
from rlstitch.studies.study import StudyOptions, StudyOutcome, run_study

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


class Nearest(torch.nn.Module):
    """A head that knows the class means of what it was shown."""

    def __init__(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        super().__init__()
        self.means = torch.stack([features[labels == label].mean(0) for label in range(3)])

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return -torch.cdist(features, self.means)


def parts(seeds: tuple[int, ...]) -> tuple[list[Part], torch.Tensor]:
    """Two makes, each seed the same points in other axes, of another size: what every method can join."""
    rng = np.random.default_rng(0)
    labels = torch.tensor(np.arange(90) % 3)
    points = rng.normal(size=(90, 6)) * 0.3 + np.eye(6)[labels] * 4
    keys = tuple(f"k{row}" for row in range(90))
    made = []
    for seed in seeds:
        for make in ("a", "b"):
            turn = np.linalg.qr(rng.normal(size=(6, 6)))[0] * (1 + rng.random())
            space = LatentSpace(torch.tensor(points @ turn, dtype=torch.float32), keys)
            known, test = space.subset(range(60)), space.subset(range(60, 90))
            head = Nearest(known.vectors, labels[:60])
            made.append(make_part(make, seed, head, known, test, range(40), lambda f: Nearest(f, labels[:60])))
    return made, labels[60:]


def test_joining_turned_spaces_is_as_good_as_not_parting() -> None:
    made, labels = parts((0, 1, 2))

    def score(head: torch.nn.Module, features: torch.Tensor) -> float:
        return float((head(features).argmax(1) == labels).float().mean())

    cells = join_all(made, score, ALL_TRANSLATIONS)
    table = {row["method"]: row for row in table_of(cells)}
    rigid = {"orthogonal", "l_orthogonal", "robust"}  # sizes differ, and a rotation keeps them
    for method in {"no-stitch", *RELATIVE, *ALL_TRANSLATIONS, INVERSE} - rigid:
        assert table[method]["accuracy"] > 0.95, method
    assert table["absolute"]["accuracy"] < 0.8
    assert (table["affine"]["seed pairs"], table["affine"]["cells"]) == (3, 12)
    pairs = {(row["encoder seed"], row["head seed"]) for row in cells}
    assert pairs == {(0, 1), (1, 2), (2, 0)}
    # The naive mean over cells.
    found = [row["accuracy"] for row in cells if row["method"] == "absolute" and row["encoder"] == row["head"]]
    assert table["absolute"]["same make"] == pytest.approx(np.mean(found))
    assert join(made[0], made[0], score)["absolute"] == native_scores(made[0], score)["no-stitch"]


def test_studies_in_full_have_every_translator() -> None:
    assert sorted(ALL_TRANSLATIONS) == translation_methods()
    assert studies_images.resolve(StudyOptions())["translations"] == ALL_TRANSLATIONS
    assert studies_images.resolve(StudyOptions(quick=True))["translations"] == TRANSLATIONS


def test_the_sweep_is_fixed() -> None:
    sweep = studies_graph_evaluation.sweep
    assert hashlib.sha256(canonical_json(sweep(600))).hexdigest()[:16] == "05bbb54f0015257c"
    assert sweep(600)[:5] == sweep(5)
    assert len({model["seed"] for model in sweep(600)} | {0}) == 601
    second = partial(studies_graph_trainings.trainings, seed=2022)
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
    found = scipy.stats.spearmanr([row["likeness, whitened"] for row in cells], [row["accuracy"] for row in cells])
    assert by["all", "whitened"]["spearman"] == pytest.approx(found[0])
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
    found = []
    for model in models:
        own = [row for row in stops if (row["arch"], row["seed"]) == model]
        assert [row["epochs"] for row in own] == [1, 2, 3, 4, 5, 7, 10, 15, 20, 30]
        assert own[-1]["accuracy"] > own[0]["accuracy"]
        alike = [row["likeness, as they are"] for row in own]
        found.append(scipy.stats.pearsonr(alike, [row["accuracy"] for row in own])[0])
    (line,) = (
        row
        for row in outcome.findings.table
        if row["models"] == "along one training" and row["likeness"] == "as they are"
    )
    assert (line["number"], line["pearson"]) == (4, pytest.approx(np.mean(found)))
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
        alike, found = [row["likeness, decisions"] for row in epochs], [row["accuracy"] for row in epochs]
        assert model["pearson, decisions"] == pytest.approx(scipy.stats.pearsonr(alike, found)[0])
        assert (model["validation"], model["accuracy"]) == (max(row["validation"] for row in epochs), found[-1])
    good = [row["pearson, as they are"] for row in models if row["validation"] >= 0.5]
    lines = {(row["models"], row["likeness"]): row for row in outcome.findings.table}
    line = lines["second sweep, along each training", "as they are"]
    assert (line["number"], line["pearson"]) == (len(good), pytest.approx(np.mean(good)))
    assert line["pearson low"] <= line["pearson"] <= line["pearson high"]
    assert line["pearson"] > 0.8


def test_nodes_split_anew_are_shared_by_no_two_parts() -> None:
    graph = block_model(nodes=250, classes=3, words=60)
    one, again, other = (studies_graph_trainings.split_anew(graph, seed) for seed in (1, 1, 2))
    assert (len(one.train), len(one.validation), len(one.test)) == (200, 25, 25)
    assert np.array_equal(one.test, again.test)
    assert not np.array_equal(one.test, other.test)


def test_a_study_with_a_seed_a_model_takes_no_number_of_seeds() -> None:
    with pytest.raises(InvalidInputError, match="one seed a model, fixed by its sweep; leave --seeds out, found 3"):
        run_study("graphs-latent-evaluation", StudyOptions(quick=True, seeds=3))


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
        found = {
            (row["encoder"], row["head"], row["encoder seed"], row["method"]): row["error"]
            for row in cells
            if row["method"] in (good, "absolute")
        }
        assert all(found[*key[:3], good] < value / 2 for key, value in found.items() if key[3] == "absolute")
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
    assert {(row["encoder"], row["head"]) for row in cells} == {(x, y) for x in KINDS for y in KINDS}


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
    sounds = made_up_sounds(7, speakers=3, classes=2)
    tested, what = studies_audio.held_out(sounds, "speakers", 1)
    assert {speaker for speaker, row in zip(sounds.speakers, tested, strict=True) if row} == {"speaker2"}
    assert what == "14 takes of speaker2, who are not heard in training"
    tested, what = studies_audio.held_out(sounds, "takes", 1)
    assert sorted(set(sounds.takes[tested])) == [0, 1, 2, 3, 4]
    assert what == "30 unseen takes"


@needs_transport
def test_few_pairs_quick_shows_its_claim() -> None:
    outcome = run_study("few-pairs", StudyOptions(quick=True, device="cpu"))
    found: dict[tuple[str, int], float] = {}
    for row in outcome.findings.table:
        kind = (row["pairs"], row["number"])
        found[kind] = max(found.get(kind, 0.0), row["accuracy"])
    native = found["no-stitch", 0]
    assert native > 0.9
    assert found["absolute", 0] < 0.3
    assert found["supervised", 5] < found["supervised", 200]
    assert min(found["supervised", 200], found["labels only", 200]) > 0.95 * native
    assert found["grown", 15] > found["supervised", 15] > found["absolute", 0] + 0.5
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
    options = StudyOptions(device="cpu", seeds=2)
    config = studies_few_pairs.resolve(options)
    assert config["unsupervised"]
    assert len(config["budgets"]) == 7
    small = {
        "dataset": "digits",
        "architectures": ("mlp",),
        "train_images": 200,
        "epochs": 2,
        "pool": 40,
        "budgets": (5, 15),
        "batch_size": 20,
    }
    findings = studies_few_pairs.run({"study": "few-pairs", **config, **small}, options)
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
