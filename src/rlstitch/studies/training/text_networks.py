"""Three encoder architectures for texts.

`lsa`: TF-IDF reduced by SVD (`tfidf_space`), then a small network. `words`: the mean of learned word vectors, then a
small network (Iyyer et al. 2015, deep averaging). `transformer`: learned word vectors with positions and a layer of
attention (Vaswani et al. 2017, 1706.03762).
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
from rlstitch.studies.training.classifiers import Samples, as_samples

ARCHITECTURES = ("lsa", "words", "transformer")

_PADDING, _UNKNOWN = 0, 1
_WORD_DROPOUT = 0.2
"""Share of words that training replaces by the unknown word, so that its vector is trained too."""


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
        latents: torch.Tensor = self.out(self.vectors(tokens).sum(1) / count.sqrt())
        return latents


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
        latents: torch.Tensor = self.out(states.masked_fill(empty[..., None], -1e4).amax(1))
        return latents


def text_samples(arch: str, texts: LabelledTexts, known: LabelledTexts, *, width: int = 200) -> Samples:
    """Texts as the inputs of an architecture.

    Args:
        arch: one of `ARCHITECTURES`.
        texts: to be converted.
        known: give the vocabulary, or the weights and directions of latent semantic analysis.
        width: of latent semantic analysis.

    Returns:
        Coordinates float (n, width) of LSA, or tokens int64 (n, 24).

    Raises:
        UnknownNameError: for another architecture.
        InvalidInputError: for no texts, or a `width` that the known texts do not give.
    """
    require_known("text architecture", arch, ARCHITECTURES)
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
        arch: one of `ARCHITECTURES`.
        inputs: those of `text_samples`, with every word of the vocabulary.
        latent_dim: width of the latent space.

    Raises:
        UnknownNameError: for another architecture.
    """
    require_known("text architecture", arch, ARCHITECTURES)
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
