"""Captions made of classes and pixels."""

from __future__ import annotations

import numpy as np
import pytest

from rlstitch.errors import UnknownNameError
from rlstitch.modalities.image import LabelledImages, load_digits
from rlstitch.studies.captions import (
    ATTRIBUTES,
    CLASS_LOOKS,
    CLASS_TEXTS,
    attributes,
    captions,
    class_texts,
)


def test_attributes_by_hand() -> None:
    bar = np.zeros((4, 4), dtype=np.uint8)
    bar[:, 1] = 255
    half = np.full((4, 4), 51, dtype=np.uint8)
    result = attributes(np.stack([bar, half, np.zeros_like(bar)]))
    # A bar: all of its ink white, one column of four, no part of it where its mirror image has any.
    assert result[0] == pytest.approx([1, 0.25, 0.25, 1, 0, 8 / 16])
    assert result[1] == pytest.approx([0.2, 1, 1, 1, 1, 0])
    assert result[2] == pytest.approx([0, 0, 0, 0, 1, 0])


def test_attributes_lie_between_0_and_1_and_turn_with_the_image() -> None:
    images = load_digits().images[:200]
    result = attributes(images)
    assert result.min() >= 0
    assert result.max() <= 1
    turned = attributes(images.transpose(0, 2, 1).copy())
    assert np.allclose(turned[:, [0, 1, 3, 2, 5]], result[:, [0, 1, 2, 3, 5]]), "width and height change places"


def test_captions_say_the_class_and_a_word_an_attribute() -> None:
    digits = load_digits()
    middle = np.median(attributes(digits.images), axis=0)
    made = captions(digits, middle)
    assert len(made) == len(digits)
    for text, label, row in zip(made[:50], digits.labels[:50], attributes(digits.images[:50]), strict=True):
        assert CLASS_TEXTS["digits"][label] in text
        assert text.split()[-6:] == [pair[int(more)] for pair, more in zip(ATTRIBUTES, row > middle, strict=True)]


@pytest.mark.parametrize("dataset", list(CLASS_TEXTS))
def test_every_class_has_a_text_of_its_own_in_words_of_captions(dataset: str) -> None:
    texts = class_texts(dataset)
    assert len(set(texts)) == len(CLASS_TEXTS[dataset]) == len(CLASS_LOOKS[dataset]) == 10
    words = {word for pair in ATTRIBUTES for word in pair}
    assert {word for looks in CLASS_LOOKS[dataset] for word in looks.split()} <= words


def test_classes_that_nobody_described() -> None:
    other = LabelledImages(
        images=np.zeros((1, 4, 4), dtype=np.uint8), labels=np.zeros(1, np.int64), keys=("a",), classes=1, name="birds"
    )
    for call in (lambda: class_texts("birds"), lambda: captions(other, np.zeros(6))):
        with pytest.raises(UnknownNameError, match="birds"):
            call()
