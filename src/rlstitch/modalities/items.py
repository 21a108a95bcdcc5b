"""Raw items, read one after another from any position on: lines of text and sounds; images have a file of their own."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.modalities.compressed import open_binary
from rlstitch.modalities.libraries import one_line
from rlstitch.modalities.wav import read_wav
from rlstitch.storage.files import decode_text
from rlstitch.storage.limits import ITEMS, LINE_BYTES, LINES, MIB, unpacked_bytes

Encode: TypeAlias = Callable[[Sequence[Any]], NDArray[np.float32]]
"""m items -> their vectors (m, d)."""


@dataclass(frozen=True, eq=False)
class Items:
    """n items; raises InvalidInputError for none, or repeated keys.

    Attributes:
        keys: n different ones.
        identity: a sha256 of the input.
        read: iterates over the items from a number on; an item that raises ArtefactError does not end it where it can
            go on.
        digests: one an item; equal ones stand for equal items, in another version of the input too. By default made of
            the identity.
        ignored: names of files beside the items that are none.
    """

    keys: tuple[str, ...]
    identity: str
    read: Callable[[int], Iterator[Any]]
    digests: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.keys:
            raise InvalidInputError("expected at least one item to encode, found none")
        if len(set(self.keys)) != len(self.keys):
            repeated = next(key for key, count in Counter(self.keys).items() if count > 1)
            raise InvalidInputError(f"keys must differ, found {repeated!r} more than once")
        if not self.digests:
            digests = tuple(_digest(f"{self.identity} {number}") for number in range(len(self.keys)))
            object.__setattr__(self, "digests", digests)


@dataclass(frozen=True)
class ItemEncoder:
    """`encode` turns m items into float32 (m, d), d always the same, and raises InvalidInputError for an item that it
    cannot encode; `identity` changes where the vectors do.

    `weights` is about the number of a network's weights, which says how many threads pay.
    """

    name: str
    identity: str
    encode: Encode
    weights: int = 0


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
    numbers, digests, count = [], [], 0
    for line in _lines(path):
        count += 1
        digest.update(line.encode())
        if text := line.strip():
            numbers.append(count)
            digests.append(_digest(text))

    def read(start: int) -> Iterator[str]:
        return islice((line.strip() for line in _lines(path) if line.strip()), start, None)

    names = list(map(str, range(1, count + 1))) if keys is None else _keys_of(Path(keys), count)
    return Items(tuple(names[number - 1] for number in numbers), digest.hexdigest(), read, tuple(digests))


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


def folder_items(folder: Path, suffixes: frozenset[str], read_one: Callable[[Path], Any]) -> Items:
    """Files of a folder and its subfolders, sorted by name; the key is the path in it. Hidden files are left out."""
    files, ignored = {}, []
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        plain = name.encode("utf-8", "backslashreplace").decode()
        if file.suffix.lower() in suffixes and file.is_file() and not file.name.startswith(".") and name == plain:
            files[name] = file
        elif not file.is_dir() and not file.name.startswith("."):
            ignored.append(plain)
    if not files:
        raise ArtefactError(f"{folder}: expected files {', '.join(sorted(suffixes))}, found none")
    names = sorted(files)
    about = [f"{name}\n{files[name].stat().st_size} {files[name].stat().st_mtime_ns}\n" for name in names]
    identity = hashlib.sha256("".join(about).encode()).hexdigest()
    # Unlike a generator, `map` goes on after an error.
    return Items(
        tuple(names),
        identity,
        lambda start: map(read_one, (files[name] for name in islice(names, start, None))),
        tuple(map(_digest, about)),
        tuple(sorted(ignored)),
    )


def renamed(items: Items, keys: Path | str | None) -> Items:
    """The items with the keys in a file, one a line; as they are where there is none."""
    return items if keys is None else replace(items, keys=tuple(_keys_of(Path(keys), len(items.keys))))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _keys_of(path: Path, count: int) -> list[str]:
    names = [line.rstrip("\r\n") for line in _lines(path)]
    if len(names) != count:
        raise InvalidInputError(f"{path}: expected a key for each of {count} items, found {len(names)} lines")
    return names


def _lines(path: Path) -> Iterator[str]:
    # Unpacked, a small file may be empty lines without end: both are counted before lines are made of them.
    kind = "a whole gzip file" if path.suffix == ".gz" else "a text file"
    with one_line(f"cannot read {path}: expected {kind}", "zlib"), open_binary(path) as stream:
        size = path.stat().st_size
        most_lines, most_bytes = min(ITEMS, max(LINES, size)), max(size, unpacked_bytes(size))
        number = lines = unpacked = 0
        rest = b""
        for block in iter(lambda: stream.read(MIB), b""):
            lines, unpacked = lines + block.count(b"\n"), unpacked + len(block)
            if lines > most_lines:
                raise ArtefactError(f"{path}: holds more than {most_lines:,} lines")
            if unpacked > most_bytes:
                raise ArtefactError(f"{path}: it unpacks to more than {most_bytes:,} bytes")
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                number += 1
                yield _text(path, number, line + b"\n")
            if len(rest) > LINE_BYTES:
                break
        if rest:
            yield _text(path, number + 1, rest)


def _text(path: Path, number: int, line: bytes) -> str:
    if len(line) > LINE_BYTES:
        raise ArtefactError(f"{path}, line {number}: is longer than {LINE_BYTES:,} bytes")
    try:
        return decode_text(line, start=number == 1)
    except ValueError as error:
        raise ArtefactError(f"{path}, line {number}: {error}") from None
