"""What every study writes beside its tables: figures, and TensorBoard events that can be read back."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlstitch.errors import ArtefactError
from rlstitch.reporting.matrix.pictures import SERIES
from rlstitch.studies.figures import (
    curves_figure,
    interval_figure,
    scatter_figure,
    ticks,
    write_study_events,
)
from rlstitch.studies.study import StudyOptions, run_study

Row = dict[str, Any]


def pixels(content: bytes | None) -> np.ndarray[Any, Any]:
    assert content is not None
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def places(image: np.ndarray[Any, Any], series: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Rows and columns of the pixels of a series' colour, a little off at the edges left out."""
    return np.nonzero(np.abs(image - np.array(SERIES[series])).sum(2) < 12)


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    events.Reload()
    return events


def line(method: str, value: float, half: float, **more: Any) -> Row:
    return {"method": method, "accuracy": value, "low": value - half, "high": value + half, **more}


def test_dots_and_intervals_stand_where_the_table_has_them() -> None:
    image = pixels(interval_figure([line("no-stitch", 0.9, 0.05), line("absolute", 0.1, 0.02), line("affine", 0.5, 0)]))
    rows, columns = places(image, 0)
    found = []
    for low, high in ((24, 48), (48, 72), (72, 96)):
        inside = columns[(rows >= low) & (rows < high)]
        found.append((inside.min() + inside.max()) / 2)
        assert inside.max() > inside.min()
    assert found[0] > found[2] > found[1]
    assert found[0] - found[2] == pytest.approx(found[2] - found[1], abs=2), "0.9, 0.5 and 0.1 are as far apart"


@pytest.mark.parametrize(
    "table",
    [
        [],
        [{"method": "a", "accuracy": 0.5}],
        [{"low": 0.1, "high": 0.2, "accuracy": 0.15}],
        [{"models": "all", "pearson": 0.5, "pearson low": 0.4, "pearson high": 0.6}],
        [{"method": "a", "accuracy": None, "low": None, "high": None}],
        [line("a", float("nan"), 0.1)],
    ],
)
def test_a_table_without_values_and_intervals_is_not_drawn(table: list[Row]) -> None:
    assert interval_figure(table) is None


def test_rows_without_a_value_are_left_out_and_one_value_alone_is_drawn() -> None:
    known = line("a", 1.0, 0.0)
    unknown: Row = {"method": "b", "accuracy": None, "low": None, "high": None}
    assert interval_figure([known, unknown]) == interval_figure([known])


def test_curves_go_through_their_points() -> None:
    curves = {"first": [(1.0, 0.0), (10.0, 1.0), (100.0, 2.0)], "second": [(10.0, 2.0, 1.5, 2.5)]}
    image = pixels(curves_figure(curves, "pairs", "accuracy", levels={"no-stitch": 2.4}))
    image = image[:, :590]  # without the legend
    rows, columns = places(image, 0)
    slope = np.polyfit(columns, rows, 1)
    assert np.abs(np.polyval(slope, columns) - rows).max() < 8, "tenfold steps, equal rises: a straight line"
    assert slope[0] < 0
    rows, columns = places(image, 1)
    assert abs((columns.min() + columns.max()) / 2 - 322) < 3, "10 is halfway from 1 to 100"


def test_groups_of_points_have_colours_of_their_own() -> None:
    image = pixels(scatter_figure({"a": [(0.0, 0.0), (1.0, 1.0)], "b": [(0.0, 1.0)]}, "likeness", "accuracy"))[:, :590]
    (a_rows, a_columns), (b_rows, b_columns) = places(image, 0), places(image, 1)
    assert b_rows.max() < image.shape[0] / 2
    assert b_columns.max() < image.shape[1] / 2
    assert np.ptp(a_rows) > 250
    assert np.ptp(a_columns) > 400


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-3.0, 12.0, [-2, 0, 2, 4, 6, 8, 10, 12]),
        (0.951, 0.957, [0.951, 0.952, 0.953, 0.954, 0.955, 0.956, 0.957]),
        (1.0, 1.0, [1.0]),
    ],
)
def test_ticks_are_round_numbers_within(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_events_hold_numbers_pictures_facts_and_config(tmp_path: Path) -> None:
    table = [line("affine", 0.5, 0.1, cells=4), line("no-stitch, relative", 0.9, 0.1, cells=4)]
    grown = [{"pairs": "few", "number": number, "value": number / 10} for number in (5, 10)]
    picture = interval_figure(table)
    assert picture is not None
    for facts in (["old"], ["It holds.", "So does this."]):
        files = {"table.png": picture, "notes.txt": b"-"}
        write_study_events(tmp_path, {"study": "x", "seeds": [0, 1]}, facts, [*table, *grown], files)
    assert len(list(tmp_path.iterdir())) == 1, "an earlier run's events went"
    events = read(tmp_path)
    assert set(events.Tags()["scalars"]) == {
        *(f"{column}/{name}" for column in ("accuracy", "low", "high") for name in ("affine", "no-stitch__relative")),
        "value/few",
    }
    assert [point.value for point in events.Scalars("accuracy/affine")] == [0.5]
    assert [(point.step, point.value) for point in events.Scalars("value/few")] == [(5, 0.5), (10, 1.0)]
    assert events.Tags()["images"] == ["table"]
    assert events.Images("table")[0].encoded_image_string == picture
    facts, config = (events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in ("facts", "config"))
    assert facts == "It holds.\n\nSo does this."
    assert json.loads(config) == {"study": "x", "seeds": [0, 1]}


def test_events_that_cannot_be_written_say_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtefactError, match="cannot write"):
        write_study_events(tmp_path / "file", {}, [], [], {})


@pytest.mark.usefixtures("workplace")
def test_a_study_writes_its_figure_and_its_events(workplace: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(520, 12)).astype(np.float32)
    words = np.array([f"w{row:03}" for row in range(520)])
    for name in ("word2vec-googlenews-300d.npz", "fasttext-english-300d.npz"):
        np.savez(workplace / name, words=words, vectors=vectors)
    outcome = run_study("word-embeddings", StudyOptions(quick=True, data=workplace))
    table = outcome.findings.table
    image = pixels((outcome.folder / "table.png").read_bytes())
    assert image.shape[0] == 24 + 24 * len(table) + 48
    events = read(outcome.folder / "tensorboard")
    for row in table:
        assert events.Scalars("jaccard/" + row["method"].replace(" ", "_"))[0].value == pytest.approx(row["jaccard"])
    assert events.Images("table")[0].encoded_image_string == (outcome.folder / "table.png").read_bytes()
    config = json.loads(events.Tensors("config")[0].tensor_proto.string_val[0].decode())
    assert config == json.loads((outcome.folder / "config.json").read_text())["config"]
