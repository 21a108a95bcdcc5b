"""Reading word vectors and questions, and sentences as vectors."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.latent import LatentSpace
from rlstitch.modalities.text import TREC_CLASSES, mean_of_words, read_trec, read_word_vectors, tfidf_space

WORDS = np.array(["cat", "dog", "owl"])
VECTORS = np.arange(6, dtype=np.float32).reshape(3, 2)

real_data = pytest.mark.skipif(
    "RLSTITCH_DATA" not in os.environ, reason="RLSTITCH_DATA does not name the folder of real data"
)


def test_word_vectors_are_a_space_of_words(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", words=WORDS, vectors=VECTORS)
    space = read_word_vectors(tmp_path / "w.npz")
    assert (space.keys, space.name) == (("cat", "dog", "owl"), "w")
    assert np.array_equal(space.select(["owl"]).vectors, VECTORS[2:])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"words": WORDS}, "found words"),
        ({"words": WORDS, "vectors": VECTORS[:2]}, "3 words and 2 vectors"),
        ({"words": WORDS[[0, 0, 1]], "vectors": VECTORS}, "'cat' more than once"),
        ({"words": WORDS, "vectors": VECTORS + np.inf}, "holds no word vectors"),
        ({"words": np.arange(3), "vectors": VECTORS}, "words .n,. of text"),
        ({"words": WORDS.astype(object), "vectors": VECTORS}, "expected an npz file"),
    ],
)
def test_files_that_hold_no_word_vectors(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises(ArtefactError, match=message):
        read_word_vectors(tmp_path / "w.npz")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 not quite"])
def test_files_that_are_no_npz(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.npz").write_bytes(content)
    with pytest.raises(ArtefactError, match="expected an npz file"):
        read_word_vectors(tmp_path / "w.npz")
    with pytest.raises(ArtefactError, match="no such file"):
        read_word_vectors(tmp_path / "v.npz")
    np.save(tmp_path / "one.npy", VECTORS)
    with pytest.raises(ArtefactError, match="expected an npz file"):
        read_word_vectors(tmp_path / "one.npy")


def test_trec_lines(tmp_path: Path) -> None:
    lines = "HUM:ind Who\x85 is it ?\n\nLOC:city Where is Malm\xf6 ?\n"
    (tmp_path / "T.gz").write_bytes(gzip.compress(lines.encode("latin-1"), mtime=0))
    read = read_trec(tmp_path / "T.gz")
    assert read.texts == ("Who\x85 is it ?", "Where is Malm\xf6 ?")
    assert [TREC_CLASSES[label] for label in read.labels] == ["HUM", "LOC"]
    assert (read.keys, len(read)) == (("T-1", "T-3"), 2)


@pytest.mark.parametrize("line", ["WHO:ind Who is it ?", "HUM Who is it ?", "HUM:ind"])
def test_a_trec_line_of_another_form_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "T.gz").write_bytes(gzip.compress(f"HUM:ind Who ?\n{line}\n".encode(), mtime=0))
    with pytest.raises(ArtefactError, match=r"T\.gz, line 2: expected COARSE:fine"):
        read_trec(tmp_path / "T.gz")


def test_trec_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "T.gz").write_bytes(b"HUM:ind Who is it ?")
    with pytest.raises(ArtefactError, match="whole gzip"):
        read_trec(tmp_path / "T.gz")
    with pytest.raises(ArtefactError, match="no such file"):
        read_trec(tmp_path / "U.gz")


SENTENCES = ("the cat sat", "the cat slept", "a cat sat down", "stocks fell today", "stocks rose today", "stocks fell")


@pytest.mark.parametrize("unit", ["word", "character"])
def test_sentences_of_one_matter_lie_together(unit: Any) -> None:
    keys = [f"s{row}" for row in range(6)]
    space = tfidf_space(SENTENCES, keys, width=3, unit=unit)
    units = space.vectors / np.linalg.norm(space.vectors, axis=1, keepdims=True)
    cosines = units @ units.T
    assert space.vectors.shape == (6, 3)
    assert cosines[:3, :3].min() > cosines[:3, 3:].max()
    assert np.array_equal(space.vectors, tfidf_space(SENTENCES, keys, width=3, unit=unit).vectors)
    # Other texts in the same directions.
    later = tfidf_space(SENTENCES[:2], keys[:2], width=3, unit=unit, fit_on=SENTENCES)
    assert np.allclose(later.vectors, space.vectors[:2])


def test_sentences_that_cannot_be_made_vectors() -> None:
    with pytest.raises(InvalidInputError, match=r"width must lie in \[1, 1\]"):
        tfidf_space(SENTENCES[:2], "ab", width=2)
    with pytest.raises(InvalidInputError, match="found none in 0"):
        tfidf_space([], [])
    with pytest.raises(InvalidInputError, match="word, character, found 'line'"):
        tfidf_space(SENTENCES, "abcdef", unit="line")  # type: ignore[arg-type]


def test_a_text_is_the_mean_of_the_words_that_are_known() -> None:
    words = LatentSpace(np.array([[1, 0], [0, 2]], dtype=np.float32), ("cat", "dog"))
    space = mean_of_words(["Cat", "a cat , a dog", "dog dog cat"], ["x", "y", "z"], words, name="pets")
    assert np.allclose(space.vectors, [[1, 0], [0.5, 1], [1 / 3, 4 / 3]])
    assert (space.keys, space.name) == (("x", "y", "z"), "pets")
    with pytest.raises(InvalidInputError, match="a word that has a vector, found 'an owl'"):
        mean_of_words(["cat", "an owl"], ["x", "y"], words)


@real_data
def test_the_published_files() -> None:
    folder = Path(os.environ["RLSTITCH_DATA"])
    assert np.bincount(read_trec(folder / "trec" / "TREC.test.gz").labels).tolist() == [9, 138, 94, 65, 81, 113]
    assert read_word_vectors(folder / "word-vectors" / "fasttext-english-300d.npz").vectors.shape == (2000, 300)
