"""The data of studies: where they are found, how they are downloaded, and loading what several studies use.

What a community's own library downloads is kept as the files that the readers of `rlstitch.modalities` take, so each
data set has one reader, and only what that reader accepts is kept. No code of a data set is run.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rlstitch.errors import ArtefactError, InvalidInputError, RlstitchError, needs_extra
from rlstitch.latent import LatentSpace
from rlstitch.modalities.audio import FSDD_FILE, LabelledSounds, read_fsdd, synthetic_sounds
from rlstitch.modalities.graph import PLANETOID, LabelledGraph, block_model, import_geometric, read_planetoid
from rlstitch.modalities.image import FASHION_FILES, LabelledImages, load_digits, read_fashion_mnist
from rlstitch.modalities.libraries import one_line, quiet
from rlstitch.modalities.parallel_text import MULTI30K_FILES, read_multi30k
from rlstitch.modalities.text import TREC_FILES, read_trec, read_word_vectors
from rlstitch.storage import read_json, sha256_of, staged_folder, write_json

RECORD = "source.json"
"""Beside downloaded files: their origin, the library that downloaded them, and their sha256."""

_LIBRARIES = (
    "datasets",
    "huggingface_hub",
    "aiohttp",
    "fsspec",
    "httpx",
    "httpx2",
    "pyarrow",
    "PIL",
    "tarfile",
    "zlib",
)
"""Packages that raise errors of their own where a download fails."""


@dataclass(frozen=True)
class Source:
    """Where a data set can be downloaded.

    Attributes:
        origin: a name on the Hugging Face hub (or a folder of the same form), or an address.
        fetch: called with origin, target folder and a scratch folder; writes the files.
        check: reads the files in a folder, and raises where they are damaged.
        library: that downloads.
    """

    origin: str
    fetch: Callable[[str, Path, Path], None]
    check: Callable[[Path], object]
    library: str = "datasets"


@dataclass(frozen=True)
class DataSet:
    """A data set: its file names, what a user has to get, and the source it is downloaded from (None: from nowhere)."""

    files: tuple[str, ...]
    what: str
    source: Source | None = None


def cache_folder() -> Path:
    """Where downloads are kept: `rlstitch/data` in XDG_CACHE_HOME, or in `~/.cache`."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".cache") / "rlstitch" / "data"


def fetch(name: str, source: Source) -> Path:
    """Download a data set into its folder in the cache, whole and checked by its reader, or not at all.

    Raises:
        MissingExtraError: where the library that downloads it is not installed.
        ArtefactError: where it cannot be reached, is not of the expected form, or cannot be written.
    """
    target = cache_folder() / name
    problem = f"{source.library} cannot get {source.origin}"
    with one_line(problem, *_LIBRARIES), staged_folder(target, force=True, marker=RECORD) as fresh:
        with tempfile.TemporaryDirectory() as scratch:
            source.fetch(source.origin, fresh, Path(scratch))
        source.check(fresh)
        digests = {path.name: sha256_of(path) for path in sorted(fresh.iterdir())}
        record = {"origin": source.origin, "library": source.library, "sha256": digests}
        write_json(fresh / RECORD, record, schema_version=1)
    return target


def _datasets() -> Any:
    with needs_extra("fetching by datasets", "datasets"):
        import datasets
    return datasets


def _rows(origin: str, split: str, scratch: Path, revision: str | None = None) -> Any:
    """A split of a data set on the hub, or of a folder of Parquet files."""
    load = _datasets().load_dataset
    with quiet("datasets", "huggingface_hub"):
        return load(origin, split=split, revision=revision, cache_dir=str(scratch))


def _downloaded(addresses: Sequence[str], scratch: Path) -> list[Path]:
    datasets = _datasets()
    with quiet("datasets", "huggingface_hub"):
        config = datasets.DownloadConfig(cache_dir=str(scratch), disable_tqdm=True)
        return [Path(path) for path in datasets.DownloadManager(download_config=config).download(list(addresses))]


def _fetch_fashion_mnist(origin: str, folder: Path, scratch: Path) -> None:
    for split, (images, labels) in FASHION_FILES.items():
        rows = _rows(origin, split, scratch)
        pixels = (np.asarray(image) for batch in rows.iter(1000) for image in batch["image"])
        _write_idx(folder / images, np.stack(list(pixels)))
        _write_idx(folder / labels, np.array(list(rows["label"]), dtype=np.uint8))


def _write_idx(path: Path, array: Any) -> None:
    if array.dtype != np.uint8:
        raise ArtefactError(f"{path.name}: expected bytes, found {array.dtype}")
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    path.write_bytes(gzip.compress(head + array.tobytes(), 6, mtime=0))


