"""Study `audio-digits`: encoders and heads of classifiers of spoken digits are joined, in three splits.

Shows: three encoder architectures for spoken digits (cnn, gru, mlp) drive heads of one another
Data: FSDD, spoken digits; with --quick synthetic sounds
Time: quick: under 15 seconds; in full: some ten minutes, as 60 networks are trained

takes: takes 0 to 4 of every speaker and digit are the test set, as FSDD's own page has it; training hears all speakers.
speakers: the last speakers by name are the test set; training hears the others only. languages: each network hears one
speaker alone, whose recordings count as a "language"; an encoder of one drives the head of another on takes 0 to 4 of
the encoder's speaker. Pairs of two speakers share digit and take; as takes are numbered at random, they have only their
digit in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import InvalidInputError
from rlstitch.modalities.audio import LabelledSounds
from rlstitch.studies.data import load_sounds
from rlstitch.studies.joining import ALL_TRANSLATIONS, ClassificationConfig, ClassificationStudy, JoiningTask
from rlstitch.studies.training.networks import AUDIO_ARCHITECTURES, audio_encoder
from rlstitch.studies.training.trainers import ClassifierTrainer, Samples, sound_samples

TEST_TAKES = 5


class Config(ClassificationConfig):
    """Everything that decides the result.

    `anchors` are training recordings; `test_speakers`: how many speakers the second split holds out; `language_*`:
    architecture and numbers of the third split.
    """

    kinds: tuple[str, ...] = AUDIO_ARCHITECTURES
    epochs: int
    test_speakers: int
    language_kind: str = "cnn"
    language_epochs: int
    language_anchors: int


class AudioDigits(ClassificationStudy[Config]):
    """Joins classifiers of spoken digits."""

    quick = Config(
        dataset="made-up", seeds=(0, 1), epochs=6, head_epochs=6, anchors=120, latent_dim=32, test_speakers=1,
        language_epochs=7, language_anchors=100,
    )  # fmt: skip
    full = Config(
        dataset="fsdd", seeds=(0, 1, 2, 3, 4), epochs=15, head_epochs=10, anchors=500, latent_dim=64,
        test_speakers=2, language_epochs=30, language_anchors=300, translations=ALL_TRANSLATIONS,
    )  # fmt: skip

    def tasks(self) -> Iterator[JoiningTask]:
        """One task for each split."""
        config = self.config
        sounds = load_sounds(config.dataset, config.data_seed, self.data)
        trainer = partial(
            ClassifierTrainer, network=audio_encoder, head_epochs=config.head_epochs, latent_dim=config.latent_dim,
            learning_rate=2e-3, device=self.device,
        )  # fmt: skip
        for split in ("takes", "speakers"):
            held_out, tested = held_out_sounds(sounds, split, config.test_speakers)
            train, test = (sound_samples(sounds.subset(np.flatnonzero(rows))) for rows in (~held_out, held_out))
            encoders = {arch: trainer(train=train, test=test, arch=arch, epochs=config.epochs) for arch in config.kinds}
            yield JoiningTask(encoders, config.anchors, test.labels, f"{tested} ({config.dataset})", {"split": split})
        speakers = {speaker: _speaker_samples(sounds, speaker) for speaker in sorted(set(sounds.speakers))}
        labels = next(iter(speakers.values()))[1].labels
        for speaker, (_, test) in speakers.items():
            if not np.array_equal(test.labels, labels):
                raise InvalidInputError(
                    f"speakers: expected the same digits and takes of each, found others of {speaker}"
                )
        encoders = {
            speaker: trainer(train=train, test=test, arch=config.language_kind, epochs=config.language_epochs)
            for speaker, (train, test) in speakers.items()
        }
        tested = f"{len(labels):,} unseen takes of each of {len(speakers)} speakers, heard alone ({config.dataset})"
        yield JoiningTask(encoders, config.language_anchors, labels, tested, {"split": "languages"})


def held_out_sounds(sounds: LabelledSounds, split: str, test_speakers: int) -> tuple[NDArray[np.bool_], str]:
    """Choose the test set of split `takes` or `speakers`.

    Returns:
        Which sounds are in it, bool (n,), and what they are in words.
    """
    if split == "takes":
        rows = sounds.takes < TEST_TAKES
        return rows, f"{int(rows.sum()):,} unseen takes"
    held_out: Sequence[str] = sorted(set(sounds.speakers))[-test_speakers:]
    rows = np.isin(np.array(sounds.speakers), held_out)
    return rows, f"{int(rows.sum()):,} takes of {' and '.join(held_out)}, who are not heard in training"


def _speaker_samples(sounds: LabelledSounds, speaker: str) -> tuple[Samples, Samples]:
    """Training and test recordings of one speaker, under keys of digit and take that all speakers share."""
    own = sounds.subset(np.flatnonzero(np.array(sounds.speakers) == speaker))
    own = own.subset(np.lexsort((own.takes, own.labels)))
    halves = (own.subset(np.flatnonzero(rows)) for rows in (own.takes >= TEST_TAKES, own.takes < TEST_TAKES))
    train, test = (
        sound_samples(replace(half, keys=tuple(map("{}_{}".format, half.labels, half.takes)))) for half in halves
    )
    return train, test
