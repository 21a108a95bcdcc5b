"""Data that studies fetch: small sets of the published forms go through the real libraries, readers and cache."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import os
import tarfile
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlstitch.errors import ArtefactError, InvalidInputError, MissingExtraError
from rlstitch.modalities.audio import FSDD_FILE, read_fsdd
from rlstitch.modalities.graph import PLANETOID, read_planetoid
from rlstitch.modalities.image import read_fashion_mnist
from rlstitch.modalities.parallel_text import read_multi30k
from rlstitch.modalities.text import TREC_CLASSES, read_trec
from rlstitch.studies.data import DATA_SETS, RECORD, DataLocator, cache_folder, fetch

pytestmark = pytest.mark.usefixtures("_own_cache")

needs_datasets = pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="needs the extra datasets")
needs_geometric = pytest.mark.skipif(
    importlib.util.find_spec("torch_geometric") is None, reason="needs the extra graph"
)
needs_data = pytest.mark.skipif("RLSTITCH_DATA" not in os.environ, reason="RLSTITCH_DATA names no folder of real data")

TREC = DATA_SETS["trec"].files
SOURCES = {name: data_set.source for name, data_set in DATA_SETS.items() if data_set.source}
QUESTIONS = ["How far is it ?", "Who was\x85he ?", "What  is an atom ?"]
FINE = ["ABBR:exp", "DESC:def", "HUM:ind", "NUM:dist"]


@pytest.fixture
def _own_cache(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(workplace / "cache"))


@pytest.fixture
def _no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RLSTITCH_DATA", raising=False)


def parquet(path: Path, columns: dict[str, Any], features: dict[str, Any]) -> None:
    import datasets

    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.disable_progress_bars()
    table = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    table.to_parquet(path)
    datasets.enable_progress_bars()


def fetched(name: str, origin: str) -> Path:
    """Fetch a data set from another place than the published one."""
    return fetch(name, replace(SOURCES[name], origin=origin))


def trec(folder: Path, names: list[str] = FINE) -> str:
    """A folder of the form that the hub gives a set of `train` and `test`."""
    from datasets import ClassLabel, Value

    for split, labels in {"train": [3, 2, 1], "test": [1, 1, 0]}.items():
        columns = {"text": QUESTIONS, "fine_label": labels}
        kinds = {"text": Value("string"), "fine_label": ClassLabel(names=names)}
        parquet(folder / "default" / split / "0000.parquet", columns, kinds)
    return str(folder)


@needs_datasets
@pytest.mark.usefixtures("_no_data")
def test_questions_are_fetched_once_and_read_by_their_reader(workplace: Path) -> None:
    place = fetched("trec", trec(workplace / "hub"))
    assert place == workplace / "cache" / "rlstitch" / "data" / "trec"
    train, test = (read_trec(place / file) for file in TREC)
    assert train.texts == ("How far is it ?", "Who was he ?", "What is an atom ?")
    assert [TREC_CLASSES[label] for label in train.labels] == ["NUM", "HUM", "DESC"]
    assert [TREC_CLASSES[label] for label in test.labels] == ["DESC", "DESC", "ABBR"]
    record = json.loads((place / RECORD).read_text())
    assert (record["origin"], record["library"]) == (str(workplace / "hub"), "datasets")
    assert sorted(record["sha256"]) == sorted(TREC)
    assert DataLocator().folder("trec") == place
    assert [path.name for path in place.parent.iterdir()] == ["trec"], "no trace of the way"


@needs_datasets
def test_images_are_fetched_byte_by_byte(workplace: Path) -> None:
    from datasets import ClassLabel, Image
    from PIL import Image as Picture

    pixels = np.random.default_rng(0).integers(256, size=(2, 5, 28, 28), dtype=np.uint8)
    kinds = {"image": Image(), "label": ClassLabel(num_classes=10)}
    for images, split in zip(pixels, ("train", "test"), strict=True):
        columns = {"image": [Picture.fromarray(image) for image in images], "label": [9, 0, 3, 3, 1]}
        parquet(workplace / "hub" / "fashion_mnist" / f"{split}-00000-of-00001.parquet", columns, kinds)
    place = fetched("fashion-mnist", str(workplace / "hub"))
    for images, split in zip(pixels, ("train", "test"), strict=True):
        result = read_fashion_mnist(place, split)
        assert np.array_equal(result.images, images)
        assert result.labels.tolist() == [9, 0, 3, 3, 1]


@needs_datasets
def test_sentences_are_fetched_as_they_are(workplace: Path) -> None:
    (workplace / "raw").mkdir()
    for language in ("en", "de", "fr"):
        for split in ("train", "test_2016_flickr"):
            (workplace / "raw" / f"{split}.{language}.gz").write_bytes(
                gzip.compress(f"{language} ö\nzwei\n".encode(), mtime=0)
            )
    result = read_multi30k(fetched("multi30k", str(workplace / "raw")), "test")
    assert {language: texts[0] for language, texts in result.texts.items()} == {
        "en": "en ö",
        "de": "de ö",
        "fr": "fr ö",
    }


def recording(values: list[int]) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(np.array(values, dtype="<i2").tobytes())
    return content.getvalue()


@needs_datasets
def test_recordings_alone_are_kept_of_an_archive(workplace: Path) -> None:
    top = "free-spoken-digit-dataset-1.0.10"
    files = {
        f"{top}/README.md": b"about",
        f"{top}/recordings/3_theo_7.wav": recording([5, 6, 7]),
        f"{top}/recordings/0_ann_0.wav": recording([1, 2]),
        f"{top}/tools/say.wav": b"other",
    }
    with tarfile.open(workplace / "all.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    result = read_fsdd(fetched("fsdd", str(workplace / "all.tar.gz")) / FSDD_FILE, samples=3)
    assert result.keys == ("0_ann_0", "3_theo_7")
    assert (result.waves[1] * 32768).tolist() == [5, 6, 7]


@needs_geometric
@needs_data
def test_the_published_cora_is_fetched_by_its_library() -> None:
    origin = Path(os.environ["RLSTITCH_DATA"]) / "planetoid"
    place = fetched("planetoid", origin.as_uri())
    assert all((place / name).read_bytes() == (origin / name).read_bytes() for name in PLANETOID["cora"])
    assert len(read_planetoid(place)) == 2708


@pytest.mark.parametrize("kind", list(SOURCES))
def test_what_cannot_be_reached_leaves_nothing_and_one_line(kind: str, workplace: Path) -> None:
    library = {"datasets": "datasets", "PyTorch Geometric": "torch_geometric"}[SOURCES[kind].library]
    if importlib.util.find_spec(library) is None:
        with pytest.raises(MissingExtraError, match=r"pip install 'rlstitch\[(datasets|graph)\]'"):
            fetch(kind, SOURCES[kind])
    else:
        with pytest.raises(ArtefactError, match=r"cannot get .*nowhere") as caught:
            fetched(kind, str(workplace / "nowhere"))
        assert "\n" not in str(caught.value)
    assert not list(cache_folder().iterdir())


@needs_datasets
def test_what_its_reader_refuses_is_not_kept(workplace: Path) -> None:
    from datasets import Value

    with pytest.raises(ArtefactError, match="expected COARSE:fine text"):
        fetched("trec", trec(workplace / "hub", ["a", "b", "c", "d"]))
    assert not list(cache_folder().iterdir())
    fetched("trec", trec(workplace / "whole"))
    parquet(workplace / "other" / "train" / "0.parquet", {"text": QUESTIONS}, {"text": Value("string")})
    with pytest.raises(ArtefactError, match=r"cannot get .*'fine_label'"):
        fetched("trec", str(workplace / "other"))
    assert len(read_trec(cache_folder() / "trec" / TREC[0])) == 3, "the older one stays"


def test_named_folders_come_before_the_cache(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLSTITCH_DATA", str(workplace / "named"))
    for place in (cache_folder() / "trec", workplace / "named" / "trec", workplace / "given"):
        place.mkdir(parents=True)
        for file in (*TREC, RECORD):
            (place / file).write_text('{"schema_version": 1, "origin": "x", "library": "y"}')
    assert DataLocator(workplace / "given").folder("trec") == workplace / "given"
    assert DataLocator(workplace / "none").folder("trec") == workplace / "named" / "trec"
    monkeypatch.delenv("RLSTITCH_DATA")
    assert DataLocator(workplace / "none").folder("trec") == cache_folder() / "trec"
    (cache_folder() / "trec" / TREC[0]).unlink()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InvalidInputError, match=r"not found in .*none; not fetched from CogComp/trec, as HF_HUB_OFF"):
        DataLocator(workplace / "none").folder("trec")


@pytest.mark.usefixtures("_no_data")
def test_where_data_came_from_is_reported_once_and_noted(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    for place, option in (("all/fsdd", "--data"), ("given", "RLSTITCH_DATA")):
        (workplace / place).mkdir(parents=True)
        (workplace / place / FSDD_FILE).write_text("")
        data = DataLocator(workplace / "all" if option == "--data" else None, lines.append)
        monkeypatch.setenv("RLSTITCH_DATA", str(workplace / "given"))
        for _ in range(2):
            assert data.folder("fsdd") == workplace / place
        assert data.origins == {"fsdd": f"the folder that {option} names"}
    assert lines == [f"data: fsdd from the folder that {option} names" for option in ("--data", "RLSTITCH_DATA")]


def test_missing_files_are_named(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLSTITCH_DATA", str(workplace))
    with pytest.raises(InvalidInputError, match=r"get word vectors .*put a, b into a folder, or into word-vectors/ "):
        DataLocator(workplace / "none").folder("word-vectors", ["a", "b"])
