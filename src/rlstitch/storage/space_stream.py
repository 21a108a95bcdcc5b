"""A latent space that is written row by row: whole or absent in the end, and resumed where a killed run left it."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError, IncompatibleError, InvalidInputError
from rlstitch.storage import limits
from rlstitch.storage.files import check_target, make_folder, read_bytes, sync_folder, translated_errors
from rlstitch.storage.json_files import canonical_json, parse_json
from rlstitch.storage.spaces import SPACE_FORMAT

JOURNAL_FORMAT = "rlstitch-space-journal-1"

_METADATA_KEY = "rlstitch"  # where `write_tensors` keeps metadata
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

    They go to `<file>.part`, which is the future file from its first byte on, so that the end is a rename. For every
    block of rows `<file>.journal` has a line with its length and checksum: opened again, a stream keeps the rows that
    the journal confirms, and `rows` is their number. One process at a time.
    """

    def __init__(self, path: Path, keys: Sequence[str], config: Mapping[str, str], *, name: str = "") -> None:
        """Open a stream, or continue one.

        Args:
            path: the file, `.safetensors`.
            keys: of all rows that are to come, all different.
            config: what the rows depend on; a stream is continued only with the same.
            name: of the space.

        Raises:
            IncompatibleError: there are rows of another config or of other keys.
            ArtefactError: the operating system refuses, or the journal is damaged.
        """
        self.path, self.rows = path, 0
        self._part, self._journal = part_files(path)
        for file in (self._part, self._journal):
            check_target(file, in_place=True)
        self._keys, self._config, self._name = keys, dict(config), name
        self._files: list[BinaryIO] = []
        self._width, self._synced = 0, time.monotonic()
        if self._part.exists() and self._journal.exists():
            try:
                self._resume()
            except BaseException:
                self.close()
                raise

    def append(self, vectors: NDArray[np.float32]) -> None:
        """Add rows `(m, d)`; when it returns, they outlive the process.

        Raises:
            InvalidInputError: another width than before, NaN or infinity (naming the key), or more rows than keys.
            ArtefactError: the operating system refuses (a full disk).
        """
        block = np.ascontiguousarray(vectors, dtype="<f4")
        if block.ndim != 2 or (self._width and block.shape[1] != self._width):
            raise InvalidInputError(f"expected vectors (m, {self._width or 'd'}), found {block.shape}")
        if self.rows + len(block) > len(self._keys):
            raise InvalidInputError(f"expected {len(self._keys)} rows, found more; did the input change meanwhile?")
        if len(wrong := np.flatnonzero(~np.isfinite(block).all(1))):
            raise InvalidInputError(f"the vector of {self._keys[self.rows + int(wrong[0])]!r} holds NaN or infinity")
        if not self._files:
            self._start(block.shape[1])
        content = block.tobytes()
        with translated_errors("write", self._part):
            self._write(content, f"[{len(block)},{zlib.crc32(content)}]\n".encode())
            if time.monotonic() - self._synced > _SYNC_EVERY:
                self._sync()
        self.rows += len(block)

    def finish(self) -> Path:
        """Make the file of the rows. Raises InvalidInputError where some are missing."""
        if self.rows != len(self._keys) or not self._files:
            raise InvalidInputError(
                f"expected {len(self._keys)} rows, found {self.rows}; did the input change meanwhile?"
            )
        with translated_errors("write", self.path):
            self._sync()
            self.close()
            self._part.replace(self.path)
            sync_folder(self.path.parent)
            self._journal.unlink(missing_ok=True)
        return self.path

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
        self._width = width

    def _resume(self) -> None:
        lines = read_bytes(self._journal, max_bytes=limits.JOURNAL_BYTES).split(b"\n")[:-1]  # the last may be half
        if not lines:
            return
        self._width = self._checked_width(parse_json(lines[0], str(self._journal)))
        header = space_header(self._keys, self._width, self._name)
        with translated_errors("read", self._part):
            self._files = [path.open("r+b", buffering=0) for path in (self._part, self._journal)]
            part, journal = self._files
            if _read(part, len(header)) != header:
                raise IncompatibleError(f"{self._part}: was started with other keys; remove it to start anew")
            good = self._confirmed(part, lines[1:])
            part.truncate(len(header) + 4 * self._width * self.rows)
            journal.truncate(sum(len(line) + 1 for line in lines[: good + 1]))
            for file in self._files:
                file.seek(0, os.SEEK_END)

    def _checked_width(self, first: Any) -> int:
        width = first.get("width") if isinstance(first, dict) and first.get("format") == JOURNAL_FORMAT else None
        if not isinstance(width, int) or not isinstance(first["config"], dict) or width < 1:
            raise ArtefactError(f"{self._journal}: expected a journal ({JOURNAL_FORMAT}); remove it to start anew")
        config = first["config"]
        for entry in sorted(config.keys() | self._config.keys()):
            if config.get(entry) != self._config.get(entry):
                raise IncompatibleError(
                    f"{self._part}: was started with {entry} {config.get(entry)!s:.80}, now it is "
                    f"{self._config.get(entry)!s:.80}; remove it to start anew"
                )
        return width

    def _confirmed(self, part: BinaryIO, lines: Sequence[bytes]) -> int:
        """Read and count the rows that the journal confirms; return the number of its good lines."""
        for number, line in enumerate(lines):
            try:
                rows, checksum = (int(text) for text in line.strip(b"[]").split(b","))
            except ValueError:
                return number
            content = _read(part, 4 * self._width * rows)
            if not content or zlib.crc32(content) != checksum or self.rows + rows > len(self._keys):
                return number
            self.rows += rows
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


def _read(file: BinaryIO, size: int) -> bytes:
    """Read `size` bytes; none where there are fewer."""
    content = file.read(size) if 0 < size <= limits.TENSOR_BYTES else b""
    return content if len(content) == size else b""
