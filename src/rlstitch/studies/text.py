"""Study `text-classification`: encoders of texts, of three kinds, drive heads of one another.

After Moschella et al. 2022 (2209.15430, section 5, TREC) and Maiorca et al. 2023 (2311.00664), whose encoders were
large and pretrained; these are small and trained here on the questions alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rlstitch.errors import ArtefactError
from rlstitch.jobs.resources import resolve_device
from rlstitch.modalities.classifiers import accuracy, encode_inputs, train_head
from rlstitch.modalities.made_up_text import made_up_questions
from rlstitch.modalities.text import LabelledTexts, read_trec
from rlstitch.modalities.text_encoders import KINDS, text_inputs, train_text_classifier
from rlstitch.studies.joining import (
    ALL_TRANSLATIONS,
    TRANSLATIONS,
    Part,
    accuracy_facts,
    join_all,
    make_part,
    table_of,
)
from rlstitch.studies.study import Findings, Row, StudyOptions, find_data

FILES = {"train": "TREC.train.gz", "test": "TREC.test.gz"}

_WHAT = "TREC questions (two files of `COARSE:fine text` lines, gzip; https://cogcomp.seas.upenn.edu/Data/QA/QC/)"
_QUICK = (700, 300)


@dataclass(frozen=True)
class TextStudyConfig:
    """Everything that decides the outcome; `epochs` and `learning_rates` by kind of encoder. `anchors` are training
    questions.
    """

    dataset: str
    seeds: tuple[int, ...]
    epochs: dict[str, int]
    learning_rates: dict[str, float]
    head_epochs: int
    anchors: int
    latent_dim: int
    lsa_width: int
    translations: tuple[str, ...] = TRANSLATIONS
    data_seed: int = 0


def resolve(options: StudyOptions) -> Row:
    """The config as JSON: made-up questions where quick, else TREC."""
    seeds = tuple(range(options.seeds or (2 if options.quick else 5)))
    if options.quick:
        epochs, rates = dict.fromkeys(KINDS, 8), dict.fromkeys(KINDS, 1e-3)
        return asdict(TextStudyConfig("made-up", seeds, epochs, rates, 6, 200, 32, 60))
    epochs = {"lsa": 15, "words": 15, "transformer": 12}
    # Settled on training questions held out.
    rates = {"lsa": 1e-3, "words": 3e-3, "transformer": 3e-3}
    return asdict(TextStudyConfig("trec", seeds, epochs, rates, 5, 500, 64, 300, ALL_TRANSLATIONS))


def run(config: Row, options: StudyOptions) -> Findings:
    """Train every network, join each encoder to each head of the next seed, and measure accuracy on test questions."""
    settings = TextStudyConfig(**{name: value for name, value in config.items() if name != "study"})
    device = resolve_device(options.device)
    train, test = _texts(settings, options)
    anchors = np.random.default_rng(settings.data_seed).permutation(len(train))[: settings.anchors].tolist()
    inputs = {
        kind: [text_inputs(kind, texts, train, width=settings.lsa_width) for texts in (train, test)]
        for kind in settings.epochs
    }
    parts: list[Part] = []
    for seed in settings.seeds:
        for kind in settings.epochs:
            parts.append(_part(kind, seed, settings, inputs, train, test, anchors, device))
            own = accuracy(parts[-1].head, parts[-1].test.vectors, test.labels)
            options.on_progress(f"{kind}-s{seed} trained: accuracy {own:.3f} with its own head")
    cells = join_all(parts, lambda head, features: accuracy(head, features, test.labels), settings.translations)
    table = table_of(cells)
    tested = f"{len(test):,} test questions ({settings.dataset})"
    return Findings(cells, table, accuracy_facts(table, tested, cells))


def _part(
    kind: str,
    seed: int,
    settings: TextStudyConfig,
    inputs: Mapping[str, list[torch.Tensor]],
    train: LabelledTexts,
    test: LabelledTexts,
    anchors: list[int],
    device: str,
) -> Part:
    seen, unseen = inputs[kind]
    classes = len(train.classes)
    model = train_text_classifier(
        seen, train.labels, classes, kind=kind, seed=seed, epochs=settings.epochs[kind],
        latent_dim=settings.latent_dim, learning_rate=settings.learning_rates[kind], device=device,
    )  # fmt: skip
    known = encode_inputs(model.encoder, seen, train.keys, name=model.name, device=device)
    tested = encode_inputs(model.encoder, unseen, test.keys, name=model.name, device=device)

    def head(features: torch.Tensor) -> nn.Module:
        return train_head(
            features, train.labels, classes, seed=seed, epochs=settings.head_epochs, batch_size=64, device=device
        )

    return make_part(kind, seed, model.head, known, tested, anchors, head)


def _texts(settings: TextStudyConfig, options: StudyOptions) -> tuple[LabelledTexts, LabelledTexts]:
    """Questions to train on and to test on, which share none."""
    if settings.dataset == "made-up":
        both = made_up_questions(sum(_QUICK), seed=settings.data_seed)
        texts = np.array(both.texts, dtype=object)
        first = slice(0, _QUICK[0])
        unseen = np.flatnonzero(~np.isin(texts, texts[first]))
        return _subset(both, np.arange(_QUICK[0])), _subset(both, unseen)
    folder: Path = find_data(options.data, "trec", list(FILES.values()), _WHAT)
    train, test = (read_trec(folder / file) for file in FILES.values())
    if not len(train) or not len(test):
        raise ArtefactError(f"{folder}: expected questions to train on and to test on, found {len(train)}, {len(test)}")
    return train, test


def _subset(texts: LabelledTexts, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> LabelledTexts:
    chosen = rows.tolist()
    return LabelledTexts(
        tuple(texts.texts[row] for row in chosen),
        texts.labels[rows],
        tuple(texts.keys[row] for row in chosen),
        texts.classes,
    )
