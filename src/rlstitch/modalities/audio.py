"""Spoken digits from FSDD's archive, sounds that are made up here, and logarithmic mel spectra of both."""

from __future__ import annotations

import io
import math
import re
import tarfile
import wave
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.storage.limits import SOUND_FILE_BYTES, SOUND_FILES

FSDD_FILE = "recordings.tar.gz"
RATE = 8000
"""Samples a second."""

_NAME = re.compile(r"(?:.*/)?(\d)_([a-z]+)_(\d{1,4})\.wav")
_BAD = (OSError, EOFError, ValueError, tarfile.TarError, zlib.error, wave.Error)


@dataclass(frozen=True, eq=False)
class LabelledSounds:
    """Sounds float32 (n, samples) in [-1, 1], labels int64 (n,) in [0, classes), who speaks and which take it is, and n
    different keys.
    """

    waves: NDArray[np.float32]
    labels: NDArray[np.int64]
    speakers: tuple[str, ...]
    takes: NDArray[np.int64]
    keys: tuple[str, ...]
    classes: int = 10

    def __post_init__(self) -> None:
        n = len(self.waves)
        if self.waves.ndim != 2 or self.labels.shape != (n,) or self.takes.shape != (n,) or len(self.speakers) != n:
            raise InvalidInputError(
                f"expected one label, take and speaker a sound, found {self.waves.shape}, {self.labels.shape}, "
                f"{self.takes.shape} and {len(self.speakers)}"
            )
        if len(set(self.keys)) != n:
            raise InvalidInputError(f"keys must be one a sound ({n}), all different, found {len(set(self.keys))}")
        if n and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.classes:
            raise InvalidInputError(f"labels must lie in [0, {self.classes}), found {self.labels.max()}")

    def __len__(self) -> int:
        return len(self.waves)

    def subset(self, rows: Sequence[int] | NDArray[np.int64]) -> LabelledSounds:
        """The sounds with these numbers, in their order."""
        chosen = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            waves=self.waves[chosen],
            labels=self.labels[chosen],
            speakers=tuple(self.speakers[row] for row in chosen),
            takes=self.takes[chosen],
            keys=tuple(self.keys[row] for row in chosen),
        )


def read_fsdd(path: Path | str, *, samples: int = RATE) -> LabelledSounds:
    """The Free Spoken Digit Dataset, a tar.gz of `<digit>_<speaker>_<take>.wav` (8 kHz, mono, 16 bits), in order of
    names. Each sound is cut to `samples`, or stands in the middle of silence. Nothing is unpacked on to the disk.

    Raises:
        ArtefactError: where the file is missing or damaged, or a recording in it is not of this form.
    """
    path = Path(path)
    found: dict[tuple[int, str, int], NDArray[np.float32]] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for number, member in enumerate(archive):
                if not member.isfile():
                    continue
                name = _NAME.fullmatch(member.name)
                if name is None or member.size > SOUND_FILE_BYTES or number > SOUND_FILES:
                    raise ArtefactError(f"{path}: expected <digit>_<speaker>_<take>.wav, found {member.name!r:.80}")
                content = archive.extractfile(member)
                if content is None:
                    raise ArtefactError(f"{path}: {member.name!r:.80} cannot be read")
                key = (int(name[1]), name[2], int(name[3]))
                found[key] = _centred(_samples(content.read(), f"{path}: {member.name}"), samples)
    except FileNotFoundError:
        raise ArtefactError(f"cannot read {path}: there is no such file") from None
    except _BAD as error:
        raise ArtefactError(f"cannot read {path}: expected a whole tar.gz file: {error}") from None
    if not found:
        raise ArtefactError(f"{path}: expected recordings, found none")
    order = sorted(found)
    return LabelledSounds(
        np.stack([found[key] for key in order]),
        np.array([digit for digit, _, _ in order], dtype=np.int64),
        tuple(speaker for _, speaker, _ in order),
        np.array([take for _, _, take in order], dtype=np.int64),
        tuple(f"{digit}_{speaker}_{take}" for digit, speaker, take in order),
    )


def synthetic_sounds(takes: int, *, speakers: int = 3, classes: int = 6, seed: int = 0) -> LabelledSounds:
    """Sounds of half a second, so that audio can be tried with nothing to download: each class is two gliding tones,
    each speaker has a pitch of its own, and every take differs in time, speed, loudness and noise.

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
    rows, waves = [], []
    for take in range(takes):
        for speaker in range(speakers):
            for label in range(classes):
                start, length = rng.uniform(0, 0.1), rng.uniform(0.3, 0.4)
                place = np.clip((time - start) / length, 0, 1)
                pitch = (1 + 0.12 * speaker) * rng.uniform(0.96, 1.04)
                tones = (
                    np.sin(2 * np.pi * np.cumsum(pitch * (low + (high - low) * place)) / RATE)
                    for low, high in patterns[label]
                )
                sound = sum(tones) * np.sin(np.pi * place) * rng.uniform(0.2, 0.45)
                waves.append(sound + rng.normal(scale=0.05, size=samples))
                rows.append((label, f"speaker{speaker}", take))
    labels, names, numbers = zip(*rows, strict=True)
    return LabelledSounds(
        np.clip(np.array(waves), -1, 1).astype(np.float32),
        np.array(labels, dtype=np.int64),
        tuple(names),
        np.array(numbers, dtype=np.int64),
        tuple(f"{label}_{name}_{number}" for label, name, number in rows),
        classes,
    )


def log_mel(
    waves: NDArray[np.float32], *, rate: int = RATE, bands: int = 32, window: int = 256, step: int = 160
) -> torch.Tensor:
    """The logarithm of mel spectra, float32 (n, bands, frames), of mean 0 and variance 1 in each sound.

    Triangles on the scale of Stevens, Volkmann and Newman 1937 (2595 log10(1 + f / 700)), over the power of a short
    Fourier transform with Hann's window.

    Raises:
        InvalidInputError: for no sounds, or sounds shorter than a window.
    """
    if waves.ndim != 2 or not len(waves) or waves.shape[1] < window:
        raise InvalidInputError(f"waves must be (n, samples), at least {window} samples, found {waves.shape}")
    spectra = torch.stft(
        torch.tensor(waves), window, step, window=torch.hann_window(window), center=False, return_complex=True
    )
    power = spectra.abs().square().transpose(1, 2) @ torch.tensor(_triangles(bands, window, rate)).T
    found = (power + 1e-6).log().transpose(1, 2)
    mean, spread = found.mean((1, 2), keepdim=True), found.std((1, 2), keepdim=True)
    return (found - mean) / spread.clamp(min=1e-6)


def _triangles(bands: int, window: int, rate: int) -> NDArray[np.float32]:
    """(bands, window // 2 + 1): the weight of each frequency in each band."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    frequencies = np.linspace(0, rate / 2, window // 2 + 1)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def _samples(content: bytes, name: str) -> NDArray[np.float32]:
    with wave.open(io.BytesIO(content)) as sound:
        form = (sound.getnchannels(), sound.getsampwidth(), sound.getframerate())
        if form != (1, 2, RATE):
            raise ArtefactError(f"{name}: expected one channel of 2 bytes at {RATE} Hz, found {form}")
        return np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2").astype(np.float32) / np.float32(32768)


def _centred(sound: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    cut = sound[max(0, (len(sound) - samples) // 2) :][:samples]
    before = (samples - len(cut)) // 2
    return np.pad(cut, (before, samples - len(cut) - before))
