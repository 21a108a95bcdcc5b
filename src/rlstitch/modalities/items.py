"""Raw items that are read one after another, from any of them on: lines of text, images, sounds."""

from __future__ import annotations

import gzip
import hashlib
import wave
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.storage.limits import LINE_BYTES, SOUND_BYTES

Sound: TypeAlias = tuple[NDArray[np.float32], int]
"""Samples (n,) in [-1, 1], and how many there are in a second."""

_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})


@dataclass(frozen=True, eq=False)
class Items:
    """n items: their keys, all different; `identity`, a sha256 that another input does not have; and `read(start)`,
    which goes through them from number `start` on.
    """

    keys: tuple[str, ...]
    identity: str
    read: Callable[[int], Iterator[Any]]

    def __post_init__(self) -> None:
        if not self.keys:
            raise InvalidInputError("expected at least one item to encode, found none")
        if len(set(self.keys)) != len(self.keys):
            seen: set[str] = set()
            twice = next(key for key in self.keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise InvalidInputError(f"keys must differ, found {twice!r} more than once")


@dataclass(frozen=True)
class ItemEncoder:
    """`encode` turns m items into float32 (m, d), d always the same; `identity` tells it from encoders that give other
    vectors.
    """

    name: str
    identity: str
    encode: Callable[[Sequence[Any]], NDArray[np.float32]]


def text_items(path: Path | str, *, keys: Path | str | None = None) -> Items:
    """Lines of a UTF-8 file, `.gz` or not; blank ones are passed over. The key of a line is its number, from 1 on, or
    the line of that number in the file `keys`.

    Raises:
        ArtefactError: where a file is missing, damaged, not UTF-8 (the line is named), or a line is over 1 MiB.
        InvalidInputError: where the two files differ in their number of lines, or keys are not all different.
    """
    path = Path(path)
    digest = hashlib.sha256()
    numbers, count = [], 0
    for line in _lines(path):
        count += 1
        digest.update(line.encode())
        if line.strip():
            numbers.append(count)

    def read(start: int) -> Iterator[str]:
        return islice((line.strip() for line in _lines(path) if line.strip()), start, None)

    if keys is None:
        return Items(tuple(map(str, numbers)), digest.hexdigest(), read)
    names = _keys_of(Path(keys), count)
    return Items(tuple(names[number - 1] for number in numbers), digest.hexdigest(), read)


def image_items(path: Path | str, *, keys: Path | str | None = None) -> Items:
    """Images as uint8 (h, w, 3): of a folder (PNG, JPEG, ..., with its subfolders, by name; the key is the path in it),
    or of a file of arrays (see `rlstitch.modalities.array_items`).

    Raises:
        ArtefactError: where nothing is there, or a file is no image; an image only when it is read.
        InvalidInputError: where `keys` (a file, one a line) are not one an image.
    """
    path = Path(path)
    if path.is_dir():
        return _renamed(_folder_items(path, _IMAGES, _image), keys)
    from rlstitch.modalities.array_items import array_images

    return _renamed(array_images(path), keys)


def sound_items(path: Path | str, *, keys: Path | str | None = None) -> Items:
    """Sounds (`Sound`) of a folder of WAV files (PCM of 8 to 32 bits; channels are averaged), by name; the key is the
    path in it.

    Raises:
        ArtefactError: where the folder is missing, or a file in it is no such sound; that only when it is read.
        InvalidInputError: where `keys` (a file, one a line) are not one a sound.
    """
    path = Path(path)
    if not path.is_dir():
        raise ArtefactError(f"cannot read {path}: expected a folder of WAV files")
    return _renamed(_folder_items(path, frozenset({".wav"}), read_wav), keys)


def read_wav(path: Path) -> Sound:
    """Read a WAV file of whole numbers of 8, 16, 24 or 32 bits, its channels averaged.

    Raises:
        ArtefactError: where it is missing, damaged, empty, or of another kind.
    """
    try:
        with wave.open(str(path)) as sound:
            channels, width, rate, count = sound.getparams()[:4]
            if width * channels * count > SOUND_BYTES:
                raise ArtefactError(f"cannot read {path}: it is larger than {SOUND_BYTES:,} bytes")
            content = sound.readframes(count)
    except FileNotFoundError:
        raise ArtefactError(f"cannot read {path}: there is no such file") from None
    except (OSError, EOFError, ValueError, wave.Error) as error:
        raise ArtefactError(f"cannot read {path}: expected a PCM WAV file: {error}") from None
    if not content or len(content) % (width * channels) or rate < 1:
        raise ArtefactError(f"cannot read {path}: expected whole samples, found {len(content)} bytes at {rate} Hz")
    # Each number in the upper bytes of 32 bits; those of 8 bits are unsigned.
    wide = np.zeros((len(content) // width, 4), np.uint8)
    wide[:, 4 - width :] = np.frombuffer(content, np.uint8).reshape(-1, width)
    if width == 1:
        wide[:, 3] ^= 0x80
    samples = wide.view("<i4").reshape(-1, channels).mean(1) / 2**31
    return samples.astype(np.float32), rate


def _image(path: Path) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ArtefactError(f"cannot read {path}: expected an image: {error}") from None


def _folder_items(folder: Path, suffixes: frozenset[str], read_one: Callable[[Path], Any]) -> Items:
    found = {
        file.relative_to(folder).as_posix(): file
        for file in folder.rglob("*")
        if file.suffix.lower() in suffixes and file.is_file() and not file.name.startswith(".")
    }
    if not found:
        raise ArtefactError(f"{folder}: expected files {', '.join(sorted(suffixes))}, found none")
    names = sorted(found)
    digest = hashlib.sha256()
    for name in names:
        about = found[name].stat()
        digest.update(f"{name}\n{about.st_size} {about.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return Items(
        tuple(names), digest.hexdigest(), lambda start: (read_one(found[name]) for name in islice(names, start, None))
    )


def _renamed(items: Items, keys: Path | str | None) -> Items:
    if keys is None:
        return items
    return Items(tuple(_keys_of(Path(keys), len(items.keys))), items.identity, items.read)


def _keys_of(path: Path, count: int) -> list[str]:
    names = [line.rstrip("\r\n") for line in _lines(path)]
    if len(names) != count:
        raise InvalidInputError(f"{path}: expected a key for each of {count} items, found {len(names)} lines")
    return names


def _lines(path: Path) -> Iterable[str]:
    try:
        with opened(path) as stream:
            for number, line in enumerate(iter(lambda: stream.readline(LINE_BYTES + 1), b""), start=1):
                if len(line) > LINE_BYTES:
                    raise ArtefactError(f"{path}, line {number}: is longer than {LINE_BYTES:,} bytes")
                try:
                    yield line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise ArtefactError(f"{path}, line {number}: expected UTF-8: {error.reason}") from None
    except FileNotFoundError:
        raise ArtefactError(f"cannot read {path}: there is no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        whole = "a whole gzip file" if path.suffix == ".gz" else "a text file"
        raise ArtefactError(f"cannot read {path}: expected {whole}: {error}") from None


def opened(path: Path) -> IO[bytes]:
    """Open a file for its bytes, unpacked where its name ends in `.gz`."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]
