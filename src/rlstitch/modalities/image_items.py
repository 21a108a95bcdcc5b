"""Images, read one after another from any position on: of a folder, or of one file of arrays."""

from __future__ import annotations

import contextlib
import hashlib
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rlstitch.errors import ArtefactError
from rlstitch.modalities.compressed import open_binary
from rlstitch.modalities.items import Items, folder_items, renamed
from rlstitch.storage.files import check_source
from rlstitch.storage.limits import IMAGE_VALUES

_BAD = (
    OSError, EOFError, ValueError, SyntaxError, KeyError, NotImplementedError, RuntimeError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
_IDX_BYTES = 0x08
_SKIP = 1 << 20


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
        return renamed(folder_items(path, _SUFFIXES, _image), keys)
    return renamed(array_images(path), keys)


def array_images(path: Path) -> Items:
    """Images uint8 (h, w, 3) of NumPy's `.npy` or `.npz` or of IDX (`.gz` or not), which hold uint8 (n, h, w[, 3]).

    An `.npz` holds them as `images`, or as its one array. The key of an image is its number, from 0 on.

    Raises:
        ArtefactError: where the file is missing, damaged, holds no such array, or less than its header says; the last
            only when it is read.
    """
    check_source(path)
    try:
        with _array(path) as (stream, shape):
            if len(shape) not in (3, 4) or shape[3:] not in ((), (3,)) or not 0 < math.prod(shape[1:]) < IMAGE_VALUES:
                raise ArtefactError(f"{path}: expected uint8 (n, h, w) or (n, h, w, 3), found {shape}")
            stream.read(1)
        with path.open("rb") as file:
            identity = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise ArtefactError(f"cannot read {path}: there is no such file or folder") from None
    except _BAD as error:
        raise ArtefactError(f"cannot read {path}: expected .npy, .npz, IDX or a folder of images: {error}") from None

    def read(start: int) -> Iterator[NDArray[np.uint8]]:
        return _rows(path, start)

    return Items(tuple(map(str, range(shape[0]))), identity, read)


def _image(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ArtefactError(f"cannot read {path}: expected an image: {error}") from None


def _rows(path: Path, start: int) -> Iterator[NDArray[np.uint8]]:
    try:
        with _array(path) as (stream, shape):
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
    except _BAD as error:
        raise ArtefactError(f"cannot read {path}: expected a whole file of arrays: {error}") from None


@contextlib.contextmanager
def _array(path: Path) -> Iterator[tuple[IO[bytes], tuple[int, ...]]]:
    """The bytes of the array, in order, and its shape."""
    with contextlib.ExitStack() as stack:
        if path.suffix == ".npz":
            archive = stack.enter_context(zipfile.ZipFile(path))
            names = archive.namelist()
            name = "images.npy" if "images.npy" in names else names[0] if len(names) == 1 else ""
            if not name:
                raise ValueError(f"an array 'images', found {', '.join(names)[:80]}")
            stream: IO[bytes] = stack.enter_context(archive.open(name))
        else:
            stream = stack.enter_context(open_binary(path))
        yield stream, _npy_shape(stream) if path.suffix in (".npz", ".npy") else _idx_shape(stream)


def _npy_shape(stream: IO[bytes]) -> tuple[int, ...]:
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran, dtype = readers[version](stream)
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
