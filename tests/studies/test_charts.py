"""Models that learnt parts of the classes: how the data is split, how their spaces become one, and what that gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from rlstitch.studies.catalogue.charts import KNOWN, advantage, combine, split_rows
from rlstitch.studies.runs import run_study
from rlstitch.studies.study import StudyOptions

pytestmark = pytest.mark.usefixtures("workplace")


@pytest.mark.parametrize("models", [2, 3, 5])
@pytest.mark.parametrize("shared", [0.0, 0.4, 1.0])
def test_every_sample_is_with_one_model_and_a_class_with_one_or_all(models: int, shared: float) -> None:
    labels = np.random.default_rng(0).permutation(np.arange(300) % 10)
    parts = split_rows(labels, 10, models, shared, np.random.default_rng(1))
    assert sorted(np.concatenate(parts).tolist()) == list(range(300))
    known_by = [sum(label in labels[part] for part in parts) for label in range(10)]
    assert sorted(known_by) == [1] * round(10 - 10 * shared) + [models] * round(10 * shared)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 30 + 10, "one class more, and what does not divide"


def test_turned_models_merge_to_the_space_of_one() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(40, 4))
    turns = [np.linalg.qr(rng.normal(size=(4, 4)))[0] * size for size in (1.0, 3.0)]
    vectors = [torch.tensor(truth @ turn) for turn in turns]
    first = np.arange(40) < 25
    knows, anchors = [first, ~first | (np.arange(40) < 5)], np.arange(8)
    result = combine(vectors, knows, anchors)
    alone = combine(vectors[:1], [np.ones(40, dtype=bool)], anchors)
    for method in ("merged", "merged whitened"):
        # A turned and enlarged copy says the same, so it does not matter who embeds what.
        assert torch.allclose(result[method], alone[method], atol=1e-6), method
        assert torch.allclose(result[f"{KNOWN}{method}"], alone[method], atol=1e-6), method
    assert not torch.allclose(result["averaged"], vectors[0])
    assert result["concatenated"].shape == (40, 8)
    assert torch.equal(result[f"{KNOWN}averaged"][10:25], vectors[0][10:25])
    assert torch.equal(result[f"{KNOWN}averaged"][30:], vectors[1][30:])
    assert torch.allclose(result[f"{KNOWN}averaged"][:5], (vectors[0][:5] + vectors[1][:5]) / 2)
    silent = result[f"{KNOWN}concatenated"][25:, :4]
    assert bool((silent == 0).all()), "who does not know a class says nothing"


def test_the_advantage_by_hand() -> None:
    def cell(seed: int, models: int, method: str, accuracy: float) -> dict[str, object]:
        return {"seed": seed, "models": models, "shared": 0.5, "method": method, "accuracy": accuracy}

    cells = [
        cell(seed, models, method, value)
        for seed, models, merged, concatenated in (
            (0, 2, 0.9, 0.8),
            (0, 3, 0.7, 0.8),
            (1, 2, 0.8, 0.7),
            (1, 3, 0.8, 0.7),
        )
        for method, value in (("merged", merged), ("concatenated", concatenated))
    ]
    # Seeds 0 and 0.1: their mean, and t(0.975, 1) = 12.706 times 0.05.
    assert advantage(cells, 0.5) == pytest.approx((0.05, 0.05 - 12.706205 * 0.05, 0.05 + 12.706205 * 0.05))


def test_charts_quick_shows_its_claim() -> None:
    lines: list[str] = []
    outcome = run_study("charts", StudyOptions(quick=True, device="cpu", on_progress=lines.append))
    by = {(row["models"], row["shared"], row["method"]): row for row in outcome.findings.table}
    assert len(lines) == 2 * 2 * 2, "a line a split"
    for models in (2, 4):
        # Chance is 0.1.
        assert by[models, "0%", "merged"]["accuracy"] > by[models, "0%", "single"]["accuracy"] + 0.03
        assert by[models, "0%", "merged"]["accuracy"] > by[models, "0%", "joint"]["accuracy"] - 0.04
        assert by[models, "100%", "merged"]["cka"] > by[models, "0%", "merged"]["cka"]
        assert by[models, "100%", f"{KNOWN}merged"]["accuracy"] == by[models, "100%", "merged"]["accuracy"]
        # To know who knows a class gives some of the class away.
        assert by[models, "0%", f"{KNOWN}merged"]["accuracy"] > by[models, "0%", "merged"]["accuracy"] + 0.005
    assert by[4, "0%", "merged"]["accuracy"] > by[4, "0%", "averaged"]["accuracy"] + 0.01
    # The seeds support it: merged is above the mean single model in each of them.
    result = {
        (row["models"], row["shared"], row["seed"], row["method"]): row["accuracy"] for row in outcome.findings.cells
    }
    for models in (2, 4):
        for seed in (0, 1):
            assert result[models, 0.0, seed, "merged"] > result[models, 0.0, seed, "single"] + 0.02
    with Image.open(outcome.folder / "table.png") as figure:
        assert figure.format == "PNG"
