"""Simple encoders of texts, images and sounds that need no download and no training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import InvalidInputError
from rlstitch.modalities.items import Encode, ItemEncoder
from rlstitch.modalities.wav import Sound

_WIDTH = 256
_SIDE = 16
_RATE = 16_000


def hashed_words(texts: Sequence[str]) -> NDArray[np.float32]:
    """Words and pairs of words, hashed into 256 signed counts of unit length (Weinberger et al. 2009, 0902.2206)."""
    from sklearn.feature_extraction.text import HashingVectorizer

    counts = HashingVectorizer(n_features=_WIDTH, ngram_range=(1, 2), token_pattern=r"\S+").transform(texts)
    return np.asarray(counts.toarray(), dtype=np.float32)


def small_greys(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Images uint8 (h, w, 3) as 16 x 16 greys in [0, 1], each the mean of a box: (m, 256)."""
    from PIL import Image

    small = [
        np.asarray(Image.fromarray(image).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)) for image in images
    ]
    return np.stack(small).reshape(len(small), -1).astype(np.float32) / np.float32(255)


def mel_means(sounds: Sequence[Sound]) -> NDArray[np.float32]:
    """Mean and spread over time of 32 bands of the logarithmic mel spectrum at 16 kHz: (m, 64).

    Raises InvalidInputError for a sound below 512 samples.
    """
    from rlstitch.modalities.audio import log_mel
    from rlstitch.modalities.pretrained import resample

    rows = []
    for samples, rate in sounds:
        bands = log_mel(resample(samples, rate, _RATE)[None], rate=_RATE, window=512)[0].numpy()
        rows.append(np.concatenate([bands.mean(1), bands.std(1)]))
    return np.stack(rows).astype(np.float32)


PLAIN: dict[str, tuple[str, Encode]] = {
    "text": ("hashing", hashed_words),
    "image": ("greys", small_greys),
    "audio": ("mel", mel_means),
}
"""Modality -> the name of its encoder, and the encoder."""


def plain_encoder(modality: str) -> ItemEncoder:
    """Return the simple encoder of a modality. Raises InvalidInputError for a modality that has none."""
    if modality not in PLAIN:
        raise InvalidInputError(f"modality must be one of {', '.join(PLAIN)}, found {modality!r}")
    name, encode = PLAIN[modality]
    return ItemEncoder(name, f"plain-{name}-1", encode)
