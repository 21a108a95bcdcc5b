"""Raw items are read one after another, from any of them on; and the modest encoders that need nothing."""

from __future__ import annotations

import gzip
import io
import os
import struct
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.modalities.image import read_idx
from rlstitch.modalities.image_items import image_items
from rlstitch.modalities.items import Items, read_wav, sound_items, text_items
from rlstitch.modalities.plain_encoders import hashed_words, mel_means, plain_encoder, small_greys

RNG = np.random.default_rng(0)
GREYS = RNG.integers(0, 256, (5, 4, 6), dtype=np.uint8)
COLOURS = RNG.integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)


def write_wav(path: Path, content: bytes, *, channels: int = 1, width: int = 2, rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as sound:
        sound.setparams((channels, width, rate, 0, "NONE", ""))
        sound.writeframes(content)


@pytest.mark.parametrize("suffix", [".txt", ".txt.gz"])
def test_lines_are_called_by_their_number(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"lines{suffix}"
    content = "\ufeffone\r\n\n  two\u2028halves \n \nthree".encode()
    path.write_bytes(gzip.compress(content, mtime=0) if suffix.endswith("gz") else content)
    items = text_items(path)
    assert items.keys == ("1", "3", "5")
    assert list(items.read(0)) == ["one", "two\u2028halves", "three"]
    assert list(items.read(2)) == ["three"]
    names = tmp_path / "keys"
    names.write_text("a\nb\nc\nd\ne\n")
    assert text_items(path, keys=names).keys == ("a", "c", "e")
    (tmp_path / "other.txt").write_text("one\n\ntwo\n\nfour\n")
    assert text_items(tmp_path / "other.txt").identity != items.identity


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "there is no such file"),
        ("empty.txt", b"\n \n", "at least one item"),
        ("latin.txt", b"one\ncaf\xe9\n", "line 2: expected UTF-8"),
        ("wide.txt", "one\n".encode("utf-16"), "line 1: expected UTF-8, found UTF-16; save it as UTF-8"),
        ("wide.txt.gz", gzip.compress("one\n".encode("utf-16-le"), mtime=0), "line 1: expected UTF-8, found UTF-16"),
        ("long.txt", b"x" * (2 << 20), "line 1: is longer than 1,048,576"),
        ("empty.gz", gzip.compress(b"\n" * (1 << 20), 1, mtime=0), "holds more than 1,000,000 lines"),
        ("zeros.gz", gzip.compress(b"\0" * 1000 + b"\n" * 1000, 1, mtime=0), "line 1: expected UTF-8, found UTF-16"),
        ("text.gz", b"no gzip", "a whole gzip file"),
        ("half.gz", gzip.compress(RNG.bytes(5000).hex().encode(), mtime=0)[:-300], "a whole gzip file"),
    ],
)
def test_texts_that_cannot_be_read(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((ArtefactError, InvalidInputError), match=message):
        text_items(tmp_path / name)


def test_a_text_unpacks_to_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlstitch.modalities.items.unpacked_bytes", lambda size: 150 * size)
    path = tmp_path / "lines.gz"
    path.write_bytes(gzip.compress((b"x" * 1000 + b"\n") * 3000, mtime=0))
    with pytest.raises(ArtefactError, match="unpacks to more than"):
        text_items(path)


def test_lines_longer_than_a_block_apart_are_the_same(tmp_path: Path) -> None:
    lines = [str(number) * 50_000 for number in range(10, 60)]
    (tmp_path / "lines.txt").write_text("\n".join(lines))
    assert list(text_items(tmp_path / "lines.txt").read(0)) == lines


def test_keys_are_one_an_item_and_differ(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("one\ntwo\n")
    for keys, message in (("a\n", "a key for each of 2 items, found 1"), ("a\na\n", "'a' more than once")):
        (tmp_path / "keys").write_text(keys)
        with pytest.raises(InvalidInputError, match=message):
            text_items(tmp_path / "lines.txt", keys=tmp_path / "keys")


def idx(images: NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, images.ndim]) + struct.pack(f">{images.ndim}I", *images.shape) + images.tobytes()


def npy(images: NDArray[Any]) -> bytes:
    content = io.BytesIO()
    np.save(content, images)
    return content.getvalue()


def promising(*shape: int) -> bytes:
    """The header of an array, and hardly anything else."""
    content = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (*shape, 1, 1)[:3]}
    np.lib.format.write_array_header_1_0(content, header)
    return content.getvalue() + b"rest"


def npz(**arrays: NDArray[Any]) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


@pytest.mark.parametrize("images", [GREYS, COLOURS], ids=["greys", "colours"])
@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("x.npy", npy),
        ("x.npz", lambda images: npz(images=images, labels=np.arange(5))),
        ("x.npz", lambda images: npz(anything=images)),
        ("x-ubyte", idx),
        ("x-ubyte.gz", lambda images: gzip.compress(idx(images), mtime=0)),
    ],
)
def test_arrays_are_read_row_by_row(
    tmp_path: Path, name: str, pack: Callable[[NDArray[np.uint8]], bytes], images: NDArray[np.uint8]
) -> None:
    (tmp_path / name).write_bytes(pack(images))
    items = image_items(tmp_path / name)
    assert items.keys == ("0", "1", "2", "3", "4")
    expected = images if images.ndim == 4 else np.repeat(images[..., None], 3, axis=3)
    for start in (0, 3, 5):
        result = list(items.read(start))
        assert len(result) == 5 - start
        assert all(np.array_equal(image, row) for image, row in zip(result, expected[start:], strict=True))


