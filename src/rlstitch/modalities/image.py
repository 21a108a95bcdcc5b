"""Labelled images: Fashion-MNIST from its IDX files, and the digits that come with scikit-learn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.modalities.compressed import read_gzip
from rlstitch.modalities.labelled import Labelled

FASHION_FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
"""Split -> the names of its images and its labels."""

_UNSIGNED_BYTES = 0x08


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledImages(Labelled):
    """Grey images uint8 (n, h, w) in [0, 255]; raises InvalidInputError for others."""

    images: NDArray[np.uint8]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.images.ndim != 3 or self.images.dtype != np.uint8:
            raise InvalidInputError(
                f"images must be uint8 (n, h, w), found {self.images.dtype} of shape {self.images.shape}"
            )


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
    """Read Fashion-MNIST (Xiao et al. 2017, 1708.07747): 28 x 28, 10 classes; keys are `<split>-<row>`.

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
    keys = tuple(f"{split}-{row}" for row in range(len(images)))
    return LabelledImages(images=images, labels=labels, keys=keys, classes=10, name="fashion-mnist")


def load_digits() -> LabelledImages:
    """Load scikit-learn's 1,797 digits, 8 x 8, 10 classes, with the 17 grey levels scaled to [0, 255]."""
    from sklearn.datasets import load_digits as bundled

    digits = bundled()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    keys = tuple(f"digit-{row}" for row in range(len(images)))
    return LabelledImages(images=images, labels=digits.target.astype(np.int64), keys=keys, classes=10, name="digits")
