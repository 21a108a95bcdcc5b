"""Images of every mode and depth, upright, and what is refused."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz_mutations import damage
from numpy.typing import NDArray
from PIL import Image

from rlstitch.errors import ArtefactError
from rlstitch.modalities.image_items import image_items, read_image

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
GREYS = COLOURS[..., 0]
ORIENTATION = 0x0112


def grey(values: NDArray[Any]) -> NDArray[Any]:
    return np.repeat(values[..., None], 3, axis=2)


def png16(values: NDArray[np.uint16]) -> bytes:
    """A PNG of 16 bits: grey (h, w), or (h, w, 2 to 4): grey with alpha, colours, and with alpha."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    kind = {(): 0, (2,): 4, (3,): 2, (4,): 6}[values.shape[2:]]
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def tiff(values: NDArray[Any], *, sample_format: int = 1, white: int = 1) -> bytes:
    """A TIFF of the array's own type: grey (h, w), with `white` 0 where 0 is white, or colours (h, w, 3)."""
    height, width, *bands = values.shape
    white, bands = (2, 3) if bands else (white, 1)
    content = values.astype(values.dtype.newbyteorder("<")).tobytes()
    tags = [
        (256, 3, width), (257, 3, height), (258, 3, 8 * values.itemsize), (259, 3, 1), (262, 3, white),
        (273, 4, 8), (277, 3, bands), (278, 3, height), (279, 4, len(content)), (339, 3, sample_format),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(content)) + content + struct.pack("<H", len(tags)) + entries + b"\0" * 4


DEEP = np.array([[0, 257], [40_000, 65_535]], np.uint16)
SCALED = grey(np.array([[0, 1], [156, 255]]))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("grey.png", png16(DEEP)),
        ("with-alpha.png", png16(np.stack([DEEP, 65_535 - DEEP], axis=2))),
        ("colours.png", png16(grey(DEEP))),
        ("colours-with-alpha.png", png16(np.dstack([grey(DEEP), 65_535 - DEEP]))),
        ("colours.tif", tiff(grey(DEEP))),
        ("u16.tif", tiff(DEEP)),
        ("inverted.tif", tiff(65_535 - DEEP, white=0)),
        ("u32.tif", tiff(DEEP.astype(np.uint32) * 65_537)),
        ("i32.tif", tiff((DEEP.astype(np.int64) * 32_769).clip(0, 2**31 - 1).astype(np.int32), sample_format=2)),
        ("f32.tif", tiff((DEEP / 65_535).astype(np.float32), sample_format=3)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_deep_pictures_are_scaled_by_their_depth(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    image = read_image(tmp_path / name)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - SCALED).max() <= (1 if name == "i32.tif" else 0)


def test_deep_colours_are_rounded(tmp_path: Path) -> None:
    """Not cut to their upper byte."""
    values = np.stack([RNG.integers(0, 65_536, (8, 9)) for _ in range(3)], axis=2).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(png16(values))
    (tmp_path / "a.tif").write_bytes(tiff(values))
    for path in tmp_path.iterdir():
        assert np.array_equal(read_image(path), np.round(values / 257))


@pytest.mark.parametrize(("mode", "dtype"), [("I;16", "<u2"), ("I;16B", ">u2")])
def test_deep_modes_of_pillow(tmp_path: Path, mode: str, dtype: str) -> None:
    Image.frombytes(mode, (2, 2), DEEP.astype(dtype).tobytes()).save(tmp_path / "a.tif")
    assert np.array_equal(read_image(tmp_path / "a.tif"), SCALED)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (tiff(DEEP.astype(np.float32), sample_format=3), r"expected values in \[0, 1\], found 0\.0 to 65535\.0"),
        (tiff(np.full((2, 2), np.nan, np.float32), sample_format=3), "found nan to nan"),
        (tiff(-DEEP.astype(np.int32), sample_format=2), "found -65535 to 0"),
        (tiff(DEEP.astype(np.uint32)), "reach 65535 of 4,294,967,295, and all would be black"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot identify image file"),
        (b"", "cannot identify image file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_scale_fits_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ArtefactError, match=rf"cannot read .*a\.tif: expected an image: .*{problem}"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("transparent", [False, True])
def test_modes_are_read_as_colours(tmp_path: Path, mode: str, transparent: bool) -> None:
    image = Image.fromarray(COLOURS).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    suffix, options = ("tif", {}) if mode == "CMYK" else ("png", {})
    if transparent and mode in ("L", "P", "RGB"):
        options = {"transparency": bytes(range(200)) if mode == "P" else (3, 4, 5) if mode == "RGB" else 3}
    image.save(tmp_path / f"a.{suffix}", **options)
    assert np.array_equal(read_image(tmp_path / f"a.{suffix}"), expected)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_pictures_stand_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    turns = {1: 0, 3: 2, 6: 3, 8: 1}[orientation]
    blocks = np.kron(np.array([[0, 255, 90], [200, 30, 120]], np.uint8), np.ones((16, 16), np.uint8))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(grey(blocks)).save(tmp_path / f"a.{suffix}", exif=exif)
    image = read_image(tmp_path / f"a.{suffix}")
    expected = np.rot90(grey(blocks), turns)
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 8


def test_deep_pictures_stand_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(DEEP).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), np.rot90(SCALED, 3))


def test_of_an_animation_the_first_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)]
    for suffix in ("png", "webp", "tif"):
        frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], lossless=True)
        assert np.array_equal(read_image(tmp_path / f"a.{suffix}"), COLOURS)


def test_files_of_other_kinds_are_listed(tmp_path: Path) -> None:
    for name in ("a.heic", "b.jpe", "sub/c.PPM", ".hidden.heic", "labels.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"something")
    Image.fromarray(COLOURS).save(tmp_path / "d.png")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "not\udcffunicode.png").write_bytes(b"something")
    items = image_items(tmp_path)
    assert items.keys == ("d.png",)
    assert items.ignored == ("a.heic", "b.jpe", "gone.png", "labels.csv", "not\\udcffunicode.png", "sub/c.PPM")


def test_an_image_that_cannot_be_read_does_not_end_the_rest(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        Image.fromarray(COLOURS).save(tmp_path / f"{name}.png")
    items = image_items(tmp_path)
    content = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(content[: len(content) // 2])
    read = items.read(0)
    assert np.array_equal(next(read), COLOURS)
    with pytest.raises(ArtefactError, match=r"b\.png: expected an image"):
        next(read)
    assert np.array_equal(next(read), COLOURS)
    again = image_items(tmp_path)
    assert [old == new for old, new in zip(items.digests, again.digests, strict=True)] == [True, False, True]


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "bmp", "tif"])
def test_a_damaged_file_is_an_image_or_refused(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(COLOURS).save(path, **({} if suffix in ("gif", "bmp") else {"exif": exif}))
    honest, rng, refused = path.read_bytes(), random.Random(suffix), 0
    for _ in range(80):
        path.write_bytes(damage(honest, rng))
        try:
            image = read_image(path)
        except ArtefactError:
            refused += 1
        else:
            assert image.dtype == np.uint8
            assert image.shape[2:] == (3,)
    assert 0 < refused < 80
