"""Words and sentences as latent spaces: word vectors from npz files, TF-IDF with SVD of texts.

Latent semantic analysis: Deerwester et al. 1990; `train_sentence_encoder` fits it on one language alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError, InvalidInputError, require_known
from rlstitch.latent import LatentSpace
from rlstitch.modalities.compressed import read_gzip
from rlstitch.modalities.labelled import Labelled
from rlstitch.storage import open_archive, printable, read_array

UNITS: dict[str, tuple[str, tuple[int, int]]] = {"characters": ("char_wb", (2, 4)), "words": ("word", (1, 1))}
"""Unit -> scikit-learn's analyzer and n-grams: 2 to 4 characters inside of words (parts of compounds), or words."""

TREC_CLASSES = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")
"""The coarse classes of Li and Roth (2002), in the order of their labels."""

TREC_FILES = {"train": "TREC.train.gz", "test": "TREC.test.gz"}


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledTexts(Labelled):
    """Texts with labels."""

    texts: tuple[str, ...]


def read_word_vectors(path: Path | str, *, name: str = "") -> LatentSpace[NDArray[np.float32]]:
    """Read an npz of `words` (n,), different Unicode strings, and `vectors` (n, d), floats.

    Returns:
        A space with the words as keys.

    Raises:
        ArtefactError: where the file is missing, no npz, or does not hold these two arrays; a pickle in it is refused.
    """
    path = Path(path)
    with open_archive(path, f"cannot read {path}: expected an npz file") as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if not {"words", "vectors"} <= set(names):
            raise ArtefactError(
                f"{path}: expected arrays words and vectors, found {printable(', '.join(names), limit=200)}"
            )
        words, vectors = read_array(archive, "words"), read_array(archive, "vectors")
    if words.dtype.kind != "U" or words.ndim != 1 or vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise ArtefactError(
            f"{path}: expected words (n,) of text and vectors (n, d) of floats, found {words.dtype} {words.shape} and "
            f"{vectors.dtype} {vectors.shape}"
        )
    try:
        if len(words) != len(vectors):
            raise InvalidInputError(f"{len(words)} words and {len(vectors)} vectors")
        return LatentSpace(vectors.astype(np.float32), tuple(str(word) for word in words), name or path.stem)
    except InvalidInputError as error:
        raise ArtefactError(f"{path}: holds no word vectors: {error}") from None


def read_trec(path: Path | str) -> LabelledTexts:
    """Read TREC questions, compressed by gzip: one `COARSE:fine text` a line, Latin-1. Keys are `<file>-<line>`.

    Raises:
        ArtefactError: where the file is missing, no gzip, or a line is not of this form; the line is named.
    """
    path = Path(path)
    texts, labels, keys = [], [], []
    # Not `splitlines`, which also breaks at characters that occur inside of questions.
    for number, line in enumerate(read_gzip(path).decode("latin-1").split("\n"), start=1):
        if not line.strip():
            continue
        label, _, text = line.strip().partition(" ")
        coarse = label.partition(":")[0]
        if coarse not in TREC_CLASSES or ":" not in label or not text:
            raise ArtefactError(
                f"{path}, line {number}: expected COARSE:fine text with one of {', '.join(TREC_CLASSES)}, "
                f"found {line[:40]!r}"
            )
        texts.append(text)
        labels.append(TREC_CLASSES.index(coarse))
        keys.append(f"{path.stem}-{number}")
    return LabelledTexts(
        texts=tuple(texts), labels=np.array(labels, dtype=np.int64), keys=tuple(keys), classes=len(TREC_CLASSES)
    )


