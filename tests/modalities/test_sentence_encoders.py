from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.modalities.text import train_sentence_encoder

TEXTS = [f"{who} {does}, {where}!" for who in ("A cat", "The dog") for does in ("sleeps", "runs") for where in "xyz"]


def test_weights_are_those_of_tf_idf_and_latents_their_largest_directions() -> None:
    encoder = train_sentence_encoder(TEXTS, unit="words", width=5, least=1)
    plain = [text.lower().replace(",", " ").replace("!", "") for text in TEXTS]
    expected = TfidfVectorizer(token_pattern=r"\S+", sublinear_tf=True).fit_transform(plain).toarray()
    assert np.allclose(encoder.weights(TEXTS).toarray(), expected, atol=1e-6)
    latents = encoder(TEXTS)
    values = np.linalg.svd(expected, compute_uv=False)
    assert latents.shape == (12, 5)
    assert np.linalg.norm(latents, axis=0) == pytest.approx(values[:5], rel=1e-3)
    assert np.array_equal(latents, train_sentence_encoder(TEXTS, unit="words", width=5, least=1)(TEXTS))


def test_runs_of_characters_see_what_words_share() -> None:
    texts = [*TEXTS, "die Katzen schlafen", "der Hund schläft"]
    unknown = ["katzenhunde"]
    characters = train_sentence_encoder(texts, unit="characters", width=5, least=1).weights(unknown)
    words = train_sentence_encoder(texts, unit="words", width=5, least=1).weights(unknown)
    assert characters.nnz > 5
    assert words.nnz == 0


def test_sentences_that_give_no_encoder() -> None:
    with pytest.raises(UnknownNameError, match="unit of sentences 'word'; did you mean words"):
        train_sentence_encoder(TEXTS, unit="word")
    with pytest.raises(InvalidInputError, match=r"width must lie in \[1, \d+\] for 12 texts of \d+ terms, found 400"):
        train_sentence_encoder(TEXTS, width=400, least=1)
    with pytest.raises(InvalidInputError, match="stand in at least 5 of them, found none in 2"):
        train_sentence_encoder(["one", "two"], least=5)
    with pytest.raises(InvalidInputError, match="found none in 0"):
        train_sentence_encoder([])
