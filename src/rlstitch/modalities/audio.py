"""Spoken digits of FSDD, synthetic sounds, and logarithmic mel spectra of both."""

from __future__ import annotations

import io
import itertools
import math
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.modalities.compressed import read_gzip
from rlstitch.modalities.labelled import Labelled
from rlstitch.modalities.libraries import one_line
from rlstitch.modalities.wav import parse_wav
from rlstitch.storage.limits import SOUND_FILE_BYTES, SOUND_FILES

FSDD_FILE = "recordings.tar.gz"
RATE = 8000
"""Samples a second."""

Take = tuple[int, str, int]
"""Label, speaker, and number of the recording."""

_NAME = re.compile(r"(?:.*/)?(\d)_([a-z]+)_(\d{1,4})\.wav")


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledSounds(Labelled):
    """Sounds float32 (n, samples) in [-1, 1], with the speaker and the number of the take of each."""

    waves: NDArray[np.float32]
    speakers: tuple[str, ...]
    takes: NDArray[np.int64]


def read_fsdd(path: Path | str, *, samples: int = RATE) -> LabelledSounds:
    """Read the Free Spoken Digit Dataset: a tar.gz of `<digit>_<speaker>_<take>.wav`, 8 kHz, mono, 16 bits.

    Nothing is unpacked on to the disk.

    Args:
        path: of the archive.
        samples: to which each sound is cut, or padded with silence on both sides.

    Returns:
        The sounds, sorted by digit, speaker and take.

    Raises:
        ArtefactError: where the file is missing or damaged, or a recording in it is not of this form.
    """
    path = Path(path)
    recordings: dict[Take, NDArray[np.float32]] = {}
    with (
        one_line(f"cannot read {path}: expected a whole tar.gz file", "tarfile", "zlib"),
        tarfile.open(fileobj=io.BytesIO(read_gzip(path))) as archive,
    ):
        for number, member in enumerate(archive):
            if not member.isfile():
                continue
            name = _NAME.fullmatch(member.name)
            if name is None or member.size > SOUND_FILE_BYTES or number > SOUND_FILES:
                raise ArtefactError(f"{path}: expected <digit>_<speaker>_<take>.wav, found {member.name!r:.80}")
            content = archive.extractfile(member)
            if content is None:
                raise ArtefactError(f"{path}: {member.name!r:.80} cannot be read")
            sound = parse_wav(content.read(), f"{path}: {member.name}")
            if (form := (sound.channels, sound.width, sound.rate)) != (1, 2, RATE):
                raise ArtefactError(
                    f"{path}: {member.name}: expected one channel of 2 bytes at {RATE} Hz, found {form}"
                )
            recordings[int(name[1]), name[2], int(name[3])] = _centred(sound.samples, samples)
    if not recordings:
        raise ArtefactError(f"{path}: expected recordings, found none")
    return _labelled(dict(sorted(recordings.items())), 10)


def synthetic_sounds(takes: int, *, speakers: int = 3, classes: int = 6, seed: int = 0) -> LabelledSounds:
    """Synthesise sounds of half a second, so that studies of audio run without a download.

    Each class is two gliding tones, each speaker has a pitch of its own, and every take differs in time, speed,
    loudness and noise.

    Raises:
        InvalidInputError: for a number below 1.
    """
    if min(takes, speakers, classes) < 1:
        raise InvalidInputError(
            f"takes, speakers and classes must be at least 1, found {takes}, {speakers} and {classes}"
        )
    patterns = np.random.default_rng(97).uniform(300, 2500, size=(classes, 2, 2))
    rng = np.random.default_rng(seed)
    samples = RATE // 2
    time = np.arange(samples) / RATE
    sounds: dict[Take, NDArray[np.float32]] = {}
    for take, speaker, label in itertools.product(range(takes), range(speakers), range(classes)):
        start, length = rng.uniform(0, 0.1), rng.uniform(0.3, 0.4)
        place = np.clip((time - start) / length, 0, 1)
        pitch = (1 + 0.12 * speaker) * rng.uniform(0.96, 1.04)
        tones = (
            np.sin(2 * np.pi * np.cumsum(pitch * (low + (high - low) * place)) / RATE) for low, high in patterns[label]
        )
        sound = sum(tones) * np.sin(np.pi * place) * rng.uniform(0.2, 0.45) + rng.normal(scale=0.05, size=samples)
        sounds[label, f"speaker{speaker}", take] = np.clip(sound, -1, 1).astype(np.float32)
    return _labelled(sounds, classes)


def _labelled(sounds: Mapping[Take, NDArray[np.float32]], classes: int) -> LabelledSounds:
    labels, speakers, takes = zip(*sounds, strict=True)
    return LabelledSounds(
        waves=np.stack(list(sounds.values())),
        labels=np.array(labels, dtype=np.int64),
        speakers=speakers,
        takes=np.array(takes, dtype=np.int64),
        keys=tuple(f"{label}_{speaker}_{take}" for label, speaker, take in sounds),
        classes=classes,
    )


def log_mel(
    waves: NDArray[np.float32], *, rate: int = RATE, bands: int = 32, window: int = 256, step: int = 160
) -> torch.Tensor:
    """Compute logarithmic mel spectra, with mean 0 and variance 1 in each sound.

    Triangular filters on the mel scale (Stevens, Volkmann and Newman 1937, 2595 log10(1 + f / 700)) over the power of a
    short-time Fourier transform with a Hann window.

    Args:
        waves: sounds (n, samples).
        rate: samples a second.
        bands: number of filters.
        window: samples of a frame.
        step: samples from one frame to the next.

    Returns:
        float32 (n, bands, frames).

    Raises:
        InvalidInputError: for no sounds, or sounds shorter than a window.
    """
    if waves.ndim != 2 or not len(waves) or waves.shape[1] < window:
        raise InvalidInputError(f"waves must be (n, samples), at least {window} samples, found {waves.shape}")
    spectra = torch.stft(
        torch.tensor(waves), window, step, window=torch.hann_window(window), center=False, return_complex=True
    )
    power = spectra.abs().square().transpose(1, 2) @ torch.tensor(_triangles(bands, window, rate)).T
    spectra = (power + 1e-6).log().transpose(1, 2)
    mean, spread = spectra.mean((1, 2), keepdim=True), spectra.std((1, 2), keepdim=True)
    return (spectra - mean) / spread.clamp(min=1e-6)


def _triangles(bands: int, window: int, rate: int) -> NDArray[np.float32]:
    """(bands, window // 2 + 1): the weight of each frequency in each band."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    frequencies = np.linspace(0, rate / 2, window // 2 + 1)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def _centred(sound: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    cut = sound[max(0, (len(sound) - samples) // 2) :][:samples]
    before = (samples - len(cut)) // 2
    return np.pad(cut, (before, samples - len(cut) - before))
