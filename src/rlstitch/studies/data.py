"""Data of studies: where it lies, and how it is fetched where it does not lie here.

What is fetched by the community's own libraries is kept as the files that the readers of `rlstitch.modalities` take, so
there is one reader of each, and only what that reader reads is kept. No code of a data set is run.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlstitch.errors import ArtefactError, InvalidInputError, MissingExtraError, RlstitchError
from rlstitch.modalities.audio import FSDD_FILE, read_fsdd
from rlstitch.modalities.graph import PLANETOID, import_geometric, read_planetoid
from rlstitch.modalities.image import FASHION_FILES, read_fashion_mnist
from rlstitch.modalities.parallel_text import MULTI30K_FILES, read_multi30k
from rlstitch.modalities.text import read_trec
from rlstitch.storage import read_json, sha256_of, staged_folder, write_json

RECORD = "source.json"
"""Beside what was fetched: from where, by what, and the sha256 of each file."""

_BAD = (OSError, ValueError, LookupError, TypeError, RuntimeError, AttributeError, OverflowError, EOFError)
_THEIRS = {"datasets", "huggingface_hub", "aiohttp", "fsspec", "httpx", "httpx2", "pyarrow", "PIL", "tarfile", "zlib"}


@dataclass(frozen=True)
class Source:
    """A published set of data. `fetch(origin, folder, scratch)` writes its files; `check(folder)` reads them."""

    origin: str
    """A name on the Hugging Face hub (or a folder of the same form), or an address."""
    library: str
    extra: str
    fetch: Callable[[str, Path, Path], None]
    check: Callable[[Path], object]


def locate(
    data: Path | None,
    folder: str,
    files: Sequence[str],
    what: str,
    tell: Callable[[str, str], None] = lambda folder, origin: None,
) -> tuple[Path, str]:
    """The folder that holds all `files` of the kind called `folder`, and in words how it was come by: what `data`
    names, what RLSTITCH_DATA names, the cache, or fetched into the cache now. In the first two, `folder` may be left
    out. `tell` is called where a fetch begins.

    Raises:
        InvalidInputError: where it is not to be had; the message says what to get, and why it was not fetched.
    """
    named = os.environ.get("RLSTITCH_DATA")
    roots = {"--data": data, "RLSTITCH_DATA": Path(named) if named else None}
    looked = {name: root for name, root in roots.items() if root is not None}
    for name, root in looked.items():
        for place in (root / folder, root):
            if _holds(place, files):
                return place, f"the folder that {name} names"
    cached = cache_folder() / folder
    if _holds(cached, [*files, RECORD]):
        record = read_json(cached / RECORD, schema_version=1)
        return cached, f"fetched before from {record.get('origin')} by {record.get('library')}"
    tried = f"not found in {', '.join(map(str, looked.values()))}" if looked else "found neither"
    if folder in SOURCES:
        source = SOURCES[folder]
        try:
            if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
                raise InvalidInputError(f"not fetched from {source.origin}, as HF_HUB_OFFLINE is set")
            tell(folder, f"{source.origin}, which {source.library} is fetching")
            return fetch(folder), f"fetched from {source.origin} by {source.library}"
        except RlstitchError as error:
            tried += f"; {error}"
    raise InvalidInputError(
        f"data: get {what}, and put {', '.join(files)} into a folder, or into {folder}/ of one, that --data or "
        f"RLSTITCH_DATA names; {tried}"
    )


def cache_folder() -> Path:
    """Where what was fetched is kept: `rlstitch/data` in XDG_CACHE_HOME, or in `~/.cache`."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".cache") / "rlstitch" / "data"


def fetch(kind: str, origin: str | None = None) -> Path:
    """Fetch data of a kind in `SOURCES` into its folder in the cache, whole and checked by its reader, or not at all.

    `origin` stands for the published one: a folder of Parquet files for a name on the hub, or an address.

    Raises:
        MissingExtraError: where the library that fetches it is not installed.
        ArtefactError: where it cannot be reached, is not of the expected form, or cannot be written.
    """
    source = SOURCES[kind]
    target, origin = cache_folder() / kind, origin or source.origin
    with _one_line(origin, source), staged_folder(target, force=True, marker=RECORD) as fresh:
        with tempfile.TemporaryDirectory() as scratch:
            source.fetch(origin, fresh, Path(scratch))
        source.check(fresh)
        digests = {path.name: sha256_of(path) for path in sorted(fresh.iterdir())}
        record = {"origin": origin, "library": source.library, "sha256": digests}
        write_json(fresh / RECORD, record, schema_version=1)
    return target


def _holds(place: Path, files: Sequence[str]) -> bool:
    return all((place / file).is_file() for file in files)


