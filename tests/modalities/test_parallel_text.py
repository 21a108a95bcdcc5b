from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.modalities.parallel_text import ParallelTexts, read_multi30k

real_data = pytest.mark.skipif(
    "RLSTITCH_DATA" not in os.environ, reason="RLSTITCH_DATA does not name the folder of real data"
)


def write(folder: Path, **files: bytes) -> None:
    for language, content in files.items():
        (folder / f"train.{language}.gz").write_bytes(gzip.compress(content, mtime=0))


def test_lines_of_two_languages_belong_together(tmp_path: Path) -> None:
    write(tmp_path, en="A dog\x85runs .\nTwo men .\n".encode(), de="Ein Hund läuft .\nZwei Männer .".encode())
    read = read_multi30k(tmp_path, "train", ["en", "de"])
    assert read.texts == {"en": ("A dog\x85runs .", "Two men ."), "de": ("Ein Hund läuft .", "Zwei Männer .")}
    assert read.keys == ("train-1", "train-2")
    second = read.subset([1])
    assert (second.texts["de"], second.keys, len(second)) == (("Zwei Männer .",), ("train-2",), 1)


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    write(tmp_path, en=b"one\ntwo\n", de=b"eins\n", fr=b"un\n\ndeux\n", es="uno\ndós\n".encode("latin-1"))
    (tmp_path / "train.it.gz").write_bytes(b"uno")
    for languages, message in (
        (["en", "de"], "as many lines in each language of train, found {'en': 2, 'de': 1}"),
        (["fr"], r"train\.fr\.gz, line 2: expected a sentence, found nothing"),
        (["es"], r"train\.es\.gz: expected UTF-8: .* at byte 5"),
        (["it"], r"train\.it\.gz: expected a whole gzip file"),
        (["pt"], r"train\.pt\.gz: there is no such file"),
    ):
        with pytest.raises(ArtefactError, match=message):
            read_multi30k(tmp_path, "train", languages)
    with pytest.raises(InvalidInputError, match="one of train, test, found 'val'"):
        read_multi30k(tmp_path, "val")


def test_sentences_and_keys_that_do_not_fit() -> None:
    for texts, keys in (({}, ()), ({"a": ("x",), "b": ()}, ("k",)), ({"a": ("x", "y")}, ("k", "k"))):
        with pytest.raises(InvalidInputError, match="as many sentences in each language as different keys"):
            ParallelTexts(texts, keys)


@real_data
def test_the_published_captions() -> None:
    folder = Path(os.environ["RLSTITCH_DATA"]) / "multi30k"
    test = read_multi30k(folder, "test")
    assert len(test) == 1000
    assert test.texts["en"][0].startswith("A man in an orange hat")
    assert len(read_multi30k(folder, "train", ["fr"])) == 29_000
