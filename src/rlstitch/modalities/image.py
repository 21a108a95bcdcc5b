"""Labelled images: Fashion-MNIST from its IDX files, and the digits that come with scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.modalities.compressed import read_gzip

FASHION_FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
"""Split -> the names of its images and its labels."""

_UNSIGNED_BYTES = 0x08


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Grey images uint8 (n, h, w) in [0, 255], labels int64 (n,) in [0, classes), and n different keys.

    Raises InvalidInputError where these do not fit together.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    keys: tuple[str, ...]
    classes: int
    name: str = ""

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.ndim != 3 or self.images.dtype != np.uint8:
            raise InvalidInputError(
                f"images must be uint8 (n, h, w), found {self.images.dtype} of shape {self.images.shape}"
            )
        if self.labels.shape != (n,) or len(set(self.keys)) != n:
            raise InvalidInputError(
                f"labels and keys must be one an image ({n}), keys all different, found labels of shape "
                f"{self.labels.shape} and {len(set(self.keys))} different keys"
            )
        if n and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.classes:
            raise InvalidInputError(
                f"labels must lie in [0, {self.classes}), found {self.labels.min()} to {self.labels.max()}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, rows: Sequence[int] | NDArray[np.int64]) -> LabelledImages:
        """The images with these numbers, in their order."""
        chosen = np.asarray(rows, dtype=np.int64)
        keys = tuple(self.keys[row] for row in chosen)
        return replace(self, images=self.images[chosen], labels=self.labels[chosen], keys=keys)


def read_idx(path: Path | str, *, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, compressed by gzip.

    The format (LeCun's MNIST page): two zero bytes, the type (8), the number of dimensions, their sizes as big-endian
    32-bit integers, the bytes in C order.

    Raises:
        ArtefactError: where the file is missing, no gzip, no IDX of bytes with so many `dimensions`, of another length
            than its header says, or larger than 256 MiB.
    """
    path = Path(path)
    content = read_gzip(path)
    start = 4 + 4 * dimensions
    magic = bytes([0, 0, _UNSIGNED_BYTES, dimensions])
    if len(content) < start or content[:4] != magic:
        raise ArtefactError(
            f"{path}: expected IDX that begins with {magic.hex()}, found {content[:4].hex() or 'nothing'}"
        )
    sizes = [int(size) for size in np.frombuffer(content, dtype=">u4", count=dimensions, offset=4)]
    if math.prod(sizes) != len(content) - start:
        raise ArtefactError(f"{path}: the header says {math.prod(sizes)} bytes {sizes}, found {len(content) - start}")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(sizes)


def read_fashion_mnist(folder: Path | str, split: str = "train") -> LabelledImages:
    """Fashion-MNIST (Xiao et al. 2017, 1708.07747): 28 x 28, 10 classes; keys are `<split>-<row>`.

    Raises:
        InvalidInputError: for a split other than train and test.
        ArtefactError: where a file is missing or damaged, or images and labels differ in number.
    """
    if split not in FASHION_FILES:
        raise InvalidInputError(f"split must be one of {', '.join(FASHION_FILES)}, found {split!r}")
    images_name, labels_name = FASHION_FILES[split]
    images = read_idx(Path(folder) / images_name, dimensions=3)
    labels = read_idx(Path(folder) / labels_name, dimensions=1).astype(np.int64)
    if len(images) != len(labels) or (len(labels) and labels.max() >= 10):
        raise ArtefactError(
            f"{folder}: expected one label below 10 an image, found {len(images)} images and {len(labels)} labels"
        )
    return LabelledImages(images, labels, tuple(f"{split}-{row}" for row in range(len(images))), 10, "fashion-mnist")


def load_digits() -> LabelledImages:
    """scikit-learn's 1,797 digits, 8 x 8, 10 classes, with the 17 grey levels spread over [0, 255]."""
    from sklearn.datasets import load_digits as bundled

    digits = bundled()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    return LabelledImages(
        images, digits.target.astype(np.int64), tuple(f"digit-{row}" for row in range(len(images))), 10, "digits"
    )
