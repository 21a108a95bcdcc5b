"""Captions of images, put together from a description of their class and from what can be measured in their pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import UnknownNameError
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
"""Name of a dataset -> what its classes are called and look like, in the order of the labels; words set apart by
spaces.
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
"""The words for little and for much of each attribute."""

_INK = 25
"""Grey level from which a pixel is more than background."""


def attributes(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What `ATTRIBUTES` names, each in [0, 1], of images uint8 (n, h, w): (n, 6).

    Of pixels above 25 of 255, the ink: their mean grey, their share of the image, the share of columns and of rows with
    any; likeness to the image's mirror image; differences of neighbouring pixels. An image without ink has 0 of all but
    likeness, which is 1.
    """
    grey = images.astype(np.float64) / 255
    ink = images > _INK
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
    """A text for each class: a caption with the attributes that one would expect.

    Raises:
        UnknownNameError: for a dataset without descriptions.
    """
    if dataset not in CLASS_TEXTS:
        raise UnknownNameError("dataset with described classes", dataset, CLASS_TEXTS)
    return tuple(_caption(looks, text) for looks, text in zip(CLASS_LOOKS[dataset], CLASS_TEXTS[dataset], strict=True))


def captions(data: LabelledImages, middle: NDArray[np.float64]) -> tuple[str, ...]:
    """A caption for each image: what its class is like, and the word for more or less than `middle` (6,) of each
    attribute.

    Raises:
        UnknownNameError: where nobody has described the classes of `data.name`.
    """
    if data.name not in CLASS_TEXTS:
        raise UnknownNameError("dataset with described classes", data.name, CLASS_TEXTS)
    much = attributes(data.images) > middle
    looks = [" ".join(pair[int(more)] for pair, more in zip(ATTRIBUTES, row, strict=True)) for row in much]
    return tuple(
        _caption(words, CLASS_TEXTS[data.name][label]) for words, label in zip(looks, data.labels, strict=True)
    )


def _caption(looks: str, text: str) -> str:
    return f"a photo of {text} , {looks}"
