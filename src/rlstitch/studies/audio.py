"""Study `audio-digits`: encoders of spoken digits, of three kinds, drive heads of one another, in three splits.

takes: takes 0 to 4 of every speaker and digit are for testing, as FSDD's own page has it; all speakers are heard in
training. speakers: the last speakers by name are for testing, and only the others are heard in training. languages:
each network hears one speaker alone, and his recordings are the other's "language"; an encoder of one drives the head
of another on takes 0 to 4 of the encoder's speaker. What pairs two speakers there is digit and take; as takes are
numbered at random, such a pair has its digit in common and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn

from rlstitch.errors import InvalidInputError
from rlstitch.jobs.resources import resolve_device
from rlstitch.latent import LatentSpace
from rlstitch.modalities.audio import FSDD_FILE, LabelledSounds, log_mel, made_up_sounds, read_fsdd
from rlstitch.modalities.audio_encoders import KINDS, train_audio_classifier
from rlstitch.modalities.classifiers import accuracy, encode_inputs, train_head
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

TEST_TAKES = 5
SPLITS = ("takes", "speakers", "languages")

_WHAT = "FSDD, the Free Spoken Digit Dataset (its recordings as one tar.gz)"


@dataclass(frozen=True)
class AudioStudyConfig:
    """Everything that decides the outcome. `anchors` are recordings in training; `test_speakers`: how many speakers the
    second split leaves out of training; `language_kind`: the kind of encoder in the third.
    """

    dataset: str
    seeds: tuple[int, ...]
    kinds: tuple[str, ...]
    epochs: int
    head_epochs: int
    anchors: int
    latent_dim: int
    test_speakers: int
    language_kind: str
    language_epochs: int
    language_anchors: int
    translations: tuple[str, ...] = TRANSLATIONS
    data_seed: int = 0


def resolve(options: StudyOptions) -> Row:
    """The config as JSON: made-up sounds where quick, else FSDD."""
    seeds = tuple(range(options.seeds or (2 if options.quick else 5)))
    if options.quick:
        return asdict(AudioStudyConfig("made-up", seeds, KINDS, 6, 6, 120, 32, 1, "cnn", 7, 100))
    return asdict(AudioStudyConfig("fsdd", seeds, KINDS, 15, 10, 500, 64, 2, "cnn", 30, 300, ALL_TRANSLATIONS))


def run(config: Row, options: StudyOptions) -> Findings:
    """Train every network, join each encoder to each head of the next seed, and measure accuracy, split by split."""
    settings = AudioStudyConfig(**{name: value for name, value in config.items() if name != "study"})
    device = resolve_device(options.device)
    sounds = _sounds(settings, options)
    cells: list[Row] = []
    table: list[Row] = []
    facts: list[str] = []
    for split in SPLITS:
        if split == "languages":
            found, unseen = _join_languages(sounds, settings, device, options)
        else:
            found, unseen = _join_kinds(sounds, split, settings, device, options)
        cells += [{"split": split, **row} for row in found]
        own = table_of(found)
        table += [{"split": split, **row} for row in own]
        facts += [f"{split}: {accuracy_facts(own, f'{unseen} ({settings.dataset})', found)[0]}"]
    return Findings(cells, table, [*facts, accuracy_facts(own, "", found)[1]])


def _join_kinds(
    sounds: LabelledSounds, split: str, settings: AudioStudyConfig, device: str, options: StudyOptions
) -> tuple[list[Row], str]:
    """Cells of all pairs of kinds, and what was heard in the test."""
    tested, what = held_out(sounds, split, settings.test_speakers)
    known, unseen = (_Heard.of(sounds, rows) for rows in (~tested, tested))
    parts: list[Part] = []
    for seed in settings.seeds:
        for kind in settings.kinds:
            parts.append(_part(kind, kind, seed, settings.epochs, settings.anchors, settings, known, unseen, device))
            own = accuracy(parts[-1].head, parts[-1].test.vectors, unseen.sounds.labels)
            options.on_progress(f"{split}: {kind}-s{seed} trained: accuracy {own:.3f} with its own head")
    cells = join_all(
        parts, lambda head, features: accuracy(head, features, unseen.sounds.labels), settings.translations
    )
    return cells, what


def _join_languages(
    sounds: LabelledSounds, settings: AudioStudyConfig, device: str, options: StudyOptions
) -> tuple[list[Row], str]:
    """Cells of all pairs of speakers, one kind of encoder; a part's make is its speaker."""
    speakers = sorted(set(sounds.speakers))
    worlds = {speaker: _world(sounds, speaker) for speaker in speakers}
    labels = next(iter(worlds.values()))[1].sounds.labels
    for speaker, (_, unseen) in worlds.items():
        if not np.array_equal(unseen.sounds.labels, labels):
            raise InvalidInputError(f"speakers: expected the same digits and takes of each, found others of {speaker}")
    parts: list[Part] = []
    for seed in settings.seeds:
        for speaker in speakers:
            kind, epochs, anchors = settings.language_kind, settings.language_epochs, settings.language_anchors
            parts.append(_part(speaker, kind, seed, epochs, anchors, settings, *worlds[speaker], device))
            own = accuracy(parts[-1].head, parts[-1].test.vectors, labels)
            options.on_progress(f"languages: {kind} of {speaker}-s{seed} trained: accuracy {own:.3f} with its own head")
    what = f"unseen takes of each of {len(speakers)} speakers, heard alone"
    cells = join_all(parts, lambda head, features: accuracy(head, features, labels), settings.translations)
    return cells, f"{len(labels):,} {what}"


