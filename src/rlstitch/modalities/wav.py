"""WAV files of PCM or floats, plain or extensible, of a stated length or streamed."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError
from rlstitch.storage.files import read_bytes
from rlstitch.storage.limits import SOUND_BYTES, SOUND_CHUNKS, SOUND_RATES

Sound: TypeAlias = tuple[NDArray[np.float32], int]
"""Samples (n,), PCM in [-1, 1], and how many there are in a second."""

_EXTENSIBLE = 0xFFFE
_SUBFORMAT = bytes.fromhex("000000001000800000aa00389b71")  # all but the first two bytes of each known subformat
_TYPES = {(1, 1): "u1", (1, 2): "<i2", (1, 3): "<i4", (1, 4): "<i4", (3, 4): "<f4", (3, 8): "<f8"}
"""Tag of PCM (1) or floats (3), bytes of a number -> how it is read; 3 bytes are the upper ones of 4."""
_NAMES = {2: "ADPCM", 6: "A-law", 7: "µ-law", 17: "IMA ADPCM", 85: "MP3"}
_STREAMED = 0x7FFF_F000  # what SoX states; arecord states a little more, FFmpeg 0xFFFFFFFF


class Wav(NamedTuple):
    """Samples (n,) averaged over the channels, and what they were stored as."""

    samples: NDArray[np.float32]
    rate: int
    channels: int
    width: int
    """Bytes of a number."""


class _Form(NamedTuple):
    tag: int
    channels: int
    rate: int
    width: int


def read_wav(path: Path) -> Sound:
    """Read a WAV file and average its channels; see `parse_wav`.

    Raises:
        ArtefactError: it is missing, damaged, larger than 256 MiB, or of another kind.
    """
    wav = parse_wav(read_bytes(path, max_bytes=SOUND_BYTES), f"cannot read {path}")
    return wav.samples, wav.rate


def parse_wav(content: bytes, where: str) -> Wav:
    """Return the sound in the bytes of a WAV file: PCM of 8 to 32 bits, scaled to [-1, 1], or floats as they are.

    A length of 0, or of 2 GiB and more, is what programs state that write into a pipe: such a sound ends where the file
    does.

    Args:
        content: the file.
        where: begins the message of an error.

    Raises:
        ArtefactError: it is no such file, holds fewer samples than it states, none at all, or one that is not finite.
    """
    try:
        form, start, size = _find_samples(content)
        block = form.channels * form.width
        available = len(content) - start
        if size >= _STREAMED or (size == 0 and int.from_bytes(content[4:8], "little") + 8 != len(content)):
            size = available - available % block
        if size > available:
            raise ValueError(f"it is cut off, as it states {size // block:,} samples and holds {available // block:,}")
        if not size or size % block:
            raise ValueError(f"expected whole samples, found {size} bytes at {form.rate} Hz")
        return Wav(_samples(content[start : start + size], form), form.rate, form.channels, form.width)
    except ValueError as error:
        raise ArtefactError(f"{where}: {error}") from None


def _find_samples(content: bytes) -> tuple[_Form, int, int]:
    """Return how the samples are stored, where they start, and how many bytes they are said to take."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise ValueError(f"expected a WAV file, which begins with RIFF....WAVE, found {content[:12]!r}")
    position, form = 12, None
    for _ in range(SOUND_CHUNKS):
        name, head = content[position : position + 4], content[position + 4 : position + 8]
        if len(head) < 4:
            break
        size, start = int.from_bytes(head, "little"), position + 8
        if name == b"data" and form is not None:
            return form, start, size
        if name == b"fmt ":
            form = _read_form(content[start : start + size])
        position = start + size + size % 2
    raise ValueError("expected a format and samples, found a WAV file without")


def _read_form(chunk: bytes) -> _Form:
    if len(chunk) < 16:
        raise ValueError("its format is cut off")
    tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and chunk[26:40] == _SUBFORMAT:
        tag = int.from_bytes(chunk[24:26], "little")
    width = -(-bits // 8)
    if (tag, width) not in _TYPES or not channels or block != channels * width:
        raise ValueError(
            f"expected PCM of 8 to 32 bits or floats of 32 or 64, found format {tag}"
            f"{f' ({_NAMES[tag]})' if tag in _NAMES else ''} of {bits} bits, {channels} channels in {block} bytes"
        )
    if not SOUND_RATES[0] <= rate <= SOUND_RATES[1]:
        raise ValueError(f"expected {SOUND_RATES[0]:,} to {SOUND_RATES[1]:,} samples a second, found {rate:,}")
    return _Form(tag, channels, rate, width)


def _samples(content: bytes, form: _Form) -> NDArray[np.float32]:
    if form.width == 3:
        wide = np.zeros((len(content) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        content = wide.tobytes()
    numbers = np.frombuffer(content, _TYPES[form.tag, form.width]).reshape(-1, form.channels)
    if form.width == 1:
        numbers = numbers.astype(np.int16) - 128
    with np.errstate(over="ignore", invalid="ignore"):
        means = (numbers[:, 0] if form.channels == 1 else numbers.mean(1)).astype(np.float32)
    if form.tag == 1:
        return means / np.float32(2.0 ** (8 * (4 if form.width == 3 else form.width) - 1))
    if not np.isfinite(means).all():
        raise ValueError("expected finite samples, found NaN or infinity")
    return means
