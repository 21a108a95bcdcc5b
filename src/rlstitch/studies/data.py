"""Finding the data of a study, and loading what several studies use."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rlstitch.errors import InvalidInputError, RlstitchError
from rlstitch.modalities.audio import FSDD_FILE, LabelledSounds, read_fsdd, synthetic_sounds
from rlstitch.modalities.graph import LabelledGraph, block_model, read_planetoid
from rlstitch.modalities.image import LabelledImages, load_digits, read_fashion_mnist
from rlstitch.storage import read_json
from rlstitch.studies.downloads import DATA_SETS, RECORD, cache_folder, fetch


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
