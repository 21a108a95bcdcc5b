"""Reading of files that may be compressed by gzip."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import IO

from rlstitch.errors import ArtefactError
from rlstitch.storage.files import check_source
from rlstitch.storage.limits import DATASET_BYTES, unpacked_bytes


def open_binary(path: Path) -> IO[bytes]:
    """Open a file for its bytes, unpacked where its name ends in `.gz`; raises ArtefactError as `check_source` does."""
    check_source(path)
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def read_gzip(path: Path) -> bytes:
    """Read and unpack a gzip file.

    Raises:
        ArtefactError: where it is missing, no whole gzip file, or unpacks to more than `limits` allow.
    """
    check_source(path)
    try:
        most = min(DATASET_BYTES, unpacked_bytes(path.stat().st_size))
        with gzip.open(path, "rb") as stream:
            content = stream.read(most + 1)
    except FileNotFoundError:
        raise ArtefactError(f"cannot read {path}: there is no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ArtefactError(f"cannot read {path}: expected a whole gzip file: {error}") from None
    if len(content) > most:
        raise ArtefactError(f"cannot read {path}: it unpacks to more than {most:,} bytes")
    return content
