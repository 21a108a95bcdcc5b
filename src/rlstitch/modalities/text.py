"""Words and sentences as latent spaces: word vectors from npz files, TF-IDF with SVD of lines of text."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.latent import LatentSpace
from rlstitch.modalities.compressed import read_gzip

TREC_CLASSES = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")
"""The coarse classes of Li and Roth (2002), in the order of their labels."""

TREC_FILES = {"train": "TREC.train.gz", "test": "TREC.test.gz"}


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """n texts, labels int64 (n,) into `classes`, and n different keys."""

    texts: tuple[str, ...]
    labels: NDArray[np.int64]
    keys: tuple[str, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def subset(self, rows: NDArray[np.int64]) -> LabelledTexts:
        """The texts with these row numbers, in their order."""
        texts, keys = (tuple(values[row] for row in rows) for values in (self.texts, self.keys))
        return LabelledTexts(texts, self.labels[rows], keys, self.classes)


def read_word_vectors(path: Path | str, *, name: str = "") -> LatentSpace[NDArray[np.float32]]:
    """Read an npz of `words` (n,), unicode and all different, and `vectors` (n, d), float: a space with words as keys.

    Raises:
        ArtefactError: where the file is missing, no npz, or does not hold these two arrays; a pickle in it is refused.
    """
    path = Path(path)
    try:
        # From memory, as NumPy leaves a file open where it is not an archive.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            missing = [entry for entry in ("words", "vectors") if entry not in arrays.files]
            if missing:
                raise ArtefactError(f"{path}: expected arrays words and vectors, found {', '.join(arrays.files)}")
            words, vectors = arrays["words"], arrays["vectors"]
    except FileNotFoundError:
        raise ArtefactError(f"cannot read {path}: there is no such file") from None
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise ArtefactError(f"cannot read {path}: expected an npz file: {' '.join(str(error).split())}") from None
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
    # Not `splitlines`, which also breaks at characters that stand inside of questions.
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
    return LabelledTexts(tuple(texts), np.array(labels, dtype=np.int64), tuple(keys), TREC_CLASSES)


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
    """Latent semantic analysis (Deerwester et al. 1990): TF-IDF, then the `width` largest singular directions.

    `unit`: words and pairs of words, or runs of 2 to 4 characters inside of words. Vocabulary, weights and directions
    come from `fit_on` (default: the texts themselves); `seed` is that of the randomised SVD.

    Raises:
        InvalidInputError: where `width` is not below the size of the vocabulary, or texts and keys do not fit together.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    options = {"word": ("word", (1, 2)), "character": ("char_wb", (2, 4))}
    if unit not in options:
        raise InvalidInputError(f"unit must be one of {', '.join(options)}, found {unit!r}")
    analyzer, lengths = options[unit]
    vectorizer = TfidfVectorizer(
        analyzer=analyzer, ngram_range=lengths, token_pattern=r"\S+" if unit == "word" else None, sublinear_tf=True
    )
    known = list(texts if fit_on is None else fit_on)
    if not known:
        raise InvalidInputError("texts must hold at least one text, found none")
    weights = vectorizer.fit_transform(known)
    if not 1 <= width < min(weights.shape):
        raise InvalidInputError(
            f"width must lie in [1, {min(weights.shape) - 1}] for {weights.shape[0]} texts of {weights.shape[1]} "
            f"terms, found {width}"
        )
    reduction = TruncatedSVD(width, random_state=seed).fit(weights)
    return LatentSpace(reduction.transform(vectorizer.transform(list(texts))), tuple(keys), name)


def mean_of_words(
    texts: Sequence[str], keys: Sequence[str], words: LatentSpace[NDArray[np.float32]], *, name: str = ""
) -> LatentSpace[NDArray[np.float64]]:
    """Texts as the mean of the vectors of their words, in small letters and set apart by spaces; words that `words`
    does not hold are passed over, words that stand twice count twice.

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
