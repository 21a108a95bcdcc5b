"""Encoder architectures for images."""

from __future__ import annotations

import pytest
import torch

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.studies.training.networks import IMAGE_ARCHITECTURES, image_encoder


@pytest.mark.parametrize("arch", IMAGE_ARCHITECTURES)
@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (12, 16)])
def test_every_encoder_gives_latents_of_its_width(arch: str, shape: tuple[int, int]) -> None:
    if arch == "vit" and shape == (12, 16):
        shape = (16, 20)
    encoder = image_encoder(arch, images := torch.rand(3, 1, *shape), 7)
    latents = encoder(images)
    assert latents.shape == (3, 7)
    # No image sees another.
    assert torch.allclose(encoder(images[1:2]), latents[1:2], atol=1e-5)


@pytest.mark.parametrize("arch", ["cnn", "vit"])
def test_an_encoder_sees_where_things_are(arch: str) -> None:
    torch.manual_seed(0)
    image = torch.zeros(1, 1, 8, 8)
    image[..., :2, :2] = 1
    encoder = image_encoder(arch, image, 5)
    assert not torch.allclose(encoder(image), encoder(image.flip(3)), atol=1e-3)


def test_encoders_that_cannot_be_made() -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        image_encoder("cnnn", torch.zeros(1, 1, 8, 8))
    with pytest.raises(InvalidInputError, match="multiple of the patches' side 2"):
        image_encoder("vit", torch.zeros(1, 1, 9, 8))
    with pytest.raises(InvalidInputError, match="at least 4 x 4"):
        image_encoder("mlp", torch.zeros(1, 1, 3, 8))
