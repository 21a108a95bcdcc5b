"""Synthetic questions and captions, so that studies of text run without a download."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import InvalidInputError
from rlstitch.modalities.parallel_text import ParallelTexts
from rlstitch.modalities.text import TREC_CLASSES, LabelledTexts

_PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ABBR": (
        ("what does {} stand for", "what is {} short for", "how is {} spelt out", "which words does {} abbreviate"),
        ("dna", "nasa", "cpu", "ram", "nato", "laser", "radar", "html", "unesco", "scuba"),
    ),
    "DESC": (
        ("what is {}", "how does {} work", "why is there {}", "what is meant by {}", "how would one describe {}"),
        ("gravity", "rust", "thunder", "yeast", "magnetism", "fog", "echo", "friction", "frost", "inflation"),
    ),
    "ENTY": (
        ("what {} is the largest", "which {} is red", "what kind of {} floats", "name a {} that is blue"),
        ("animal", "fruit", "metal", "bird", "flower", "drink", "stone", "instrument", "fish", "tree"),
    ),
    "HUM": (
        ("who wrote {}", "who is the author of {}", "which painter made {}", "who was first to see {}", "who found {}"),
        ("hamlet", "guernica", "radium", "neptune", "penicillin", "oxygen", "emma", "faust", "titan", "uranus"),
    ),
    "LOC": (
        ("where is {}", "what country holds {}", "in which city is {}", "what is the capital near {}", "where lies {}"),
        ("everest", "malta", "the louvre", "lake baikal", "timbuktu", "the prado", "etna", "the nile", "crete", "oslo"),
    ),
    "NUM": (
        ("how many {} are there", "when were {} made", "how much do {} cost", "what year saw {}", "how far reach {}"),
        ("stamps", "bridges", "pianos", "bicycles", "lamps", "coins", "sails", "clocks", "maps", "mills"),
    ),
}
_BEFORE = ("", "", "", "please tell me", "i wonder", "do you know", "say", "well ,")
_AFTER = ("", "", "", "today", "in the world", "these days", "in history", "now")


_TOPICS = 8
_OF_TOPIC = (5, 4, 4)
"""Numbers of subjects, verbs and places in each topic."""
_OF_ANY = (10, 6)
"""Numbers of colours and of numerals, shared by all topics."""
_SYNONYMS = 2


def synthetic_questions(n: int, *, seed: int = 0) -> LabelledTexts:
    """Compose `n` questions of TREC's six coarse classes, in equal numbers.

    Each is a pattern and a noun of its class between words without meaning; one in ten has a noun of another class, so
    that words alone do not suffice.

    Raises:
        InvalidInputError: for n below 1.
    """
    if n < 1:
        raise InvalidInputError(f"n must be at least 1, found {n}")
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % len(TREC_CLASSES)).astype(np.int64)
    texts = []
    for label in labels:
        patterns, things = _PARTS[TREC_CLASSES[label]]
        if rng.random() < 0.1:
            things = _PARTS[TREC_CLASSES[int(rng.integers(len(TREC_CLASSES)))]][1]
        before, pattern, thing, after = (
            choices[int(rng.integers(len(choices)))] for choices in (_BEFORE, patterns, things, _AFTER)
        )
        texts.append(" ".join(f"{before} {pattern.format(thing)} {after} ?".split()))
    keys = tuple(f"made-up-{row}" for row in range(n))
    return LabelledTexts(texts=tuple(texts), labels=labels, keys=keys, classes=len(TREC_CLASSES))


def synthetic_captions(n: int, *, languages: Sequence[str] = ("a", "b", "c"), seed: int = 0) -> ParallelTexts:
    """Describe `n` scenes in every language: who does what where, all of one topic, with a colour and a number.

    Words, synonyms and word order are a language's own and fixed by its name; synonyms are chosen at random in each. So
    the spaces of sentences are similar although no two languages share a word.

    Raises:
        InvalidInputError: for `n` below 1, or no languages.
    """
    if n < 1 or not languages:
        raise InvalidInputError(f"expected n from 1 on and languages, found {n} and {list(languages)}")
    scenes = np.random.default_rng([seed, 0])
    topics = scenes.integers(_TOPICS, size=n)
    meanings = np.stack(
        [topic_words * topics + scenes.integers(topic_words, size=n) for topic_words in _OF_TOPIC]
        + [scenes.integers(number, size=n) for number in _OF_ANY],
        axis=1,
    )
    texts = {language: _sentences(meanings, language, np.random.default_rng([seed, place + 1]))
             for place, language in enumerate(languages)}  # fmt: skip
    return ParallelTexts(texts, tuple(f"made-up-{row}" for row in range(n)))


def _sentences(meanings: NDArray[np.int64], language: str, rng: np.random.Generator) -> tuple[str, ...]:
    order = np.random.default_rng(list(language.encode())).permutation(meanings.shape[1])
    chosen = rng.integers(_SYNONYMS, size=meanings.shape)
    return tuple(
        " ".join(f"{language}{'wdpcn'[slot]}{meaning[slot]}x{synonym[slot]}" for slot in order)
        for meaning, synonym in zip(meanings, chosen, strict=True)
    )
