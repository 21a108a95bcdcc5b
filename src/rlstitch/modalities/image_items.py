"""Images, read one after another from any position on: of a folder, or of one file of arrays."""

from __future__ import annotations

import contextlib
import hashlib
import math
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from rlstitch.errors import ArtefactError
from rlstitch.modalities.compressed import open_binary
from rlstitch.modalities.items import Items, folder_items, renamed
from rlstitch.modalities.libraries import one_line
from rlstitch.storage import open_archive, read_array_header
from rlstitch.storage.files import check_source
from rlstitch.storage.limits import IMAGE_VALUES, ITEMS

_LIBRARIES = ("PIL", "struct", "tokenize", "zipfile", "zlib")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
"""What is read, whatever a file is called: other formats of Pillow run programs (EPS)."""
_ORDERS = (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_LOWER = {f"{bands};16{order}": f"{bands};16{other}" for bands in ("RGB", "RGBX", "RGBA") for order, other in _ORDERS}
_LOWER["LA;16B"] = "RGBA"
"""Layout of colours of 16 bits -> the layout by which Pillow gives their lower bytes; for grey they are the green."""
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
_IDX_BYTES = 0x08
_SKIP = 1 << 20
_MOST_PACKED = 1032  # bytes that deflate makes one of


def image_items(path: Path | str, *, keys: Path | str | None = None) -> Items:
    """Open images as uint8 (h, w, 3).

    Args:
        path: a folder of PNG, JPEG and the like, with subfolders, sorted by name; or a file, see `array_images`.
        keys: file with a key for each image, one a line; by default the paths in the folder, or the numbers.

    Raises:
        ArtefactError: where nothing is there, or a file is no image; an image only when it is read.
        InvalidInputError: where there is not one key an image.
    """
    path = Path(path)
    if path.is_dir():
        return renamed(folder_items(path, _SUFFIXES, read_image), keys)
    return renamed(array_images(path), keys)


def array_images(path: Path) -> Items:
    """Images uint8 (h, w, 3) of NumPy's `.npy` or `.npz` or of IDX (`.gz` or not), which hold uint8 (n, h, w[, 3]).

    An `.npz` holds them as `images`, or as its one array. The key of an image is its number, from 0 on.

    Raises:
        ArtefactError: where the file is missing, damaged, holds no such array, or less than its header says; the last
            only when it is read.
    """
    with _whole(path, ".npy, .npz, IDX or a folder of images"):
        with _array(path) as (stream, shape):
            if len(shape) not in (3, 4) or shape[3:] not in ((), (3,)) or not 0 < math.prod(shape[1:]) < IMAGE_VALUES:
                raise ArtefactError(f"{path}: expected uint8 (n, h, w) or (n, h, w, 3), found {shape}")
            packed = 2 if path.suffix == ".npy" else _MOST_PACKED  # a file that is cut off in its second half is read
            if shape[0] > ITEMS or math.prod(shape) > packed * max(path.stat().st_size, _SKIP):
                raise ArtefactError(f"{path}: states {shape[0]:,} images, which no file of this size holds")
            stream.read(1)
        with path.open("rb") as file:
            identity = hashlib.file_digest(file, "sha256").hexdigest()

    def read(start: int) -> Iterator[NDArray[np.uint8]]:
        return _rows(path, start)

    return Items(tuple(map(str, range(shape[0]))), identity, read)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image as uint8 (h, w, 3), upright as its EXIF says; of several frames or pages the first.

    Values of more than 8 bits are scaled by the depth that the file states (CMYK and premultiplied colours of 16 bits:
    their upper byte), floats must lie in [0, 1]. Transparency is ignored: a pixel has the colour that is stored.

    Raises:
        ArtefactError: it is missing, damaged, of another format, or has values that no such scale fits.
    """
    with warnings.catch_warnings(), one_line(f"cannot read {path}: expected an image", *_LIBRARIES):
        warnings.simplefilter("ignore", UserWarning)  # strange metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=_FORMATS) as image:
            tags, layout = getattr(image, "tag_v2", {}), _layout(image)
            upright = ImageOps.exif_transpose(image)
            if upright.mode == "F" or upright.mode.startswith("I"):
                return np.repeat(_as_bytes(np.asarray(upright), tags)[..., None], 3, axis=2)
            colours = _colours(upright)
        if layout not in _LOWER:
            return colours
        with Image.open(path, formats=_FORMATS) as image:
            image.tile = [(*tile[:3], _with_layout(tile[3], _LOWER[layout])) for tile in image.tile]
            lower = _colours(ImageOps.exif_transpose(image))
            if layout == "LA;16B":
                lower = lower[..., [1, 1, 1]]
        return ((colours.astype(np.uint32) * 256 + lower + 128) // 257).astype(np.uint8)


def _colours(image: Image.Image) -> NDArray[np.uint8]:
    image.info.pop("transparency", None)  # Pillow warns where it drops it
    return np.asarray(image.convert("RGB"))


def _layout(image: ImageFile.ImageFile) -> str:
    """Return Pillow's name of how the numbers of an image lie in its file; it keeps the upper byte of each."""
    arguments = image.tile[0][3] if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _with_layout(arguments: Any, layout: str) -> Any:
    return (layout, *arguments[1:]) if isinstance(arguments, tuple) else layout


def _as_bytes(values: NDArray[Any], tags: Mapping[int, Any]) -> NDArray[np.uint8]:
    """Scale deep grey values (h, w) to [0, 255]; `tags` are those of TIFF, without which they have 16 bits."""
    bits, signed = tags.get(_BITS, (16,))[0], tags.get(_SAMPLE_FORMAT, (1,))[0] == 2
    top = 1 if values.dtype.kind == "f" else 2 ** (bits - 1 if signed else bits) - 1
    if bits == 32 and top > 2**31:  # Pillow reads them as if they had a sign
        values = values.view(np.uint32)
    low, high = values.min().item(), values.max().item()
    if not 0 <= low <= high <= top:
        raise ValueError(f"expected values in [0, {top:,}], found {low} to {high}")
    if high > 0 and high * 255 < top / 2:
        raise ValueError(f"its values reach {high} of {top:,}, and all would be black")
    scaled = np.round(values.astype(np.float32) * np.float32(255 / top)).astype(np.uint8)
    return 255 - scaled if tags.get(_PHOTOMETRIC) == 0 else scaled  # 0 is white


@contextlib.contextmanager
def _whole(path: Path, expected: str) -> Iterator[None]:
    """Turn whatever reading raises into an `ArtefactError`."""
    check_source(path)
    with one_line(f"cannot read {path}: expected {expected}", *_LIBRARIES):
        yield


def _rows(path: Path, start: int) -> Iterator[NDArray[np.uint8]]:
    with _whole(path, "a whole file of arrays"), _array(path) as (stream, shape):
        size = math.prod(shape[1:])
        before = start * size
        while before and (skipped := len(stream.read(min(before, _SKIP)))):
            before -= skipped
        for number in range(start, shape[0]):
            content = stream.read(size)
            if len(content) < size:
                raise ArtefactError(f"{path}: ends in image {number}, expected {shape[0]}")
            image = np.frombuffer(content, np.uint8).reshape(shape[1:])
            yield image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


@contextlib.contextmanager
def _array(path: Path) -> Iterator[tuple[IO[bytes], tuple[int, ...]]]:
    """The bytes of the array, in order, and its shape."""
    with contextlib.ExitStack() as stack:
        if path.suffix == ".npz":
            archive = stack.enter_context(open_archive(path, f"cannot read {path}: expected .npy, .npz or IDX"))
            names = archive.namelist()
            name = "images.npy" if "images.npy" in names else names[0] if len(names) == 1 else ""
            if not name:
                raise ValueError(f"an array 'images', found {', '.join(names)[:80]}")
            stream: IO[bytes] = stack.enter_context(archive.open(name))
        else:
            stream = stack.enter_context(open_binary(path))
        yield stream, _npy_shape(stream) if path.suffix in (".npz", ".npy") else _idx_shape(stream)


def _npy_shape(stream: IO[bytes]) -> tuple[int, ...]:
    shape, fortran, dtype = read_array_header(stream)
    if dtype != np.uint8 or fortran:
        raise ValueError(f"uint8 in C order, found {dtype}{' in Fortran order' if fortran else ''}")
    return shape


def _idx_shape(stream: IO[bytes]) -> tuple[int, ...]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:3] != bytes([0, 0, _IDX_BYTES]):
        raise ValueError(f"it begins with {magic.hex() or 'nothing'}")
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ValueError("its header is cut off")
    return tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