def test_idx_is_read_as_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx(GREYS), mtime=0))
    assert np.array_equal(np.stack(list(image_items(path).read(0)))[..., 0], read_idx(path, dimensions=3))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npy", npy(GREYS.astype(np.float32)), "expected .npy, .npz, IDX .*found float32"),
        ("x.npy", npy(np.asfortranarray(GREYS)), "Fortran"),
        ("x.npy", npy(GREYS[0]), r"expected uint8 \(n, h, w\) or"),
        ("x.npy", npy(COLOURS[..., :2]), r"expected uint8 \(n, h, w\) or"),
        ("x.npy", npy(np.array([{}], dtype=object)), "found object"),
        ("x.npy", b"", "expected .npy"),
        ("x.npy", promising(10**13), "states 10,000,000,000,000 images, which no file of this size holds"),
        ("x.npy", promising(10**6, 9, 9), "states 1,000,000 images, which no file of this size holds"),
        (
            "x.gz",
            gzip.compress(b"\0\0\x08\3" + struct.pack(">3I", 2**32 - 1, 1, 1), mtime=0),
            "states 4,294,967,295 images",
        ),
        ("x.npz", npz(a=GREYS, b=GREYS), "an array 'images', found a.npy, b.npy"),
        ("x.npz", b"PK", "expected .npy, .npz"),
        ("x.gz", b"nothing", "expected .npy, .npz"),
        ("x", b"\0\0\x08\x03\0", "its header is cut off"),
        ("x", b"text", "begins with 74657874"),
        ("x.npy", None, "there is no such file"),
    ],
)
def test_files_that_hold_no_images(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtefactError, match=message):
        image_items(tmp_path / name)


def test_files_of_images_that_end_too_soon(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(npy(GREYS)[:-10])
    with pytest.raises(ArtefactError, match="ends in image 4, expected 5"):
        list(image_items(tmp_path / "x.npy").read(0))
    content = bytearray(npz(images=GREYS))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        content[archive.infolist()[0].header_offset + 60] ^= 0xFF
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"x\.npz"):
        list(image_items(tmp_path / "x.npz").read(0))


def test_a_folder_of_images_in_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    Image.fromarray(COLOURS[0]).save(tmp_path / "b" / "2.png")
    Image.fromarray(GREYS[1]).save(tmp_path / "a.PNG")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not one")
    items = image_items(tmp_path)
    assert items.keys == ("a.PNG", "b/2.png")
    first, second = items.read(0)
    assert np.array_equal(first, np.repeat(GREYS[1][..., None], 3, axis=2))
    assert np.array_equal(second, COLOURS[0])
    os.utime(tmp_path / "a.PNG", (1, 1))
    assert image_items(tmp_path).identity != items.identity
    (tmp_path / "b" / "2.png").write_bytes(b"not an image")
    with pytest.raises(ArtefactError, match=r"2\.png: expected an image"):
        list(image_items(tmp_path).read(1))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_sounds_of_every_width(tmp_path: Path, width: int) -> None:
    numbers = np.array([-0.5, 0, 0.5, 0.25, -1, 0.75])
    whole = (numbers * 2 ** (8 * width - 1)).astype(np.int64) + (128 if width == 1 else 0)
    content = b"".join(int(n).to_bytes(width, "little", signed=width > 1) for n in whole)
    write_wav(tmp_path / "a.wav", content, channels=2, width=width)
    samples, rate = read_wav(tmp_path / "a.wav")
    assert (samples.dtype, rate) == (np.float32, 8000)
    assert np.array_equal(samples, numbers.reshape(3, 2).mean(1).astype(np.float32))


def test_a_folder_of_sounds(tmp_path: Path) -> None:
    write_wav(tmp_path / "b.wav", b"\1\0\2\0")
    write_wav(tmp_path / "a" / "c.wav", b"\0\0", rate=16_000)
    items = sound_items(tmp_path)
    assert items.keys == ("a/c.wav", "b.wav")
    assert [rate for _, rate in items.read(0)] == [16_000, 8000]
    for content in (b"", b"RIFF\0\0\0\0WAVE", b"text"):
        (tmp_path / "b.wav").write_bytes(content)
        with pytest.raises(ArtefactError, match=r"b\.wav"):
            list(sound_items(tmp_path).read(1))
    write_wav(tmp_path / "b.wav", b"")
    with pytest.raises(ArtefactError, match="whole samples, found 0"):
        list(sound_items(tmp_path).read(1))


@pytest.mark.parametrize("read", [image_items, sound_items])
def test_folders_with_nothing_in_them(tmp_path: Path, read: Callable[[Path], Items]) -> None:
    with pytest.raises(ArtefactError, match=r"expected files .*, found none"):
        read(tmp_path)
    with pytest.raises(ArtefactError, match="cannot read"):
        read(tmp_path / "nowhere")


def test_modest_encoders_see_each_item_by_itself() -> None:
    texts = ["the cat", "", "the dog sat"]
    tone = np.sin(np.arange(4000) / 9).astype(np.float32)
    sounds = [(tone, 8000), (RNG.normal(size=512).astype(np.float32), 16_000)]
    for encode, items, width in (
        (hashed_words, texts, 256),
        (small_greys, list(COLOURS), 256),
        (mel_means, sounds, 64),
    ):
        result = encode(items)
        assert (result.dtype, result.shape) == (np.float32, (len(items), width))
        assert np.isfinite(result).all()
        np.testing.assert_allclose(result, np.concatenate([encode([item]) for item in items]), atol=1e-6)
    assert np.linalg.norm(hashed_words(texts), axis=1) == pytest.approx([1, 0, 1])
    with pytest.raises(InvalidInputError, match="found 'graph'"):
        plain_encoder("graph")