def fit_lsa(
    texts: Sequence[str],
    analyzer: str,
    ngrams: tuple[int, int],
    width: int,
    *,
    seed: int,
    n_iter: int = 5,
    **terms: Any,
) -> tuple[Any, Any]:
    """Fit latent semantic analysis (Deerwester et al. 1990): TF-IDF, then the `width` largest singular directions.

    Args:
        texts: give vocabulary, weights and directions.
        analyzer: scikit-learn's, `word` or `char_wb`.
        ngrams: range of lengths of its n-grams.
        width: number of directions.
        seed: of the randomised decomposition (Halko et al. 2009, 0909.4061).
        n_iter: its iterations.
        terms: further options of `TfidfVectorizer`.

    Returns:
        scikit-learn's vectorizer and decomposition.

    Raises:
        InvalidInputError: for texts without terms, or that do not give `width` directions.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    pattern = r"\S+" if analyzer == "word" else None
    vectorizer = TfidfVectorizer(
        analyzer=analyzer, ngram_range=ngrams, token_pattern=pattern, sublinear_tf=True, **terms
    )
    try:
        weights = vectorizer.fit_transform(texts)
    except ValueError:
        raise InvalidInputError(
            f"texts must hold terms that stand in at least {vectorizer.min_df} of them, found none in {len(texts)}"
        ) from None
    if not 1 <= width < min(weights.shape):
        raise InvalidInputError(
            f"width must lie in [1, {min(weights.shape) - 1}] for {weights.shape[0]} texts of {weights.shape[1]} "
            f"terms, found {width}"
        )
    return vectorizer, TruncatedSVD(width, n_iter=n_iter, random_state=seed).fit(weights)


def tfidf_space(
    texts: Sequence[str],
    keys: Sequence[str],
    *,
    width: int = 100,
    fit_on: Sequence[str] | None = None,
    unit: Literal["word", "character"] = "word",
    seed: int = 0,
    name: str = "",
) -> LatentSpace[NDArray[np.float64]]:
    """Encode texts by latent semantic analysis, see `fit_lsa`.

    Args:
        texts: to be encoded.
        keys: one a text.
        width: of the space.
        fit_on: texts that the analysis is fitted on; the texts themselves by default.
        unit: terms are words and pairs of words, or runs of 2 to 4 characters inside of words.
        seed: of the decomposition.
        name: of the space.

    Raises:
        InvalidInputError: for another unit, as for `fit_lsa`, or where texts and keys do not fit together.
    """
    options = {"word": ("word", (1, 2)), "character": ("char_wb", (2, 4))}
    if unit not in options:
        raise InvalidInputError(f"unit must be one of {', '.join(options)}, found {unit!r}")
    vectorizer, reduction = fit_lsa(list(texts if fit_on is None else fit_on), *options[unit], width, seed=seed)
    return LatentSpace(reduction.transform(vectorizer.transform(list(texts))), tuple(keys), name)


def mean_of_words(
    texts: Sequence[str], keys: Sequence[str], words: LatentSpace[NDArray[np.float32]], *, name: str = ""
) -> LatentSpace[NDArray[np.float64]]:
    """Encode texts as the mean of the vectors of their lower-case words, separated by spaces; unknown ones are ignored.

    Raises:
        InvalidInputError: where a text has no known word, or texts and keys do not fit together.
    """
    row_of = {word: row for row, word in enumerate(words.keys)}
    means = []
    for text in texts:
        rows = [row_of[word] for word in text.lower().split() if word in row_of]
        if not rows:
            raise InvalidInputError(f"texts must each hold a word that has a vector, found {text[:60]!r}")
        means.append(words.vectors[rows].astype(np.float64).mean(0))
    return LatentSpace(np.stack(means), tuple(keys), name)


@dataclass(frozen=True, eq=False)
class SentenceEncoder:
    """TF-IDF weights and their largest singular directions, both of one language; made by `train_sentence_encoder`."""

    vectorizer: Any
    reduction: Any

    def weights(self, texts: Sequence[str]) -> Any:
        """TF-IDF weights, sparse float32 (n, terms) with rows of length 1; 0 where no term is known."""
        return self.vectorizer.transform(_plain(texts))

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Latents (n, width)."""
        return np.asarray(self.reduction.transform(self.weights(texts)), dtype=np.float32)


def train_sentence_encoder(
    texts: Sequence[str], *, unit: str = "characters", width: int = 800, least: int = 5, seed: int = 0
) -> SentenceEncoder:
    """Train on sentences of one language, in lower case and with words separated by what is no letter or digit.

    Args:
        texts: the sentences.
        unit: one of `UNITS`.
        width: of the latent space.
        least: in how many sentences a term must stand.
        seed: of the decomposition, which has two iterations.

    Raises:
        UnknownNameError: for another unit.
        InvalidInputError: for no texts, or where they do not give `width` directions.
    """
    require_known("unit of sentences", unit, UNITS)
    terms: dict[str, Any] = {"min_df": least, "dtype": np.float32}
    return SentenceEncoder(*fit_lsa(_plain(texts), *UNITS[unit], width, seed=seed, n_iter=2, **terms))


def _plain(texts: Sequence[str]) -> list[str]:
    return [" ".join(re.findall(r"\w+", text.lower())) for text in texts]
