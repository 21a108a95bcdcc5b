"""Encoder architectures for grey images, spectra of sounds, and texts.

Texts: `lsa`: TF-IDF reduced by SVD (`tfidf_space`), then a small network. `words`: the mean of learned word vectors,
then a small network (Iyyer et al. 2015, deep averaging). `transformer`: learned word vectors with positions and a layer
of attention (Vaswani et al. 2017, 1706.03762).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rlstitch.errors import InvalidInputError, require_known
from rlstitch.modalities.text import LabelledTexts, tfidf_space
from rlstitch.studies.training.trainers import Samples, as_samples

IMAGE_ARCHITECTURES = ("cnn", "mlp", "vit")
AUDIO_ARCHITECTURES = ("cnn", "gru", "mlp")
TEXT_ARCHITECTURES = ("lsa", "words", "transformer")
_PADDING, _UNKNOWN = 0, 1
_WORD_DROPOUT = 0.2
"""Share of words that training replaces by the unknown word, so that its vector is trained too."""


class PatchTransformer(nn.Module):
    """A small vision transformer (Dosovitskiy et al. 2020, 2010.11929) with learned positions and pre-norm layers.

    All tokens are read out: with their mean, or a class token, it learns several times more slowly at this size.
    """

    def __init__(self, shape: tuple[int, int], latent_dim: int, *, patch: int, width: int = 64) -> None:
        super().__init__()
        tokens = (shape[0] // patch) * (shape[1] // patch)
        self.embed = nn.Conv2d(1, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.randn(tokens, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Flatten(), nn.Linear(tokens * width, latent_dim))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 1, h, w) -> (n, latent_dim)."""
        tokens = self.embed(images).flatten(2).transpose(1, 2) + self.positions
        return self.out(self.layers(tokens))


