"""Captions of images, from descriptions of their classes and from what is measured in their pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import require_known
from rlstitch.modalities.image import LabelledImages

CLASS_TEXTS: dict[str, tuple[str, ...]] = {
    "fashion-mnist": (
        "a t-shirt , a summer top with short arms",
        "trousers , pants with two long straight legs",
        "a pullover , a warm jumper with long arms",
        "a dress , long clothes for women in summer",
        "a coat , a warm winter jacket with long arms and an open front",
        "a sandal , an open summer shoe with straps",
        "a shirt , a top with long arms and buttons",
        "a sneaker , a closed running shoe",
        "a bag , a purse with a handle to carry",
        "an ankle boot , a closed winter shoe of leather",
    ),
    "digits": (
        "zero , one round hole inside of a closed curve",
        "one , a single straight line and no hole",
        "two , an open curve above a straight line",
        "three , an open curve above an open curve",
        "four , straight lines that cross at an angle",
        "five , a straight line above an open curve",
        "six , an open curve above one round hole",
        "seven , a straight line and an angle above a straight line",
        "eight , one round hole above one round hole",
        "nine , one round hole above a straight line",
    ),
}
"""Name of a dataset -> what its classes are called and look like, in the order of the labels; words are
separated by spaces.
"""

CLASS_LOOKS: dict[str, tuple[str, ...]] = {
    "fashion-mnist": (
        "wide balanced",
        "narrow tall balanced smooth",
        "large wide tall balanced",
        "narrow tall balanced",
        "large wide tall balanced",
        "small low wide odd rough",
        "wide tall balanced",
        "small low wide odd smooth",
        "large wide rough",
        "large wide tall odd",
    ),
    "digits": (
        "large wide balanced smooth",
        "small narrow smooth",
        "wide odd rough",
        "odd rough",
        "wide odd",
        "odd rough",
        "narrow odd",
        "wide odd smooth",
        "large balanced rough",
        "narrow odd",
    ),
}
"""Name of a dataset -> words of `ATTRIBUTES` that one would expect of its classes. Common knowledge, not measured."""

ATTRIBUTES: tuple[tuple[str, str], ...] = (
    ("dark", "bright"),
    ("small", "large"),
    ("narrow", "wide"),
    ("low", "tall"),
    ("odd", "balanced"),
    ("smooth", "rough"),
)
"""Words for little and for much of each attribute."""

_INK_LEVEL = 25
"""Grey level from which a pixel is more than background."""


def attributes(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Measure what `ATTRIBUTES` names.

    Of ink, the pixels above 25 of 255: mean grey, share of the image, share of columns and of rows with any; symmetry;
    differences of neighbouring pixels. An image without ink has symmetry 1 and 0 of all others.

    Args:
        images: uint8 (n, h, w).

    Returns:
        (n, 6), in [0, 1].
    """
    grey = images.astype(np.float64) / 255
    ink = images > _INK_LEVEL
    total = np.maximum(grey.sum((1, 2)), 1e-12)
    mirrored = np.abs(grey - grey[:, :, ::-1]).sum((1, 2)) / (2 * total)
    change = sum(np.abs(np.diff(grey, axis=axis)).sum((1, 2)) for axis in (1, 2)) / (4 * total)
    return np.stack(
        [
            (grey * ink).sum((1, 2)) / np.maximum(ink.sum((1, 2)), 1),
            ink.mean((1, 2)),
            ink.any(1).mean(1),
            ink.any(2).mean(1),
            1 - mirrored,
            change,
        ],
        axis=1,
    )


def class_texts(dataset: str) -> tuple[str, ...]:
    """Return a text for each class: a caption with the attributes that one would expect.

    Raises:
        UnknownNameError: for a dataset without descriptions.
    """
    require_known("dataset with described classes", dataset, CLASS_TEXTS)
    return tuple(_caption(looks, text) for looks, text in zip(CLASS_LOOKS[dataset], CLASS_TEXTS[dataset], strict=True))


def captions(data: LabelledImages, middle: NDArray[np.float64]) -> tuple[str, ...]:
    """Return a caption for each image: the description of its class, and a word for each attribute.

    Args:
        data: the images.
        middle: (6,), from which on an attribute counts as much.

    Raises:
        UnknownNameError: for a data set without descriptions.
    """
    require_known("dataset with described classes", data.name, CLASS_TEXTS)
    much = attributes(data.images) > middle
    looks = [" ".join(pair[int(more)] for pair, more in zip(ATTRIBUTES, row, strict=True)) for row in much]
    return tuple(
        _caption(words, CLASS_TEXTS[data.name][label]) for words, label in zip(looks, data.labels, strict=True)
    )


def _caption(looks: str, text: str) -> str:
    return f"a photo of {text} , {looks}"
