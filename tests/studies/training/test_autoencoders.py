"""Autoencoders fall into two parts that are trained by a seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.modalities.image import load_digits
from rlstitch.studies.training.trainers import (
    KINDS,
    Samples,
    encode,
    image_samples,
    reconstruction_error,
    train_autoencoder,
    train_decoder,
)


@pytest.fixture(scope="module")
def digits() -> Samples:
    return image_samples(load_digits().subset(np.arange(300)))


@pytest.mark.parametrize("kind", KINDS)
def test_training_learns_and_is_fixed_by_its_seed(digits: Samples, kind: str) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, again, other = (
        train_autoencoder(digits.inputs, kind=kind, seed=seed, epochs=50, latent_dim=8, hidden=64, batch_size=32)
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.name == f"{kind}-s1"
    seen, same, turned = (encode(model.encoder, digits).vectors for model in (one, again, other))
    assert torch.equal(seen, same)
    # Better than the mean image, which knows nothing of an image; a stranger's latents are worse.
    pixels = digits.inputs
    blind = float((pixels - pixels.mean(0)).square().mean())
    own = reconstruction_error(one.head, seen, pixels)
    assert own < 0.8 * blind
    assert reconstruction_error(one.head, turned, pixels) > 1.2 * own
    decoder = train_decoder(turned, pixels, seed=0, epochs=50, hidden=64, batch_size=32)
    assert reconstruction_error(decoder, turned, pixels) < 0.8 * blind


def test_latents_of_a_variational_one_are_near_the_standard_normal_where_it_is_told_so(digits: Samples) -> None:
    strict = train_autoencoder(
        digits.inputs, kind="vae", seed=0, epochs=12, latent_dim=8, hidden=64, beta=1000, batch_size=32
    )
    assert float(encode(strict.encoder, digits).vectors.square().mean()) < 0.1


def test_the_error_by_hand(digits: Samples) -> None:
    class Grey(torch.nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return torch.full((len(features), 1, 8, 8), 0.5)

    naive = float(((digits.inputs - 0.5) ** 2).mean())
    assert reconstruction_error(Grey(), torch.zeros(300, 2), digits.inputs) == pytest.approx(naive, rel=1e-5)


def test_training_that_cannot_be_done(digits: Samples) -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        train_autoencoder(digits.inputs, kind="vea", seed=0, epochs=1)
    with pytest.raises(InvalidInputError, match="beta must be above 0, found 0"):
        train_autoencoder(digits.inputs, kind="vae", seed=0, epochs=1, beta=0)
    with pytest.raises(InvalidInputError, match="epochs must be above 0"):
        train_autoencoder(digits.inputs, kind="ae", seed=0, epochs=0)
    with pytest.raises(InvalidInputError, match=r"features must be \(300, d\), one an image, found \(3, 2\)"):
        train_decoder(torch.zeros(3, 2), digits.inputs, seed=0, epochs=1)