def image_encoder(arch: str, images: torch.Tensor, latent_dim: int = 64) -> nn.Module:
    """Make an encoder (n, 1, h, w) in [0, 1] -> (n, latent_dim), with weights from torch's global generator.

    `cnn`: three 3 x 3 convolutions (16, 32, 64), two of them with stride 2, and a linear layer. `mlp`: two hidden
    layers of 256. `vit`: patches of 4 (of 2 for images below 16), width 64, two layers of four heads.

    Args:
        arch: one of `IMAGE_ARCHITECTURES`.
        images: of the shape to be encoded, (n, 1, h, w); their values do not matter.
        latent_dim: width of the latent space.

    Raises:
        UnknownNameError: for another architecture.
        InvalidInputError: for a side below 4 or, with `vit`, one that patches do not divide, or a width below 1.
    """
    require_known("image architecture", arch, IMAGE_ARCHITECTURES)
    height, width = shape = (images.shape[-2], images.shape[-1])
    if min(shape) < 4 or latent_dim < 1:
        raise InvalidInputError(
            f"shape must be at least 4 x 4 and latent_dim at least 1, found {shape} and {latent_dim}"
        )
    if arch == "mlp":
        return nn.Sequential(
            nn.Flatten(), nn.Linear(height * width, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(),
            nn.Linear(256, latent_dim),
        )  # fmt: skip
    if arch == "vit":
        patch = 2 if min(shape) < 16 else 4
        if height % patch or width % patch:
            raise InvalidInputError(f"shape must be a multiple of the patches' side {patch}, found {shape}")
        return PatchTransformer(shape, latent_dim, patch=patch)
    flat = 64 * -(-height // 4) * -(-width // 4)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(flat, latent_dim),
    )  # fmt: skip


class Recurrent(nn.Module):
    """A bidirectional gated recurrent unit (Cho et al. 2014, 1406.1078), two frames a step, and the mean of states."""

    def __init__(self, bands: int, latent_dim: int, width: int = 64) -> None:
        super().__init__()
        self.unit = nn.GRU(2 * bands, width, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * width, latent_dim)

    def forward(self, spectra: torch.Tensor) -> torch.Tensor:
        """(n, bands, frames) -> (n, latent_dim)."""
        frames = spectra.shape[2] // 2 * 2
        states, _ = self.unit(spectra[..., :frames].transpose(1, 2).reshape(len(spectra), frames // 2, -1))
        return self.out(states.mean(1))


class RandomShift(nn.Module):
    """In training, shifts each sound in time by up to `most` frames, cyclically; otherwise the identity."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, spectra: torch.Tensor) -> torch.Tensor:
        """(n, bands, frames) -> the same shape."""
        if not self.training:
            return spectra
        shift = torch.randint(-self.most, self.most + 1, (len(spectra), 1, 1), device=spectra.device)
        frames = (torch.arange(spectra.shape[2], device=spectra.device) - shift) % spectra.shape[2]
        return spectra.gather(2, frames.expand(spectra.shape))


def audio_encoder(arch: str, spectra: torch.Tensor, latent_dim: int = 64) -> nn.Module:
    """Make an encoder (n, bands, frames) -> (n, latent_dim), with weights from torch's global generator.

    `cnn`: three 3 x 3 convolutions (16, 32, 64) with stride 2, the mean over time, a linear layer. `gru`: `Recurrent`.
    `mlp`: `RandomShift` by up to 4 frames, every two frames averaged, hidden layers of 256 and 128 with batch
    normalisation.

    Args:
        arch: one of `AUDIO_ARCHITECTURES`.
        spectra: of the shape to be encoded; their values do not matter.
        latent_dim: width of the latent space.

    Raises:
        UnknownNameError: for another architecture.
        InvalidInputError: for spectra of another shape, a side below 8, or a width below 1.
    """
    require_known("audio architecture", arch, AUDIO_ARCHITECTURES)
    if spectra.ndim != 3 or min(spectra.shape[1:]) < 8 or latent_dim < 1:
        raise InvalidInputError(
            "spectra must be (n, bands, frames), at least 8 x 8, and latent_dim at least 1, found "
            f"{tuple(spectra.shape)} and {latent_dim}"
        )
    bands, frames = spectra.shape[1:]
    if arch == "gru":
        return Recurrent(bands, latent_dim)
    if arch == "mlp":
        return nn.Sequential(
            RandomShift(4), nn.AvgPool1d(2), nn.Flatten(), nn.Dropout(0.3),
            nn.Linear(bands * (frames // 2), 256), nn.BatchNorm1d(256), nn.ReLU(),
            nn.Linear(256, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, latent_dim),
        )  # fmt: skip
    return nn.Sequential(
        nn.Unflatten(1, (1, bands)),
        nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d((-(-bands // 8), 2)), nn.Flatten(), nn.Linear(128 * -(-bands // 8), latent_dim),
    )  # fmt: skip


@dataclass(frozen=True)
class Vocabulary:
    """Words, numbered from 2 on; 0 is padding, 1 the unknown word."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str], *, least: int = 2) -> Vocabulary:
        """Collect the lower-case words, separated by spaces, that occur at least `least` times in the texts."""
        counts = Counter(word for text in texts for word in text.lower().split())
        return cls(tuple(sorted(word for word, count in counts.items() if count >= least)))

    def __len__(self) -> int:
        return len(self.words) + 2

    def tokens(self, texts: Sequence[str], *, length: int = 24) -> torch.Tensor:
        """Return the numbers int64 (n, length) of the first words of each text, padded with 0.

        Raises:
            InvalidInputError: for no texts, or a length below 1.
        """
        if not texts or length < 1:
            raise InvalidInputError(f"expected texts and a length from 1 on, found {len(texts)} and {length}")
        number = {word: place for place, word in enumerate(self.words, start=2)}
        tokens = np.zeros((len(texts), length), dtype=np.int64)
        for row, text in enumerate(texts):
            words = [number.get(word, _UNKNOWN) for word in text.lower().split()[:length]] or [_UNKNOWN]
            tokens[row, : len(words)] = words
        return torch.tensor(tokens)


class MeanOfWords(nn.Module):
    """Tokens (n, length) -> (n, latent_dim): the mean of their vectors, then a hidden layer."""

    def __init__(self, words: int, latent_dim: int, width: int = 128) -> None:
        super().__init__()
        self.vectors = nn.Embedding(words, width, padding_idx=_PADDING)
        self.out = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, latent_dim))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(n, length) -> (n, latent_dim)."""
        tokens = _drop_words(tokens, self.training)
        count = (tokens != _PADDING).sum(1, keepdim=True).clamp(min=1)
        return self.out(self.vectors(tokens).sum(1) / count.sqrt())


class TextTransformer(nn.Module):
    """Tokens (n, length) -> (n, latent_dim): one pre-norm layer of four heads, then the maximum over words."""

    def __init__(self, words: int, latent_dim: int, length: int, width: int = 64) -> None:
        super().__init__()
        self.vectors = nn.Embedding(words, width, padding_idx=_PADDING)
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=2 * width, dropout=0.1, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, num_layers=1, enable_nested_tensor=False)
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, latent_dim))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(n, length) -> (n, latent_dim)."""
        tokens = _drop_words(tokens, self.training)
        empty = tokens == _PADDING
        states = self.layers(self.vectors(tokens) + self.positions[: tokens.shape[1]], src_key_padding_mask=empty)
        return self.out(states.masked_fill(empty[..., None], -1e4).amax(1))


def text_samples(arch: str, texts: LabelledTexts, known: LabelledTexts, *, width: int = 200) -> Samples:
    """Texts as the inputs of an architecture.

    Args:
        arch: one of `TEXT_ARCHITECTURES`.
        texts: to be converted.
        known: give the vocabulary, or the weights and directions of latent semantic analysis.
        width: of latent semantic analysis.

    Returns:
        Coordinates float (n, width) of LSA, or tokens int64 (n, 24).

    Raises:
        UnknownNameError: for another architecture.
        InvalidInputError: for no texts, or a `width` that the known texts do not give.
    """
    require_known("text architecture", arch, TEXT_ARCHITECTURES)
    if arch == "lsa":
        space = tfidf_space(texts.texts, texts.keys, width=width, fit_on=known.texts)
        # Roughly of unit variance, as networks need it.
        inputs = torch.tensor(space.vectors, dtype=torch.float32) * math.sqrt(width)
    else:
        inputs = Vocabulary.of(known.texts).tokens(texts.texts)
    return as_samples(texts, inputs)


def text_encoder(arch: str, inputs: torch.Tensor, latent_dim: int = 64) -> nn.Module:
    """Make an encoder (n, d) -> (n, latent_dim), with weights from torch's global generator.

    Args:
        arch: one of `TEXT_ARCHITECTURES`.
        inputs: those of `text_samples`, with every word of the vocabulary.
        latent_dim: width of the latent space.

    Raises:
        UnknownNameError: for another architecture.
    """
    require_known("text architecture", arch, TEXT_ARCHITECTURES)
    if arch == "lsa":
        return nn.Sequential(
            nn.Dropout(_WORD_DROPOUT), nn.Linear(inputs.shape[1], 128), nn.ReLU(), nn.Linear(128, latent_dim)
        )
    words = max(int(inputs.max()), _UNKNOWN) + 1
    return MeanOfWords(words, latent_dim) if arch == "words" else TextTransformer(words, latent_dim, inputs.shape[1])


def _drop_words(tokens: torch.Tensor, training: bool) -> torch.Tensor:
    if not training:
        return tokens
    dropped = (torch.rand(tokens.shape, device=tokens.device) < _WORD_DROPOUT) & (tokens != _PADDING)
    return tokens.masked_fill(dropped, _UNKNOWN)