@contextlib.contextmanager
def _one_line(origin: str, source: Source) -> Iterator[None]:
    """Turn whatever goes wrong on the way into an error of one line."""
    try:
        yield
    except RlstitchError:
        raise
    except ImportError:
        raise MissingExtraError(f"fetching by {source.library}", source.extra) from None
    except Exception as error:
        if isinstance(error, _BAD) or type(error).__module__.partition(".")[0] in _THEIRS:
            told = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise ArtefactError(f"{source.library} cannot get {origin}: {told}") from None
        raise


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no notices of `datasets` and `huggingface_hub` within the block."""
    import datasets.utils as theirs
    import huggingface_hub.utils as hub

    levels = [(library, library.logging.get_verbosity()) for library in (theirs, hub)]
    shown = [library for library in (theirs, hub) if not library.are_progress_bars_disabled()]
    for library, _ in levels:
        library.logging.set_verbosity_error()
        library.disable_progress_bars()
    try:
        yield
    finally:
        for library, level in levels:
            library.logging.set_verbosity(level)
        for library in shown:
            library.enable_progress_bars()


def _rows(origin: str, split: str, scratch: Path, revision: str | None = None) -> Any:
    """A split of a set on the hub, or of a folder of Parquet files."""
    from datasets import load_dataset

    with _quiet():
        return load_dataset(origin, split=split, revision=revision, cache_dir=str(scratch))


def _downloaded(addresses: Sequence[str], scratch: Path) -> list[Path]:
    from datasets import DownloadConfig, DownloadManager

    with _quiet():
        config = DownloadConfig(cache_dir=str(scratch), disable_tqdm=True)
        return [Path(path) for path in DownloadManager(download_config=config).download(list(addresses))]


def _fetch_fashion_mnist(origin: str, folder: Path, scratch: Path) -> None:
    for split, (images, labels) in FASHION_FILES.items():
        rows = _rows(origin, split, scratch)
        pictures = (picture for batch in rows.iter(1000) for picture in batch["image"])
        _write_idx(folder / images, np.stack([np.asarray(picture) for picture in pictures]))
        _write_idx(folder / labels, np.array(list(rows["label"]), dtype=np.uint8))


def _write_idx(path: Path, array: Any) -> None:
    if array.dtype != np.uint8:
        raise ArtefactError(f"{path.name}: expected bytes, found {array.dtype}")
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    path.write_bytes(gzip.compress(head + array.tobytes(), 6, mtime=0))


def _fetch_trec(origin: str, folder: Path, scratch: Path) -> None:
    for split in ("train", "test"):
        # The hub's own conversion: the set itself is a script.
        rows = _rows(origin, split, scratch, "refs/convert/parquet")
        names = rows.features["fine_label"].names
        pairs = zip(rows["fine_label"], rows["text"], strict=True)
        lines = "".join(f"{names[label]} {' '.join(text.split())}\n" for label, text in pairs)
        (folder / f"TREC.{split}.gz").write_bytes(gzip.compress(lines.encode("latin-1"), mtime=0))


def _fetch_multi30k(origin: str, folder: Path, scratch: Path) -> None:
    names = [name.format(language) for name in MULTI30K_FILES.values() for language in ("en", "de", "fr")]
    for name, path in zip(names, _downloaded([f"{origin}/{name}" for name in names], scratch), strict=True):
        shutil.copyfile(path, folder / name)


def _fetch_fsdd(origin: str, folder: Path, scratch: Path) -> None:
    """The recordings alone, out of the archive of all files; nothing is unpacked on to the disk."""
    (path,) = _downloaded([origin], scratch)
    with tarfile.open(path, "r:gz") as every, tarfile.open(folder / FSDD_FILE, "w:gz") as kept:
        for member in every:
            *_, above, name = ("", *Path(member.name).parts)
            if member.isfile() and above == "recordings" and name.endswith(".wav"):
                fresh = tarfile.TarInfo(f"recordings/{name}")
                fresh.size = member.size
                kept.addfile(fresh, every.extractfile(member))


def _fetch_cora(origin: str, folder: Path, scratch: Path) -> None:
    # Not by `Planetoid` itself, which unpickles what it has downloaded before anything can check it.
    copy = import_geometric().io.fs.cp
    for name in PLANETOID["cora"]:
        copy(f"{origin}/{name}", str(folder), log=False)


def _check_splits(read: Callable[[Path, str], Any], folder: Path) -> None:
    for split in ("train", "test"):
        if not len(read(folder, split)):
            raise ArtefactError(f"expected rows of {split}, found none")


SOURCES = {
    "fashion-mnist": Source(
        "zalando-datasets/fashion_mnist",
        "datasets",
        "datasets",
        _fetch_fashion_mnist,
        lambda folder: _check_splits(read_fashion_mnist, folder),
    ),
    "trec": Source(
        "CogComp/trec",
        "datasets",
        "datasets",
        _fetch_trec,
        lambda folder: _check_splits(lambda place, split: read_trec(place / f"TREC.{split}.gz"), folder),
    ),
    "multi30k": Source(
        "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw",
        "datasets",
        "datasets",
        _fetch_multi30k,
        lambda folder: _check_splits(read_multi30k, folder),
    ),
    "fsdd": Source(
        "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.10.tar.gz",
        "datasets",
        "datasets",
        _fetch_fsdd,
        lambda folder: read_fsdd(folder / FSDD_FILE),
    ),
    "planetoid": Source(
        "https://github.com/kimiyoung/planetoid/raw/master/data",
        "PyTorch Geometric",
        "graph",
        _fetch_cora,
        read_planetoid,
    ),
}
"""By the name of their folder. Of words' vectors no published set has the form that is read."""
