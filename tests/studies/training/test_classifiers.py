"""Classifiers are trained in two parts, each fixed by its seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlstitch.errors import InvalidInputError
from rlstitch.modalities.image import load_digits
from rlstitch.studies.training.networks import image_encoder
from rlstitch.studies.training.trainers import (
    Samples,
    accuracy,
    batched,
    classifier_head,
    encode,
    image_samples,
    nearest_class_mean,
    train_classifier,
    train_head,
)


@pytest.fixture(scope="module")
def some_digits() -> tuple[Samples, Samples]:
    digits = image_samples(load_digits())
    return digits.subset(np.arange(400)), digits.subset(np.arange(400, 600))


def test_training_learns_and_is_fixed_by_its_seed(some_digits: tuple[Samples, Samples]) -> None:
    train, test = some_digits
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, again, other = (
        train_classifier(train, image_encoder, "mlp", seed=seed, epochs=15, latent_dim=8, batch_size=32)
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.name == "mlp-s1"
    spaces = [encode(model.encoder, test, name=model.name) for model in (one, again, other)]
    assert torch.equal(spaces[0].vectors, spaces[1].vectors)
    assert not torch.allclose(spaces[0].vectors, spaces[2].vectors, atol=0.1)
    assert spaces[0].keys == test.keys
    assert accuracy(one.head, spaces[0].vectors, test.labels) > 0.7
    # A head trained alone on another's latents does as well; as it is, the first head does not.
    head = train_head(encode(other.encoder, train).vectors, train.labels, 10, seed=0, epochs=15, batch_size=32)
    assert accuracy(head, spaces[2].vectors, test.labels) > 0.7
    assert accuracy(one.head, spaces[2].vectors, test.labels) < 0.5


def test_encoding_in_batches_is_encoding_at_once(some_digits: tuple[Samples, Samples]) -> None:
    images = some_digits[1]
    torch.manual_seed(0)
    encoder = image_encoder("cnn", images.inputs, 6)
    with torch.no_grad():
        naive = encoder(images.inputs)
    assert torch.allclose(batched(encoder, images.inputs, batch_size=64), naive, atol=1e-5)


def test_accuracy_by_hand() -> None:
    head = torch.nn.Identity()
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 2.0], [0.0, 9.0]])
    assert accuracy(head, logits, np.array([0, 1, 1, 1])) == 0.75


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": float("inf")}])
def test_training_that_cannot_be_done(some_digits: tuple[Samples, Samples], wrong: dict[str, float]) -> None:
    options = {"epochs": 1, **wrong}
    with pytest.raises(InvalidInputError, match=f"{next(iter(wrong))} must be above 0"):
        train_classifier(some_digits[0], image_encoder, "mlp", seed=0, **options)  # type: ignore[arg-type]


def test_nothing_to_train_on_or_to_encode(some_digits: tuple[Samples, Samples]) -> None:
    none = some_digits[0].subset(np.arange(0))
    with pytest.raises(InvalidInputError, match="at least one sample"):
        train_classifier(none, image_encoder, "mlp", seed=0, epochs=1)
    with pytest.raises(InvalidInputError, match="at least one row"):
        encode(classifier_head(64, 2), none)
    with pytest.raises(InvalidInputError, match=r"labels \(n,\), found \(3, 2\)"):
        train_head(torch.zeros(3, 2), np.zeros(2, np.int64), 2, seed=0, epochs=1)


def test_the_nearest_class_mean_is_that_of_the_naive_search() -> None:
    rng = np.random.default_rng(0)
    known, queries = rng.normal(size=(60, 5)), rng.normal(size=(20, 5))
    labels = rng.choice([0, 2, 7], size=60)
    result = nearest_class_mean(torch.tensor(known), labels, torch.tensor(queries))
    middle = known.mean(0)
    for query, label in zip(queries - middle, result, strict=True):
        cosines = {c: (m := known[labels == c].mean(0) - middle) @ query / np.linalg.norm(m) for c in (0, 2, 7)}
        assert label == max(cosines, key=cosines.__getitem__)
    with pytest.raises(InvalidInputError, match=r"one a known row \(60\), found \(59,\)"):
        nearest_class_mean(torch.tensor(known), labels[1:], torch.tensor(queries))
