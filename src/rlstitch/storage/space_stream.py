"""A latent space that is written row by row: whole or absent in the end, and resumed where a killed run left it."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError, IncompatibleError, InvalidInputError
from rlstitch.storage import limits
from rlstitch.storage.files import check_target, make_folder, read_bytes, staged_file, sync_folder, translated_errors
from rlstitch.storage.json_files import canonical_json, parse_json
from rlstitch.storage.spaces import SPACE_FORMAT

JOURNAL_FORMAT = "rlstitch-space-journal-2"

_METADATA_KEY = "rlstitch"  # where `write_tensors` keeps metadata
_OLD_FORMAT = "rlstitch-space-journal-1"  # of version 0.1: lines without digests
_ROWS = 4096  # copied at one time
_SYNC_EVERY = 5.0  # seconds that a power cut may cost


def space_header(keys: Sequence[str], width: int, name: str = "") -> bytes:
    """Return what a `.safetensors` file of float32 vectors `(len(keys), width)` begins with: equal to `save_space`'s.

    Raises:
        InvalidInputError: keys or vectors are more than a file may hold.
    """
    size = 4 * len(keys) * width
    own = {"format": SPACE_FORMAT, "header": canonical_json({"name": name, "keys": list(keys)}).decode()}
    header = {
        "__metadata__": {_METADATA_KEY: json.dumps(own, sort_keys=True)},
        "vectors": {"dtype": "F32", "shape": [len(keys), width], "data_offsets": [0, size]},
    }
    content = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    content += b" " * (-len(content) % 8)
    if len(content) > limits.TENSOR_HEADER_BYTES:
        raise InvalidInputError(
            f"keys: take {len(content):,} bytes, at most {limits.TENSOR_HEADER_BYTES:,} fit into a file"
        )
    if size + len(content) + 8 > limits.TENSOR_BYTES:
        raise InvalidInputError(
            f"{len(keys):,} vectors of width {width} take {size:,} bytes, "
            f"at most {limits.TENSOR_BYTES:,} fit into a file"
        )
    return len(content).to_bytes(8, "little") + content


class SpaceStream:
    """Rows of a latent space on their way into a `.safetensors` file.

    They go to `<file>.part` behind the header of the future file, so that the end is a rename where all rows came in
    order. For every block of rows `<file>.journal` has a line with its length, its checksum and the digests of its
    items: opened again, a stream keeps the rows that the journal confirms, also where items were added, removed or
    replaced meanwhile. One process at a time.
    """

    def __init__(
        self,
        path: Path,
        keys: Sequence[str],
        config: Mapping[str, str],
        *,
        digests: Sequence[str] = (),
        name: str = "",
    ) -> None:
        """Open a stream, or continue one.

        Args:
            path: the file, `.safetensors`.
            keys: of all rows that are to come, all different.
            config: what the rows depend on; a stream is continued only with the same. Its `input` matters only for a
                stream of version 0.1, whose journal has no digests.
            digests: one a key, of what is encoded; the keys themselves by default.
            name: of the space.

        Raises:
            IncompatibleError: there are rows of another config, or of other items only.
            ArtefactError: the operating system refuses, or the journal is damaged.
        """
        self.path = path
        self._part, self._journal = part_files(path)
        for file in (self._part, self._journal):
            check_target(file, in_place=True)
        self._keys, self._config, self._name = keys, dict(config), name
        self._digests = list(digests or keys)
        self._written: list[str] = []  # the digest of each row of the part
        self._files: list[BinaryIO] = []
        self._width, self._start_of_rows, self._synced = 0, 0, time.monotonic()
        self._header_fits = True
        if self._part.exists() and self._journal.exists():
            try:
                self._resume()
            except BaseException:
                self.close()
                raise

    @property
    def rows(self) -> int:
        """Number of the rows that are kept."""
        return len(self._written)

    @property
    def missing(self) -> Sequence[int]:
        """The numbers of the items that have no row."""
        if self._in_order():
            return range(self.rows, len(self._keys))
        written = set(self._written)
        return [number for number, digest in enumerate(self._digests) if digest not in written]

    def append(self, vectors: NDArray[np.float32], numbers: Sequence[int] | None = None) -> None:
        """Add rows `(m, d)`; when it returns, they outlive the process.

        Args:
            vectors: the rows.
            numbers: of their items; None: those behind the last.

        Raises:
            InvalidInputError: another width than before, NaN or infinity (naming the key), or more rows than items.
            ArtefactError: the operating system refuses (a full disk).
        """
        block = np.ascontiguousarray(vectors, dtype="<f4")
        if block.ndim != 2 or (self._width and block.shape[1] != self._width):
            raise InvalidInputError(f"expected vectors (m, {self._width or 'd'}), found {block.shape}")
        numbers = range(self.rows, self.rows + len(block)) if numbers is None else numbers
        if len(block) != len(numbers) or (len(block) and max(numbers) >= len(self._keys)):
            raise InvalidInputError(f"expected {len(self._keys)} rows, found more; did the input change meanwhile?")
        if len(wrong := np.flatnonzero(~np.isfinite(block).all(1))):
            raise InvalidInputError(f"the vector of {self._keys[numbers[int(wrong[0])]]!r} holds NaN or infinity")
        if not self._files:
            self._start(block.shape[1])
        content, digests = block.tobytes(), [self._digests[number] for number in numbers]
        with translated_errors("write", self._part):
            self._write(content, canonical_json([len(block), _checksum(content, digests), digests]) + b"\n")
            if time.monotonic() - self._synced > _SYNC_EVERY:
                self._sync()
        self._written += digests

    def finish(self, *, without: Collection[int] = ()) -> Path:
        """Make the file of the rows.

        Args:
            without: numbers of items that could not be encoded. The file is made of the others, and part and journal
                stay, so that a later stream adds what was missing.

        Raises:
            InvalidInputError: rows of other items are missing.
        """
        numbers, in_order = [number for number in range(len(self._keys)) if number not in without], self._in_order()
        row_of = {} if in_order else dict(zip(self._written, range(self.rows), strict=True))
        rows = [row_of.get(self._digests[number], -1) for number in numbers] if row_of else numbers
        if not self._files or min(rows, default=-1) < 0 or max(rows) >= self.rows:
            raise InvalidInputError(
                f"expected {len(self._keys)} rows, found {self.rows}; did the input change meanwhile?"
            )
        with translated_errors("write", self.path):
            self._sync()
            if without or not in_order:
                self._gather(numbers, rows)
            else:
                self._part.replace(self.path)
                sync_folder(self.path.parent)
            self.close()
            if not without:
                self._journal.unlink(missing_ok=True)
                self._part.unlink(missing_ok=True)
        return self.path

    def _in_order(self) -> bool:
        """Whether the part is the beginning of the future file."""
        return self._header_fits and self._written == self._digests[: self.rows]

    def _gather(self, numbers: Sequence[int], rows: Sequence[int]) -> None:
        """Make the file of items with these numbers, which stand in these rows of the part."""
        shape = self.rows, self._width
        stored = np.memmap(self._part, "<f4", "r", self._start_of_rows, shape)
        with staged_file(self.path) as beside, beside.open("wb") as stream:
            stream.write(space_header([self._keys[number] for number in numbers], self._width, self._name))
            for start in range(0, len(rows), _ROWS):
                stream.write(stored[rows[start : start + _ROWS]].tobytes())

    def close(self) -> None:
        """Close the files; what is in them stays."""
        files, self._files = self._files, []
        for file in files:
            file.close()

    def __enter__(self) -> SpaceStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, width: int) -> None:
        header = space_header(self._keys, width, self._name)
        first = {"format": JOURNAL_FORMAT, "width": width, "config": self._config}
        make_folder(self.path.parent)
        with translated_errors("write", self._part):
            # An older journal must not confirm rows of the new part.
            self._journal.unlink(missing_ok=True)
            self._files = [path.open("w+b", buffering=0) for path in (self._part, self._journal)]
            self._write(header, canonical_json(first) + b"\n")
            self._sync()
        self._width, self._start_of_rows, self._header_fits = width, len(header), True

    def _resume(self) -> None:
        lines = read_bytes(self._journal, max_bytes=limits.JOURNAL_BYTES).split(b"\n")[:-1]  # the last may be half
        if not lines:
            return
        first = parse_json(lines[0], str(self._journal))
        width = self._checked_width(first)
        with translated_errors("read", self._part):
            self._files = [path.open("r+b", buffering=0) for path in (self._part, self._journal)]
            part, journal = self._files
            size = _read(part, 8)
            header = size + _read(part, min(int.from_bytes(size, "little"), limits.TENSOR_HEADER_BYTES))
            self._header_fits = header == space_header(self._keys, width, self._name)
            if not self._header_fits and first["format"] != JOURNAL_FORMAT:
                raise IncompatibleError(f"{self._part}: was started with other keys; remove it to start anew")
            self._width, self._start_of_rows = width, len(header)
            good = self._confirmed(part, lines[1:])
            part.truncate(len(header) + 4 * width * self.rows)
            journal.truncate(sum(len(line) + 1 for line in lines[: good + 1]))
            for file in self._files:
                file.seek(0, os.SEEK_END)
        if not self.rows:  # nothing to keep
            self.close()
            self._width, self._header_fits = 0, True
        elif not set(self._written) & set(self._digests):
            raise IncompatibleError(f"{self._part}: was started with other items; remove it to start anew")

    def _checked_width(self, first: Any) -> int:
        kind = first.get("format") if isinstance(first, dict) else None
        width = first.get("width") if kind in (JOURNAL_FORMAT, _OLD_FORMAT) else None
        if not isinstance(width, int) or not isinstance(first.get("config"), dict) or width < 1:
            raise ArtefactError(f"{self._journal}: expected a journal ({JOURNAL_FORMAT}); remove it to start anew")
        config = first["config"]
        for entry in sorted(config.keys() | self._config.keys()):
            if config.get(entry) != self._config.get(entry) and (entry != "input" or kind == _OLD_FORMAT):
                raise IncompatibleError(
                    f"{self._part}: was started with {entry} {config.get(entry)!s:.80}, now it is "
                    f"{self._config.get(entry)!s:.80}; remove it to start anew"
                )
        return width

    def _confirmed(self, part: BinaryIO, lines: Sequence[bytes]) -> int:
        """Read the rows that the journal confirms, and note their digests; return the number of its good lines."""
        for number, line in enumerate(lines):
            try:
                rows, checksum, *digests = parse_json(line, str(self._journal))
            except (ArtefactError, TypeError, ValueError):
                return number
            if not isinstance(rows, int):
                return number
            block = digests[0] if digests else self._digests[self.rows : self.rows + rows]
            if not isinstance(block, list) or len(block) != rows:
                return number
            content = _read(part, 4 * self._width * rows)
            expected = _checksum(content, block) if digests else zlib.crc32(content)
            if not content or checksum != expected or not all(isinstance(each, str) for each in block):
                return number
            self._written += block
        return len(lines)

    def _write(self, *contents: bytes) -> None:
        """Write to the part, then to the journal, with no buffer between."""
        for file, content in zip(self._files, contents, strict=True):
            view = memoryview(content)
            while view:
                view = view[file.write(view) :]

    def _sync(self) -> None:
        for file in self._files:
            os.fsync(file.fileno())
        self._synced = time.monotonic()


def part_files(path: Path) -> tuple[Path, Path]:
    """Return the files of the rows of an unfinished space, and of their journal."""
    return path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.journal")


def _checksum(rows: bytes, digests: Sequence[str]) -> int:
    return zlib.crc32(canonical_json(digests), zlib.crc32(rows))


def _read(file: BinaryIO, size: int) -> bytes:
    """Read `size` bytes; none where there are fewer."""
    content = file.read(size) if 0 < size <= limits.TENSOR_BYTES else b""
    return content if len(content) == size else b""