def _fetch_trec(origin: str, folder: Path, scratch: Path) -> None:
    for split, file in TREC_FILES.items():
        # The hub's own conversion: the data set itself is a script.
        rows = _rows(origin, split, scratch, "refs/convert/parquet")
        names = rows.features["fine_label"].names
        pairs = zip(rows["fine_label"], rows["text"], strict=True)
        lines = "".join(f"{names[label]} {' '.join(text.split())}\n" for label, text in pairs)
        (folder / file).write_bytes(gzip.compress(lines.encode("latin-1"), mtime=0))


def _fetch_multi30k(origin: str, folder: Path, scratch: Path) -> None:
    names = DATA_SETS["multi30k"].files
    for name, path in zip(names, _downloaded([f"{origin}/{name}" for name in names], scratch), strict=True):
        shutil.copyfile(path, folder / name)


def _fetch_fsdd(origin: str, folder: Path, scratch: Path) -> None:
    """Keep the recordings alone of the archive of all files; nothing is unpacked on to the disk."""
    (path,) = _downloaded([origin], scratch)
    with tarfile.open(path, "r:gz") as whole, tarfile.open(folder / FSDD_FILE, "w:gz") as recordings:
        for member in whole:
            *_, parent, name = ("", *Path(member.name).parts)
            if member.isfile() and parent == "recordings" and name.endswith(".wav"):
                entry = tarfile.TarInfo(f"recordings/{name}")
                entry.size = member.size
                recordings.addfile(entry, whole.extractfile(member))


def _fetch_planetoid(name: str, origin: str, folder: Path, scratch: Path) -> None:
    # Not by `Planetoid` itself, which unpickles what it has downloaded before anything can check it.
    copy = import_geometric().io.fs.cp
    for file in PLANETOID[name]:
        copy(f"{origin}/{file}", str(folder), log=False)


def _check_splits(read: Callable[[Path, str], Any], folder: Path) -> None:
    for split in ("train", "test"):
        if not len(read(folder, split)):
            raise ArtefactError(f"expected rows of {split}, found none")


def _planetoid(name: str, title: str) -> DataSet:
    origin = "https://github.com/kimiyoung/planetoid/raw/master/data"
    read = partial(read_planetoid, name=name)
    source = Source(origin, partial(_fetch_planetoid, name), read, "PyTorch Geometric")
    return DataSet(tuple(PLANETOID[name]), f"{title} (Planetoid files, https://github.com/kimiyoung/planetoid)", source)


WORD2VEC, FASTTEXT = "word2vec-googlenews-300d.npz", "fasttext-english-300d.npz"

DATA_SETS = {
    "fashion-mnist": DataSet(
        tuple(file for pair in FASHION_FILES.values() for file in pair),
        "Fashion-MNIST (four IDX files, https://github.com/zalandoresearch/fashion-mnist)",
        Source("zalando-datasets/fashion_mnist", _fetch_fashion_mnist, partial(_check_splits, read_fashion_mnist)),
    ),
    "trec": DataSet(
        tuple(TREC_FILES.values()),
        "TREC questions (two files of `COARSE:fine text` lines, gzip; https://cogcomp.seas.upenn.edu/Data/QA/QC/)",
        Source(
            "CogComp/trec",
            _fetch_trec,
            partial(_check_splits, lambda folder, split: read_trec(folder / TREC_FILES[split])),
        ),
    ),
    "multi30k": DataSet(
        tuple(file.format(language) for file in MULTI30K_FILES.values() for language in ("en", "de", "fr")),
        "Multi30k, task 1 (gzip files of one sentence a line: https://github.com/multi30k/dataset)",
        Source(
            "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw",
            _fetch_multi30k,
            partial(_check_splits, read_multi30k),
        ),
    ),
    "fsdd": DataSet(
        (FSDD_FILE,),
        "FSDD, the Free Spoken Digit Dataset (its recordings as one tar.gz)",
        Source(
            "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.10.tar.gz",
            _fetch_fsdd,
            lambda folder: read_fsdd(folder / FSDD_FILE),
        ),
    ),
    "planetoid": _planetoid("cora", "Cora"),
    "citeseer": _planetoid("citeseer", "CiteSeer"),
    "pubmed": _planetoid("pubmed", "PubMed"),
    "word-vectors": DataSet(
        (WORD2VEC, FASTTEXT),
        "word vectors (npz files of words and vectors: GoogleNews word2vec and English fastText, 300 wide)",
    ),
}
"""By the name of their folder. No word vectors are published in the form that is read here."""


