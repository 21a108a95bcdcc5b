"""The same sentences in several languages: Multi30k from its files, and captions that are made up here."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError, InvalidInputError

MULTI30K_FILES = {"train": "train.{}.gz", "test": "test_2016_flickr.{}.gz"}
"""Split -> the name of its file, with a place for the language."""

_MAX_BYTES = 1 << 28


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
        with gzip.open(path, "rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
        text = content.decode("utf-8")
    except FileNotFoundError:
        raise ArtefactError(f"cannot read {path}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise ArtefactError(f"cannot read {path}: expected UTF-8: {error.reason} at byte {error.start}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ArtefactError(f"cannot read {path}: expected a whole gzip file: {error}") from None
    if len(content) > _MAX_BYTES:
        raise ArtefactError(f"cannot read {path}: it unpacks to more than {_MAX_BYTES:,} bytes")
    # Not `splitlines`, which also breaks at characters that stand inside of sentences.
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")]
    if empty := [number for number, line in enumerate(lines, start=1) if not line]:
        raise ArtefactError(f"{path}, line {empty[0]}: expected a sentence, found nothing")
    return tuple(lines)


def made_up_captions(n: int, *, languages: Sequence[str] = ("a", "b", "c"), seed: int = 0) -> ParallelTexts:
    """`n` scenes, each told in every language: a topic, someone of the topic who does something somewhere, in a colour.

    Every language has words, synonyms and an order of its own, drawn from its name, and shares none with another; which
    synonym is taken is drawn anew in each. So spaces of sentences are alike, and their words are not.

    Raises:
        InvalidInputError: for `n` below 1, or no languages.
    """
    if n < 1 or not languages:
        raise InvalidInputError(f"expected n from 1 on and languages, found {n} and {list(languages)}")
    scenes = np.random.default_rng([seed, 0])
    topics = scenes.integers(_TOPICS, size=n)
    meanings = np.stack(
        [topic_words * topics + scenes.integers(topic_words, size=n) for topic_words in _OF_TOPIC]
        + [scenes.integers(number, size=n) for number in _OF_ANY],
        axis=1,
    )
    texts = {language: _told(meanings, language, np.random.default_rng([seed, place + 1]))
             for place, language in enumerate(languages)}  # fmt: skip
    return ParallelTexts(texts, tuple(f"made-up-{row}" for row in range(n)))


_TOPICS = 8
_OF_TOPIC = (5, 4, 4)
"""Who, does what, where: how many there are in each topic."""
_OF_ANY = (10, 6)
"""Colours and numbers, of any topic."""
_SYNONYMS = 2


def _told(meanings: NDArray[np.int64], language: str, rng: np.random.Generator) -> tuple[str, ...]:
    order = np.random.default_rng(list(language.encode())).permutation(meanings.shape[1])
    chosen = rng.integers(_SYNONYMS, size=meanings.shape)
    return tuple(
        " ".join(f"{language}{'wdpcn'[slot]}{meaning[slot]}x{synonym[slot]}" for slot in order)
        for meaning, synonym in zip(meanings, chosen, strict=True)
    )
