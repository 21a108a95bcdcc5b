"""Text encoders, the words that they know, and questions that are made up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.modalities.classifiers import accuracy, encode_inputs
from rlstitch.modalities.made_up_text import made_up_questions
from rlstitch.modalities.text import TREC_CLASSES, LabelledTexts
from rlstitch.modalities.text_encoders import (
    KINDS,
    MeanOfWords,
    TextTransformer,
    Vocabulary,
    text_inputs,
    train_text_classifier,
)


def test_words_become_numbers() -> None:
    known = Vocabulary.of(["The cat sat", "the dog sat", "An owl"])
    assert known.words == ("sat", "the")
    assert len(known) == 4
    assert known.tokens(["SAT the cat", "", "the " * 9], length=4).tolist() == [
        [2, 3, 1, 0],
        [1, 0, 0, 0],
        [3, 3, 3, 3],
    ]
    assert Vocabulary.of(["a b", "b"], least=1).words == ("a", "b")
    with pytest.raises(InvalidInputError, match="expected texts and a length from 1 on, found 0 and 24"):
        known.tokens([])


@pytest.mark.parametrize("kind", ["words", "transformer"])
def test_no_word_is_no_matter(kind: str) -> None:
    torch.manual_seed(0)
    encoder = (MeanOfWords(9, 5) if kind == "words" else TextTransformer(9, 5, length=8)).eval()
    tokens = torch.tensor([[2, 3, 4], [5, 6, 0]])
    longer = torch.nn.functional.pad(tokens, (0, 4))
    assert encoder(tokens).shape == (2, 5)
    assert torch.allclose(encoder(tokens), encoder(longer), atol=1e-5)
    assert torch.allclose(encoder(tokens)[1:], encoder(tokens[1:, :2]), atol=1e-5)
    turned = encoder(tokens[:1].flip(1))
    assert torch.allclose(turned, encoder(tokens[:1]), atol=1e-5) == (kind == "words"), (
        "order matters to attention alone"
    )


def test_the_mean_of_words_by_hand() -> None:
    torch.manual_seed(0)
    encoder = MeanOfWords(6, 3).eval()
    seen = encoder.out((encoder.vectors.weight[2] + encoder.vectors.weight[4]) / 2**0.5)
    assert torch.allclose(encoder(torch.tensor([[2, 4, 0]]))[0], seen, atol=1e-6)


def test_made_up_questions_are_even_fixed_and_not_told_by_one_word() -> None:
    texts = made_up_questions(600)
    assert np.bincount(texts.labels).tolist() == [100] * 6
    assert texts.texts == made_up_questions(600).texts
    assert texts.texts != made_up_questions(600, seed=1).texts
    assert all(text.endswith("?") for text in texts.texts)
    places = [label for text, label in zip(texts.texts, texts.labels, strict=True) if "oslo" in text]
    assert {TREC_CLASSES[label] for label in places} > {"LOC"}
    with pytest.raises(InvalidInputError, match="n must be at least 1, found 0"):
        made_up_questions(0)


@pytest.fixture(scope="module")
def questions() -> LabelledTexts:
    return made_up_questions(240, seed=3)


@pytest.mark.parametrize("kind", KINDS)
def test_training_learns_and_is_fixed_by_its_seed(questions: LabelledTexts, kind: str) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    inputs = text_inputs(kind, questions, questions, width=40)
    one, again, other = (
        train_text_classifier(
            inputs, questions.labels, 6, kind=kind, seed=seed, epochs=8, latent_dim=8, batch_size=16, learning_rate=3e-3
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.name == f"{kind}-s1"
    spaces = [encode_inputs(model.encoder, inputs, questions.keys) for model in (one, again, other)]
    assert torch.equal(spaces[0].vectors, spaces[1].vectors)
    assert spaces[0].keys == questions.keys
    assert accuracy(one.head, spaces[0].vectors, questions.labels) > 0.9
    assert accuracy(one.head, spaces[2].vectors, questions.labels) < 0.7


def test_training_that_cannot_be_done(questions: LabelledTexts) -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        text_inputs("word", questions, questions)
    with pytest.raises(UnknownNameError, match="kind of text encoder"):
        train_text_classifier(torch.zeros(3, 2), np.zeros(3, np.int64), 2, kind="lsi", seed=0, epochs=1)
    with pytest.raises(InvalidInputError, match=r"labels \(n,\), found \(3, 2\) and \(2,\)"):
        train_text_classifier(torch.zeros(3, 2), np.zeros(2, np.int64), 2, kind="lsa", seed=0, epochs=1)
    with pytest.raises(InvalidInputError, match=r"width must lie in"):
        text_inputs("lsa", questions, questions, width=4000)
