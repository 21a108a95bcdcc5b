"""Encoder architectures for texts, and the words that they know."""

from __future__ import annotations

import pytest
import torch

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.modalities.synthetic_text import synthetic_questions
from rlstitch.modalities.text import LabelledTexts
from rlstitch.studies.training.networks import (
    TEXT_ARCHITECTURES,
    MeanOfWords,
    TextTransformer,
    Vocabulary,
    text_encoder,
    text_samples,
)
from rlstitch.studies.training.trainers import accuracy, encode, train_classifier


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


@pytest.fixture(scope="module")
def questions() -> LabelledTexts:
    return synthetic_questions(240, seed=3)


@pytest.mark.parametrize("arch", TEXT_ARCHITECTURES)
def test_training_learns_and_is_fixed_by_its_seed(questions: LabelledTexts, arch: str) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    samples = text_samples(arch, questions, questions, width=40)
    one, again, other = (
        train_classifier(
            samples, text_encoder, arch, seed=seed, epochs=8, latent_dim=8, batch_size=16, learning_rate=3e-3
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.name == f"{arch}-s1"
    spaces = [encode(model.encoder, samples) for model in (one, again, other)]
    assert torch.equal(spaces[0].vectors, spaces[1].vectors)
    assert spaces[0].keys == questions.keys
    assert accuracy(one.head, spaces[0].vectors, questions.labels) > 0.9
    assert accuracy(one.head, spaces[2].vectors, questions.labels) < 0.7


def test_texts_that_cannot_be_encoded(questions: LabelledTexts) -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        text_samples("word", questions, questions)
    with pytest.raises(UnknownNameError, match="text architecture"):
        text_encoder("lsi", torch.zeros(3, 2))
    with pytest.raises(InvalidInputError, match=r"width must lie in"):
        text_samples("lsa", questions, questions, width=4000)
