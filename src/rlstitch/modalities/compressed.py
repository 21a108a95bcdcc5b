"""Reading of whole gzip files, as public data sets are published."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from rlstitch.errors import ArtefactError
from rlstitch.storage.limits import DATASET_BYTES


def read_gzip(path: Path) -> bytes:
    """Read and unpack a gzip file.

    Raises:
        ArtefactError: where it is missing, no whole gzip file, or unpacks to more than 256 MiB.
    """
    try:
        with gzip.open(path, "rb") as stream:
            content = stream.read(DATASET_BYTES + 1)
    except FileNotFoundError:
        raise ArtefactError(f"cannot read {path}: there is no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ArtefactError(f"cannot read {path}: expected a whole gzip file: {error}") from None
    if len(content) > DATASET_BYTES:
        raise ArtefactError(f"cannot read {path}: it unpacks to more than {DATASET_BYTES:,} bytes")
    return content
