"""Three small text encoders of different kind, and the training of classifiers of texts that fall into two parts.

`lsa`: TF-IDF reduced by SVD (`tfidf_space`), then a small network. `words`: the mean of word vectors that are learned
here, then the same (Iyyer et al. 2015, deep averaging). `transformer`: word vectors with positions and a layer of
attention (Vaswani et al. 2017, 1706.03762).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.modalities.classifiers import Classifier, train_parts
from rlstitch.modalities.text import LabelledTexts, tfidf_space

KINDS = ("lsa", "words", "transformer")

_NONE, _UNKNOWN = 0, 1
_FORGOTTEN = 0.2
"""Share of words that training takes for unknown, so that unknown ones do no harm later."""


@dataclass(frozen=True)
class Vocabulary:
    """Words and their numbers, from 2 on; 0 stands for no word, 1 for an unknown one."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str], *, least: int = 2) -> Vocabulary:
        """The words, split at spaces and in small letters, that stand at least `least` times in the texts."""
        counts = Counter(word for text in texts for word in text.lower().split())
        return cls(tuple(sorted(word for word, count in counts.items() if count >= least)))

    def __len__(self) -> int:
        return len(self.words) + 2

    def tokens(self, texts: Sequence[str], *, length: int = 24) -> torch.Tensor:
        """The numbers int64 (n, length) of the first words of each text, then 0. Raises InvalidInputError for no
        texts.
        """
        if not texts or length < 1:
            raise InvalidInputError(f"expected texts and a length from 1 on, found {len(texts)} and {length}")
        number = {word: place for place, word in enumerate(self.words, start=2)}
        found = np.zeros((len(texts), length), dtype=np.int64)
        for row, text in enumerate(texts):
            some = [number.get(word, _UNKNOWN) for word in text.lower().split()[:length]] or [_UNKNOWN]
            found[row, : len(some)] = some
        return torch.tensor(found)


class MeanOfWords(nn.Module):
    """Tokens (n, length) -> (n, latent_dim): the mean of their vectors, then a hidden layer."""

    def __init__(self, words: int, latent_dim: int, width: int = 128) -> None:
        super().__init__()
        self.vectors = nn.Embedding(words, width, padding_idx=_NONE)
        self.out = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, latent_dim))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(n, length) -> (n, latent_dim)."""
        tokens = _forget(tokens, self.training)
        count = (tokens != _NONE).sum(1, keepdim=True).clamp(min=1)
        latents: torch.Tensor = self.out(self.vectors(tokens).sum(1) / count.sqrt())
        return latents


class TextTransformer(nn.Module):
    """Tokens (n, length) -> (n, latent_dim): one layer of four heads with the norm first; the largest value that any
    word gives is read out.
    """

    def __init__(self, words: int, latent_dim: int, length: int, width: int = 64) -> None:
        super().__init__()
        self.vectors = nn.Embedding(words, width, padding_idx=_NONE)
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=2 * width, dropout=0.1, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, num_layers=1, enable_nested_tensor=False)
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, latent_dim))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(n, length) -> (n, latent_dim)."""
        tokens = _forget(tokens, self.training)
        empty = tokens == _NONE
        seen = self.layers(self.vectors(tokens) + self.positions[: tokens.shape[1]], src_key_padding_mask=empty)
        latents: torch.Tensor = self.out(seen.masked_fill(empty[..., None], -1e4).amax(1))
        return latents


def text_inputs(kind: str, texts: LabelledTexts, known: LabelledTexts, *, width: int = 200) -> torch.Tensor:
    """What encoders of that kind see of texts, with words and weights from the `known` ones: LSA's coordinates float
    (n, width), or tokens int64 (n, 24).

    Raises:
        UnknownNameError: for another `kind` than `KINDS`.
        InvalidInputError: for no texts, or a `width` that the known texts do not give.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of text encoder", kind, KINDS)
    if kind != "lsa":
        return Vocabulary.of(known.texts).tokens(texts.texts)
    space = tfidf_space(texts.texts, texts.keys, width=width, fit_on=known.texts)
    # Of unit variance, roughly, as networks like their inputs.
    return torch.tensor(space.vectors, dtype=torch.float32) * math.sqrt(width)


def train_text_classifier(
    inputs: torch.Tensor,
    labels: NDArray[np.int64],
    classes: int,
    *,
    kind: str,
    seed: int,
    epochs: int,
    latent_dim: int = 64,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    device: str = "cpu",
) -> Classifier:
    """Train an encoder and a head together on the cross-entropy, as `train_classifier` does on images.

    Raises:
        UnknownNameError: for another `kind` than `KINDS`.
        InvalidInputError: where there is not one label an input, for no inputs, or `epochs`, `batch_size` or
            `learning_rate` not above 0.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of text encoder", kind, KINDS)
    if inputs.ndim != 2 or labels.shape != (len(inputs),):
        raise InvalidInputError(
            f"inputs must be (n, d) and labels (n,), found {tuple(inputs.shape)} and {labels.shape}"
        )
    return train_parts(
        inputs, labels, classes, lambda: _encoder(kind, inputs, latent_dim), kind, seed=seed, epochs=epochs,
        latent_dim=latent_dim, batch_size=batch_size, learning_rate=learning_rate, device=device,
    )  # fmt: skip


def _encoder(kind: str, inputs: torch.Tensor, latent_dim: int) -> nn.Module:
    if kind == "lsa":
        return nn.Sequential(
            nn.Dropout(_FORGOTTEN), nn.Linear(inputs.shape[1], 128), nn.ReLU(), nn.Linear(128, latent_dim)
        )
    # Known texts hold every word of the vocabulary, as its words are theirs; unknown ones are 1.
    words = max(int(inputs.max()), _UNKNOWN) + 1
    return (
        MeanOfWords(words, latent_dim)
        if kind == "words"
        else TextTransformer(words, latent_dim, length=inputs.shape[1])
    )


def _forget(tokens: torch.Tensor, training: bool) -> torch.Tensor:
    if not training:
        return tokens
    forgotten = (torch.rand(tokens.shape, device=tokens.device) < _FORGOTTEN) & (tokens != _NONE)
    return tokens.masked_fill(forgotten, _UNKNOWN)
