"""Synthetic questions and captions."""

from __future__ import annotations

import numpy as np
import pytest

from rlstitch.errors import InvalidInputError
from rlstitch.modalities.synthetic_text import synthetic_captions, synthetic_questions
from rlstitch.modalities.text import TREC_CLASSES


def test_synthetic_questions_are_even_fixed_and_not_told_by_one_word() -> None:
    texts = synthetic_questions(600)
    assert np.bincount(texts.labels).tolist() == [100] * 6
    assert texts.texts == synthetic_questions(600).texts
    assert texts.texts != synthetic_questions(600, seed=1).texts
    assert all(text.endswith("?") for text in texts.texts)
    places = [label for text, label in zip(texts.texts, texts.labels, strict=True) if "oslo" in text]
    assert {TREC_CLASSES[label] for label in places} > {"LOC"}
    with pytest.raises(InvalidInputError, match="n must be at least 1, found 0"):
        synthetic_questions(0)


def test_synthetic_captions_share_what_they_mean_and_no_word() -> None:
    made = synthetic_captions(300, languages=("a", "b"))
    words = {language: {word for text in texts for word in text.split()} for language, texts in made.texts.items()}
    assert not words["a"] & words["b"]
    # The same concepts in each row, whatever their order and synonym.
    for one, other in zip(*made.texts.values(), strict=True):
        assert meaning(one) == meaning(other)
    assert made.texts["a"][0].split()[0][1] != made.texts["b"][0].split()[0][1], "another order of words"
    assert made == synthetic_captions(300, languages=("a", "b"))
    assert made != synthetic_captions(300, languages=("a", "b"), seed=1)
    with pytest.raises(InvalidInputError, match="n from 1 on and languages, found 0 and"):
        synthetic_captions(0)


def meaning(text: str) -> set[str]:
    return {word[1:].split("x")[0] for word in text.split()}
