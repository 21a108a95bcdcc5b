"""Study `audio-digits`: encoders of spoken digits, of three kinds, drive heads of one another.

Takes 0 to 4 of every speaker and digit are for testing, as FSDD's own page has it; all speakers are heard in training.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn

from rlstitch.modalities.audio import FSDD_FILE, LabelledSounds, log_mel, made_up_sounds, read_fsdd
from rlstitch.modalities.audio_encoders import KINDS, train_audio_classifier
from rlstitch.modalities.classifiers import accuracy, encode_inputs, train_head
from rlstitch.pipelines.runs import resolve_device
from rlstitch.pipelines.studies import Findings, Row, StudyOptions, find_data
from rlstitch.pipelines.studies_joining import Part, accuracy_facts, join_all, make_part, table_of

TEST_TAKES = 5

_WHAT = "FSDD, the Free Spoken Digit Dataset (its recordings as one tar.gz)"


@dataclass(frozen=True)
class AudioStudyConfig:
    """Everything that decides the outcome. `anchors` are recordings of the training takes."""

    dataset: str
    seeds: tuple[int, ...]
    kinds: tuple[str, ...]
    epochs: int
    head_epochs: int
    anchors: int
    latent_dim: int
    data_seed: int = 0


def resolve(options: StudyOptions) -> Row:
    """The config as JSON: made-up sounds where quick, else FSDD."""
    seeds = tuple(range(options.seeds or (2 if options.quick else 5)))
    if options.quick:
        return asdict(AudioStudyConfig("made-up", seeds, KINDS, 6, 8, 150, 32))
    return asdict(AudioStudyConfig("fsdd", seeds, KINDS, 15, 10, 500, 64))


def run(config: Row, options: StudyOptions) -> Findings:
    """Train every network, join each encoder to each head of the next seed, and measure accuracy on unseen takes."""
    settings = AudioStudyConfig(**{name: value for name, value in config.items() if name != "study"})
    device = resolve_device(options.device)
    sounds = _sounds(settings, options)
    tested = sounds.takes < TEST_TAKES
    known, unseen = (sounds.subset(np.flatnonzero(rows)) for rows in (~tested, tested))
    spectra = [log_mel(known.waves), log_mel(unseen.waves)]
    anchors = np.random.default_rng(settings.data_seed).permutation(len(known))[: settings.anchors].tolist()
    parts: list[Part] = []
    for seed in settings.seeds:
        for kind in settings.kinds:
            parts.append(_part(kind, seed, settings, spectra, known, unseen, anchors, device))
            own = accuracy(parts[-1].head, parts[-1].test.vectors, unseen.labels)
            options.on_progress(f"{kind}-s{seed} trained: accuracy {own:.3f} with its own head")
    cells = join_all(parts, lambda head, features: accuracy(head, features, unseen.labels))
    table = table_of(cells)
    facts = accuracy_facts(table, f"{len(unseen):,} unseen takes ({settings.dataset})", cells)
    return Findings(cells, table, facts)


def _part(
    kind: str,
    seed: int,
    settings: AudioStudyConfig,
    spectra: list[torch.Tensor],
    known: LabelledSounds,
    unseen: LabelledSounds,
    anchors: list[int],
    device: str,
) -> Part:
    model = train_audio_classifier(
        spectra[0], known.labels, known.classes, kind=kind, seed=seed, epochs=settings.epochs,
        latent_dim=settings.latent_dim, device=device,
    )  # fmt: skip
    seen, tested = (
        encode_inputs(model.encoder, inputs, sounds.keys, name=model.name, device=device)
        for inputs, sounds in zip(spectra, (known, unseen), strict=True)
    )

    def head(features: torch.Tensor) -> nn.Module:
        return train_head(
            features, known.labels, known.classes, seed=seed, epochs=settings.head_epochs, batch_size=64, device=device
        )

    return make_part(kind, seed, model.head, seen, tested, anchors, head)


def _sounds(settings: AudioStudyConfig, options: StudyOptions) -> LabelledSounds:
    if settings.dataset == "made-up":
        return made_up_sounds(40, seed=settings.data_seed)
    return read_fsdd(find_data(options.data, "fsdd", [FSDD_FILE], _WHAT) / FSDD_FILE)
