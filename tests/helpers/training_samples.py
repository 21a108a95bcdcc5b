"""A small policy of images, for tests of what trains it."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from rlstitch.training.policy import EncoderControllerPolicy, EncoderExtractor

SPACE, ACTIONS = spaces.Box(0, 255, (3, 40, 40), np.uint8), spaces.Discrete(3)


def policy_of_images() -> EncoderControllerPolicy:
    """A policy whose encoder is `small`, which computes patches of 8 x 8 pixels first."""
    encoder = {"kind": "cnn", "arch": "small", "image_shape": [40, 40, 3], "latent_dim": 8}
    return EncoderControllerPolicy(
        SPACE,
        ACTIONS,
        lambda _: 1e-3,
        controller_spec={"latent_dim": 8, "actions": {"kind": "discrete", "n": 3}, "hidden": [8]},
        features_extractor_class=EncoderExtractor,
        features_extractor_kwargs={"encoder_spec": encoder},
    )
