"""Encoders of sentences that are trained on one language alone: latent semantic analysis (Deerwester et al. 1990)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import require_known
from rlstitch.modalities.text import fit_lsa

UNITS: dict[str, tuple[str, tuple[int, int]]] = {"characters": ("char_wb", (2, 4)), "words": ("word", (1, 1))}
"""Unit -> scikit-learn's analyzer and n-grams: 2 to 4 characters inside of words (parts of compounds), or words."""


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
    texts: Sequence[str], *, unit: str = "characters", width: int = 800, least: int = 5, seed: int = 0
) -> SentenceEncoder:
    """Train on sentences of one language, in lower case and with words separated by what is no letter or digit.

    Args:
        texts: the sentences.
        unit: one of `UNITS`.
        width: of the latent space.
        least: in how many sentences a term must stand.
        seed: of the decomposition, which has two iterations.

    Raises:
        UnknownNameError: for another unit.
        InvalidInputError: for no texts, or where they do not give `width` directions.
    """
    require_known("unit of sentences", unit, UNITS)
    terms: dict[str, Any] = {"min_df": least, "dtype": np.float32}
    return SentenceEncoder(*fit_lsa(_plain(texts), *UNITS[unit], width, seed=seed, n_iter=2, **terms))


def _plain(texts: Sequence[str]) -> list[str]:
    return [" ".join(re.findall(r"\w+", text.lower())) for text in texts]
