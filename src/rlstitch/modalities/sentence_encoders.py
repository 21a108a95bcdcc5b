"""Encoders of sentences that are trained on one language alone: latent semantic analysis (Deerwester et al. 1990)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import InvalidInputError, UnknownNameError

UNITS: dict[str, tuple[str, tuple[int, int]]] = {"characters": ("char_wb", (2, 4)), "words": ("word", (1, 1))}
"""What terms are: runs of 2 to 4 characters inside of words, which find the parts of compounds, or words."""


@dataclass(frozen=True, eq=False)
class SentenceEncoder:
    """TF-IDF weights and their largest singular directions, both of one language; made by `train_sentence_encoder`."""

    vectorizer: Any
    reduction: Any

    def weights(self, texts: Sequence[str]) -> Any:
        """TF-IDF weights, sparse float32 (n, terms) with rows of length 1; 0 where no term is known."""
        return self.vectorizer.transform(_plain(texts))

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Latents (n, width)."""
        return np.asarray(self.reduction.transform(self.weights(texts)), dtype=np.float32)


def train_sentence_encoder(
    texts: Sequence[str],
    *,
    unit: str = "characters",
    width: int = 800,
    least: int = 5,
    seed: int = 0,
) -> SentenceEncoder:
    """Train on sentences of one language. Letters are made small and what is no letter or digit parts words.

    `least`: in how many sentences a term must stand; `seed`: that of the randomised decomposition (Halko et al. 2009,
    0909.4061), with two rounds of iteration.

    Raises:
        UnknownNameError: for another `unit` than `UNITS`.
        InvalidInputError: for no texts, or where they do not give `width` directions.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    if unit not in UNITS:
        raise UnknownNameError("unit of sentences", unit, UNITS)
    analyzer, lengths = UNITS[unit]
    vectorizer = TfidfVectorizer(
        analyzer=analyzer, ngram_range=lengths, token_pattern=r"\S+" if analyzer == "word" else None, min_df=least,
        sublinear_tf=True, dtype=np.float32,
    )  # fmt: skip
    try:
        weights = vectorizer.fit_transform(_plain(texts))
    except ValueError:
        raise InvalidInputError(
            f"texts must hold terms that stand in at least {least} of them, found none in {len(texts)}"
        ) from None
    if not 1 <= width < min(weights.shape):
        raise InvalidInputError(
            f"width must lie in [1, {min(weights.shape) - 1}] for {weights.shape[0]} texts of {weights.shape[1]} "
            f"terms, found {width}"
        )
    return SentenceEncoder(vectorizer, TruncatedSVD(width, n_iter=2, random_state=seed).fit(weights))


def _plain(texts: Sequence[str]) -> list[str]:
    return [" ".join(re.findall(r"\w+", text.lower())) for text in texts]