def held_out(
    sounds: LabelledSounds, split: str, test_speakers: int
) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], str]:
    """Which sounds are for testing, bool (n,), and what they are in words."""
    if split == "takes":
        tested = sounds.takes < TEST_TAKES
        return tested, f"{int(tested.sum()):,} unseen takes"
    left_out = sorted(set(sounds.speakers))[-test_speakers:]
    tested = np.isin(np.array(sounds.speakers), left_out)
    return tested, f"{int(tested.sum()):,} takes of {' and '.join(left_out)}, who are not heard in training"


@dataclass(frozen=True, eq=False)
class _Heard:
    """Sounds, their spectra, and keys that pair them with those of other worlds."""

    sounds: LabelledSounds
    spectra: torch.Tensor
    keys: tuple[str, ...]

    @classmethod
    def of(cls, sounds: LabelledSounds, rows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> _Heard:
        chosen = sounds.subset(np.flatnonzero(rows))
        return cls(chosen, log_mel(chosen.waves), chosen.keys)


def _world(sounds: LabelledSounds, speaker: str) -> tuple[_Heard, _Heard]:
    """What one speaker says in training and in the test, by digit and take."""
    own = sounds.subset(np.flatnonzero(np.array(sounds.speakers) == speaker))
    own = own.subset(np.lexsort((own.takes, own.labels)))
    halves = (_Heard.of(own, rows) for rows in (own.takes >= TEST_TAKES, own.takes < TEST_TAKES))
    known, unseen = (_Heard(half.sounds, half.spectra, _by_digit_and_take(half.sounds)) for half in halves)
    return known, unseen


def _by_digit_and_take(sounds: LabelledSounds) -> tuple[str, ...]:
    return tuple(f"{label}_{take}" for label, take in zip(sounds.labels, sounds.takes, strict=True))


def _part(
    make: str,
    kind: str,
    seed: int,
    epochs: int,
    anchors: int,
    settings: AudioStudyConfig,
    known: _Heard,
    unseen: _Heard,
    device: str,
) -> Part:
    labels, classes = known.sounds.labels, known.sounds.classes
    model = train_audio_classifier(
        known.spectra, labels, classes, kind=kind, seed=seed, epochs=epochs, latent_dim=settings.latent_dim,
        device=device,
    )  # fmt: skip

    def space(heard: _Heard) -> LatentSpace[torch.Tensor]:
        return encode_inputs(model.encoder, heard.spectra, heard.keys, name=model.name, device=device)

    def head(features: torch.Tensor) -> nn.Module:
        return train_head(
            features, labels, classes, seed=seed, epochs=settings.head_epochs, batch_size=64, device=device
        )

    return make_part(
        make, seed, model.head, space(known), space(unseen), _anchors(len(labels), anchors, settings), head
    )


def _anchors(known: int, number: int, settings: AudioStudyConfig) -> Sequence[int]:
    chosen: list[int] = np.random.default_rng(settings.data_seed).permutation(known)[:number].tolist()
    return chosen


def _sounds(settings: AudioStudyConfig, options: StudyOptions) -> LabelledSounds:
    if settings.dataset == "made-up":
        return made_up_sounds(30, seed=settings.data_seed)
    return read_fsdd(find_data(options.data, "fsdd", [FSDD_FILE], _WHAT) / FSDD_FILE)
