"""Questions that are put together here, so that text can be tried with nothing to download."""

from __future__ import annotations

import numpy as np

from rlstitch.errors import InvalidInputError
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


def made_up_questions(n: int, *, seed: int = 0) -> LabelledTexts:
    """`n` questions of TREC's six coarse classes, as even as may be: a pattern and a thing of the class, and words
    around it that say nothing. One in ten speaks of a thing of another class, so that words alone are not enough.

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
    return LabelledTexts(tuple(texts), labels, tuple(f"made-up-{row}" for row in range(n)), TREC_CLASSES)