@dataclass
class DataLocator:
    """Finds data sets for one run, and notes where each came from.

    Attributes:
        root: folder that is searched first.
        report: called with a line where a data set was found or is being downloaded.
        origins: data set -> where it came from, in words.
    """

    root: Path | None = None
    report: Callable[[str], None] = lambda line: None
    origins: dict[str, str] = field(default_factory=dict)

    def folder(self, name: str, files: Sequence[str] = ()) -> Path:
        """Return the folder that holds a data set.

        It is `root` or what RLSTITCH_DATA names, or the subfolder `name` of either; else the cache, into which the
        data set is downloaded if need be.

        Args:
            name: one of `DATA_SETS`.
            files: those that are needed; all by default.

        Raises:
            InvalidInputError: where it cannot be found; the message says what to get, and why it was not downloaded.
        """
        files = files or DATA_SETS[name].files
        variable = os.environ.get("RLSTITCH_DATA")
        roots = {"--data": self.root, "RLSTITCH_DATA": Path(variable) if variable else None}
        searched = {option: root for option, root in roots.items() if root is not None}
        for option, root in searched.items():
            for place in (root / name, root):
                if _holds(place, files):
                    return self._note(name, place, f"the folder that {option} names")
        cached = cache_folder() / name
        if _holds(cached, [*files, RECORD]):
            record = read_json(cached / RECORD, schema_version=1)
            return self._note(name, cached, f"fetched before from {record.get('origin')} by {record.get('library')}")
        problem = f"not found in {', '.join(map(str, searched.values()))}" if searched else "found neither"
        if source := DATA_SETS[name].source:
            try:
                if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
                    raise InvalidInputError(f"not fetched from {source.origin}, as HF_HUB_OFFLINE is set")
                self.report(f"data: {name} from {source.origin}, which {source.library} is fetching")
                return self._note(name, fetch(name, source), f"fetched from {source.origin} by {source.library}")
            except RlstitchError as error:
                problem += f"; {error}"
        raise InvalidInputError(
            f"data: get {DATA_SETS[name].what}, and put {', '.join(files)} into a folder, or into {name}/ of one, that "
            f"--data or RLSTITCH_DATA names; {problem}"
        )

    def _note(self, name: str, place: Path, origin: str) -> Path:
        if self.origins.get(name) != origin:
            self.origins[name] = origin
            self.report(f"data: {name} from {origin}")
        return place


def _holds(place: Path, files: Sequence[str]) -> bool:
    return all((place / file).is_file() for file in files)


def word_spaces(
    data: DataLocator, *, synthetic: bool, files: Sequence[str] = (WORD2VEC, FASTTEXT)
) -> list[LatentSpace[npt.NDArray[np.float32]]]:
    """Read spaces of word vectors.

    Args:
        data: where they are searched.
        synthetic: where they are not found, and no folder was named, take 600 synthetic words: one space, and the same
            turned, with noise of a fifth.
        files: of the data set.

    Raises:
        InvalidInputError: where they are not found, and synthetic words are not wanted.
    """
    try:
        folder = data.folder("word-vectors", files)
        return [read_word_vectors(folder / file) for file in files]
    except InvalidInputError:
        if data.root is not None or not synthetic:
            raise
    data.origins["word-vectors"] = "synthetic words"
    data.report("data: word-vectors are not here: synthetic words stand for them")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 64)) * np.linspace(1, 0.2, 64)
    turned = x @ np.linalg.qr(rng.normal(size=(64, 64)))[0]
    noise = 0.2 * turned.std() * rng.normal(size=x.shape)
    words = tuple(f"word{number:03}" for number in range(len(x)))
    return [LatentSpace(vectors.astype(np.float32), words) for vectors in (x, turned + noise)]


def load_images(dataset: str, train_images: int, seed: int, data: DataLocator) -> tuple[LabelledImages, LabelledImages]:
    """Load training and test images of `digits` or `fashion-mnist`; `seed` chooses the training images.

    Raises:
        InvalidInputError: where Fashion-MNIST is not found.
        ArtefactError: where it is damaged.
    """
    generator = np.random.default_rng(seed)
    if dataset == "digits":
        digits = load_digits()
        order = generator.permutation(len(digits))
        return digits.subset(order[:train_images]), digits.subset(order[train_images:])
    folder = data.folder("fashion-mnist")
    train, test = (read_fashion_mnist(folder, split) for split in ("train", "test"))
    return train.subset(generator.permutation(len(train))[:train_images]), test


def load_sounds(dataset: str, seed: int, data: DataLocator, *, classes: int = 6) -> LabelledSounds:
    """Load FSDD, or `made-up` sounds of so many classes by `seed`; errors as for `load_images`."""
    if dataset == "made-up":
        return synthetic_sounds(30, classes=classes, seed=seed)
    return read_fsdd(data.folder("fsdd") / FSDD_FILE)


def load_graph(dataset: str, seed: int, data: DataLocator) -> LabelledGraph:
    """Load `cora`, `citeseer` or `pubmed`, or a `block-model` by `seed`; errors as for `load_images`."""
    if dataset == "block-model":
        return block_model(seed=seed)
    return read_planetoid(data.folder("planetoid" if dataset == "cora" else dataset), dataset)
