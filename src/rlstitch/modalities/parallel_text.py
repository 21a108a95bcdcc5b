"""The same sentences in several languages: Multi30k from its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.modalities.compressed import read_gzip
from rlstitch.storage.files import decode_text

MULTI30K_FILES = {"train": "train.{}.gz", "test": "test_2016_flickr.{}.gz"}
"""Split -> the name of its file, with a place for the language."""


@dataclass(frozen=True)
class ParallelTexts:
    """n sentences in each language, row i meaning the same in all, and n different keys.

    Raises InvalidInputError where these do not fit together.
    """

    texts: Mapping[str, tuple[str, ...]]
    keys: tuple[str, ...]

    def __post_init__(self) -> None:
        sizes = {language: len(texts) for language, texts in self.texts.items()}
        if not sizes or set(sizes.values()) != {len(set(self.keys))} or len(set(self.keys)) != len(self.keys):
            raise InvalidInputError(
                f"expected as many sentences in each language as different keys, found {sizes} and "
                f"{len(set(self.keys))} different ones of {len(self.keys)}"
            )

    def __len__(self) -> int:
        return len(self.keys)

    def subset(self, rows: Sequence[int] | NDArray[np.int64]) -> ParallelTexts:
        """The sentences with these numbers, in their order."""
        chosen = [int(row) for row in rows]
        texts = {language: tuple(texts[row] for row in chosen) for language, texts in self.texts.items()}
        return ParallelTexts(texts, tuple(self.keys[row] for row in chosen))


def read_multi30k(folder: Path | str, split: str, languages: Sequence[str] = ("en", "de", "fr")) -> ParallelTexts:
    """Multi30k (Elliott et al. 2016, 1605.00459), captions of photographs: a gzip file a language, UTF-8, one sentence
    a line. Keys are `<split>-<line>`.

    Raises:
        InvalidInputError: for a split other than train and test.
        ArtefactError: where a file is missing, no gzip, no UTF-8, holds an empty line, or the files differ in length.
    """
    if split not in MULTI30K_FILES:
        raise InvalidInputError(f"split must be one of {', '.join(MULTI30K_FILES)}, found {split!r}")
    texts = {language: _lines(Path(folder) / MULTI30K_FILES[split].format(language)) for language in languages}
    sizes = {language: len(lines) for language, lines in texts.items()}
    if len(set(sizes.values())) != 1:
        raise ArtefactError(f"{folder}: expected as many lines in each language of {split}, found {sizes}")
    (size,) = set(sizes.values())
    return ParallelTexts(texts, tuple(f"{split}-{line}" for line in range(1, size + 1)))


def _lines(path: Path) -> tuple[str, ...]:
    try:
        text = decode_text(read_gzip(path))
    except ValueError as error:
        raise ArtefactError(f"cannot read {path}: {error}") from None
    # Not `splitlines`, which also breaks at characters that occur inside of sentences.
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")]
    if empty := [number for number, line in enumerate(lines, start=1) if not line]:
        raise ArtefactError(f"{path}, line {empty[0]}: expected a sentence, found nothing")
    return tuple(lines)
