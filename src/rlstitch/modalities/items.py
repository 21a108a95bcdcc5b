"""Raw items, read one after another from any position on: lines of text and sounds; images have a file of their own."""

from __future__ import annotations

import hashlib
import wave
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.modalities.compressed import open_binary
from rlstitch.storage.limits import LINE_BYTES, SOUND_BYTES

Sound: TypeAlias = tuple[NDArray[np.float32], int]
"""Samples (n,) in [-1, 1], and how many there are in a second."""
Encode: TypeAlias = Callable[[Sequence[Any]], NDArray[np.float32]]
"""m items -> their vectors (m, d)."""


@dataclass(frozen=True, eq=False)
class Items:
    """n items: their different keys; `identity`, a sha256 of the input; and `read(start)`, which iterates over them
    from number `start` on. Raises InvalidInputError for no items or repeated keys.
    """

    keys: tuple[str, ...]
    identity: str
    read: Callable[[int], Iterator[Any]]

    def __post_init__(self) -> None:
        if not self.keys:
            raise InvalidInputError("expected at least one item to encode, found none")
        if len(set(self.keys)) != len(self.keys):
            repeated = next(key for key, count in Counter(self.keys).items() if count > 1)
            raise InvalidInputError(f"keys must differ, found {repeated!r} more than once")


@dataclass(frozen=True)
class ItemEncoder:
    """`encode` turns m items into float32 (m, d), d always the same; `identity` changes where the vectors do."""

    name: str
    identity: str
    encode: Encode


def text_items(path: Path | str, *, keys: Path | str | None = None) -> Items:
    """Open the lines of a UTF-8 file, `.gz` or not, without blank ones.

    Args:
        path: of the file.
        keys: file with a key for each line; the numbers of lines, from 1 on, by default.

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


def sound_items(path: Path | str, *, keys: Path | str | None = None) -> Items:
    """Open the WAV files of a folder, see `read_wav`, sorted by name.

    Args:
        path: of the folder.
        keys: file with a key for each sound, one a line; the paths in the folder by default.

    Raises:
        ArtefactError: where the folder is missing, or (only when it is read) a file in it is no such sound.
        InvalidInputError: where there is not one key a sound.
    """
    path = Path(path)
    if not path.is_dir():
        raise ArtefactError(f"cannot read {path}: expected a folder of WAV files")
    return renamed(folder_items(path, frozenset({".wav"}), read_wav), keys)


def read_wav(path: Path) -> Sound:
    """Read a WAV file of 8, 16, 24 or 32-bit PCM, and average its channels.

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


def folder_items(folder: Path, suffixes: frozenset[str], read_one: Callable[[Path], Any]) -> Items:
    """Files of a folder and its subfolders, sorted by name; the key is the path in it."""
    files = {
        file.relative_to(folder).as_posix(): file
        for file in folder.rglob("*")
        if file.suffix.lower() in suffixes and file.is_file() and not file.name.startswith(".")
    }
    if not files:
        raise ArtefactError(f"{folder}: expected files {', '.join(sorted(suffixes))}, found none")
    names = sorted(files)
    digest = hashlib.sha256()
    for name in names:
        about = files[name].stat()
        digest.update(f"{name}\n{about.st_size} {about.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return Items(
        tuple(names), digest.hexdigest(), lambda start: (read_one(files[name]) for name in islice(names, start, None))
    )


def renamed(items: Items, keys: Path | str | None) -> Items:
    """The items with the keys in a file, one a line; as they are where there is none."""
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
        with open_binary(path) as stream:
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
