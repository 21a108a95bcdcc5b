"""TensorBoard events of complete results can be read back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

from rlstitch.errors import ArtefactError
from rlstitch.reporting.plots import Curves, table_plot
from rlstitch.reporting.tensorboard import write_events, write_study_events
from rlstitch.studies.runs import run_study
from rlstitch.studies.study import StudyOptions


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    events.Reload()
    return events


def line(method: str, value: float, half: float, **more: Any) -> dict[str, Any]:
    return {"method": method, "accuracy": value, "low": value - half, "high": value + half, **more}


def test_events_hold_scalars_images_facts_and_config(tmp_path: Path) -> None:
    table = [line("affine", 0.5, 0.1, cells=4), line("no-stitch, relative", 0.9, 0.1, cells=4)]
    grown = [{"pairs": "few", "number": number, "value": number / 10} for number in (5, 10)]
    plot = table_plot(table)
    assert plot is not None
    image = plot.png()
    for facts in (["old"], ["It holds.", "So does this."]):
        files = {"table.png": image, "notes.txt": b"-"}
        write_study_events(tmp_path, {"study": "x", "seeds": [0, 1]}, facts, [*table, *grown], files)
    assert len(list(tmp_path.iterdir())) == 1, "events of an earlier run are removed"
    events = read(tmp_path)
    assert set(events.Tags()["scalars"]) == {
        *(f"{column}/{name}" for column in ("accuracy", "low", "high") for name in ("affine", "no-stitch__relative")),
        "value/few",
    }
    assert [point.value for point in events.Scalars("accuracy/affine")] == [0.5]
    assert [(point.step, point.value) for point in events.Scalars("value/few")] == [(5, 0.5), (10, 1.0)]
    assert events.Tags()["images"] == ["table"]
    assert events.Images("table")[0].encoded_image_string == image
    facts, config = (events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in ("facts", "config"))
    assert facts == "It holds.\n\nSo does this."
    assert json.loads(config) == {"study": "x", "seeds": [0, 1]}


def test_curves_of_a_study_are_scalars_and_charts(tmp_path: Path) -> None:
    curves = Curves({"affine": [(5, 0.4, 0.3, 0.5), (50, 0.9, 0.8, 1.0)]}, "pairs", "accuracy", {"no-stitch": 0.95})
    write_study_events(tmp_path, {}, [], [], {}, curves)
    events, title = read(tmp_path), "accuracy_over_pairs"
    series = {
        tag: [(point.step, round(point.value, 6)) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }
    assert series == {
        f"{title}/affine": [(5, 0.4), (50, 0.9)],
        f"{title}__low/affine": [(5, 0.3), (50, 0.8)],
        f"{title}__high/affine": [(5, 0.5), (50, 1.0)],
        f"{title}/no-stitch": [(5, 0.95), (50, 0.95)],
    }
    (category,) = Layout.FromString(events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]).category
    together, affine = category.chart
    drawn = {tag for tag in series if re.match(together.multiline.tag[0], tag)}
    assert drawn == {f"{title}/affine", f"{title}/no-stitch"}
    band = affine.margin.series[0]
    assert [band.value, band.lower, band.upper] == [f"{title}{end}/affine" for end in ("", "__low", "__high")]


def test_pixels_become_an_image_of_their_size(tmp_path: Path) -> None:
    write_events(tmp_path, images={"a": np.zeros((3, 5, 3), np.uint8)})
    (image,) = read(tmp_path).Images("a")
    assert (image.height, image.width) == (3, 5)


def test_events_that_cannot_be_written_say_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtefactError, match="cannot write"):
        write_events(tmp_path / "file")


def test_a_study_writes_its_plot_and_its_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    vectors = np.random.default_rng(0).normal(size=(520, 12)).astype(np.float32)
    words = np.array([f"w{row:03}" for row in range(520)])
    for name in ("word2vec-googlenews-300d.npz", "fasttext-english-300d.npz"):
        np.savez(tmp_path / name, words=words, vectors=vectors)
    outcome = run_study("word-embeddings", StudyOptions(quick=True, data=tmp_path))
    events = read(outcome.folder / "tensorboard")
    for row in outcome.findings.table:
        assert events.Scalars("jaccard/" + row["method"].replace(" ", "_"))[0].value == pytest.approx(row["jaccard"])
    assert events.Images("table")[0].encoded_image_string == (outcome.folder / "table.png").read_bytes()
    config = json.loads(events.Tensors("config")[0].tensor_proto.string_val[0].decode())
    assert config == json.loads((outcome.folder / "config.json").read_text())["config"]
