"""Reading of files that may be compressed by gzip."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import IO

from rlstitch.errors import ArtefactError
from rlstitch.modalities.libraries import one_line
from rlstitch.storage.files import check_source, open_file
from rlstitch.storage.limits import DATASET_BYTES, unpacked_bytes


def open_binary(path: Path) -> IO[bytes]:
    """Open a file for its bytes, unpacked where its name ends in `.gz`; raises ArtefactError as `check_source` does."""
    check_source(path)
    return gzip.open(path, "rb") if path.suffix == ".gz" else open_file(path)  # type: ignore[return-value]


def read_gzip(path: Path) -> bytes:
    """Read and unpack a gzip file.

    Raises:
        ArtefactError: where it is missing, no whole gzip file, or unpacks to more than `limits` allow.
    """
    check_source(path)
    with one_line(f"cannot read {path}: expected a whole gzip file", "zlib"), gzip.open(path, "rb") as stream:
        most = min(DATASET_BYTES, unpacked_bytes(path.stat().st_size))
        content = stream.read(most + 1)
    if len(content) > most:
        raise ArtefactError(f"cannot read {path}: it unpacks to more than {most:,} bytes")
    return content
