"""Reading of labelled images."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.modalities.image import (
    FASHION_FILES,
    LabelledImages,
    load_digits,
    read_fashion_mnist,
    read_idx,
)


def packed(content: bytes) -> bytes:
    """Compress without the time: it would stand in the names of parametrized tests, which must be equal everywhere."""
    return gzip.compress(content, mtime=0)


def idx(array: np.ndarray, magic: bytes | None = None) -> bytes:
    """The naive writer of what `read_idx` reads."""
    head = magic or bytes([0, 0, 8, array.ndim])
    return head + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


def fashion(folder: Path, n: int = 5, labels: int | None = None) -> None:
    images = np.arange(n * 16, dtype=np.uint8).reshape(n, 4, 4)
    for images_name, labels_name in FASHION_FILES.values():
        (folder / images_name).write_bytes(gzip.compress(idx(images), mtime=0))
        (folder / labels_name).write_bytes(gzip.compress(idx(np.arange(labels or n, dtype=np.uint8)), mtime=0))


def test_idx_gives_back_what_was_written(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(256, size=(3, 5, 2), dtype=np.uint8)
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx(array), mtime=0))
    assert np.array_equal(read_idx(tmp_path / "a.gz", dimensions=3), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not gzip", "whole gzip"),
        (packed(bytes(100))[:-12], "whole gzip"),
        (packed(b""), "found nothing"),
        (packed(idx(np.zeros((2, 3), np.uint8), magic=b"\0\0\x0d\x02")), "found 00000d02"),
        (packed(idx(np.zeros(6, np.uint8))), "found 00000801"),
        (packed(idx(np.zeros((2, 3), np.uint8)) + b"more"), r"says 6 bytes \[2, 3\], found 10"),
        (packed(idx(np.zeros((2, 3), np.uint8))[:-1]), "found 5"),
    ],
)
def test_a_damaged_idx_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(ArtefactError, match=message):
        read_idx(tmp_path / "a.gz", dimensions=2)


def test_a_missing_idx_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"b\.gz: there is no such file"):
        read_idx(tmp_path / "b.gz", dimensions=1)


def test_fashion_mnist_of_both_splits(tmp_path: Path) -> None:
    fashion(tmp_path)
    train, test = (read_fashion_mnist(tmp_path, split) for split in ("train", "test"))
    assert (len(train), train.images.shape, train.labels.tolist()) == (5, (5, 4, 4), [0, 1, 2, 3, 4])
    assert not set(train.keys) & set(test.keys)
    with pytest.raises(InvalidInputError, match="train, test, found 'validation'"):
        read_fashion_mnist(tmp_path, "validation")


@pytest.mark.parametrize(("n", "labels"), [(5, 4), (11, 11)])
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, n: int, labels: int) -> None:
    fashion(tmp_path, n, labels)
    with pytest.raises(ArtefactError, match=f"found {n} images and {labels} labels"):
        read_fashion_mnist(tmp_path)


@pytest.mark.skipif("RLSTITCH_DATA" not in os.environ, reason="RLSTITCH_DATA does not name the folder of real data")
def test_the_published_fashion_mnist() -> None:
    test = read_fashion_mnist(Path(os.environ["RLSTITCH_DATA"]) / "fashion-mnist", "test")
    assert test.images.shape == (10_000, 28, 28)
    assert np.bincount(test.labels).tolist() == [1000] * 10


def test_digits_and_subsets() -> None:
    digits = load_digits()
    assert digits.images.shape == (1797, 8, 8)
    assert (digits.images.min(), digits.images.max(), digits.classes) == (0, 255, 10)
    some = digits.subset([7, 3])
    assert some.keys == ("digit-7", "digit-3")
    assert np.array_equal(some.images[1], digits.images[3])


@pytest.mark.parametrize(
    ("images", "labels", "keys", "message"),
    [
        (np.zeros((2, 4, 4)), [0, 1], "ab", "uint8"),
        (np.zeros((2, 4, 4), np.uint8), [0], "ab", "one of each an item, found .*'labels': 1"),
        (np.zeros((2, 4, 4), np.uint8), [0, 1], "aa", "2 different ones, found 1"),
        (np.zeros((2, 4, 4), np.uint8), [0, 3], "ab", r"\[0, 3\), found 0 to 3"),
    ],
)
def test_images_that_do_not_fit_together_are_refused(
    images: np.ndarray, labels: list[int], keys: str, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        LabelledImages(images=images, labels=np.array(labels), keys=tuple(keys), classes=3)
