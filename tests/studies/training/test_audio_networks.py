"""Encoder architectures for spectra of sounds, and classifiers made of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.modalities.audio import synthetic_sounds
from rlstitch.studies.training.networks import AUDIO_ARCHITECTURES, RandomShift, audio_encoder
from rlstitch.studies.training.trainers import Samples, accuracy, encode, sound_samples, train_classifier


@pytest.mark.parametrize("arch", AUDIO_ARCHITECTURES)
def test_training_learns_and_is_fixed_by_its_seed(arch: str) -> None:
    sounds = sound_samples(synthetic_sounds(8, classes=3))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, again = (
        train_classifier(sounds, audio_encoder, arch, seed=1, epochs=8, latent_dim=8, batch_size=12, learning_rate=2e-3)
        for _ in range(2)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    space, same = (encode(model.encoder, sounds) for model in (one, again))
    assert torch.equal(space.vectors, same.vectors)
    assert (space.vectors.shape, space.keys, one.name) == ((72, 8), sounds.keys, f"{arch}-s1")
    assert accuracy(one.head, space.vectors, sounds.labels) > 0.9


def test_sounds_are_shifted_in_time_in_training_only() -> None:
    spectra = torch.rand(50, 8, 12)
    shift = RandomShift(2)
    steps = [
        next(by for by in range(-2, 3) if torch.equal(row.roll(by, 1), other))
        for row, other in zip(spectra, shift(spectra), strict=True)
    ]
    assert set(steps) == {-2, -1, 0, 1, 2}
    assert torch.equal(shift.eval()(spectra), spectra)


def test_encoders_that_cannot_be_made() -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        audio_encoder("gur", torch.zeros(1, 16, 20))
    with pytest.raises(InvalidInputError, match=r"at least 8 x 8.* at least 1, found \(1, 4, 20\) and 64"):
        audio_encoder("cnn", torch.zeros(1, 4, 20))
    with pytest.raises(InvalidInputError, match=r"spectra must be \(n, bands, frames\).* found \(3, 20\)"):
        audio_encoder("cnn", torch.zeros(3, 20))
    with pytest.raises(InvalidInputError, match=r"one of each an item, found .*'inputs': 3"):
        Samples(inputs=torch.zeros(3, 9, 9), labels=np.zeros(2, np.int64), keys=("a", "b"), classes=2)
    five = Samples(inputs=torch.zeros(5, 9, 9), labels=np.zeros(5, np.int64), keys=tuple("abcde"), classes=2)
    for batch_size in (4, 1):
        with pytest.raises(InvalidInputError, match=f"found one of 5 in batches of {batch_size}"):
            train_classifier(five, audio_encoder, "mlp", seed=0, epochs=1, batch_size=batch_size)
