"""WAV files: every kind of sample, stated and streamed lengths, and what is refused."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest
from fuzz_mutations import damage

from rlstitch.errors import ArtefactError
from rlstitch.modalities.wav import parse_wav, read_wav

NUMBERS = np.array([-0.5, 0, 0.5, 0.25, -1, 0.75])
SUBFORMAT = bytes.fromhex("000000001000800000aa00389b71")
PCM, FLOAT = 1, 3


def samples(tag: int, width: int) -> bytes:
    if tag == FLOAT:
        return NUMBERS.astype(f"<f{width}").tobytes()
    whole = (NUMBERS * 2 ** (8 * width - 1)).astype(np.int64) + (128 if width == 1 else 0)
    return b"".join(int(n).to_bytes(width, "little", signed=width > 1) for n in whole)


def form(tag: int, width: int, *, channels: int = 2, rate: int = 8000, extensible: bool = False) -> bytes:
    block = channels * width
    head = struct.pack("<HHIIHH", 0xFFFE if extensible else tag, channels, rate, rate * block % 2**32, block, 8 * width)
    return head + (struct.pack("<HHIH", 22, 8 * width, 3, tag) + SUBFORMAT if extensible else b"")


def chunk(name: bytes, content: bytes, *, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(content) if size is None else size) + content + b"\0" * (len(content) % 2)


def riff(*chunks: bytes, size: int | None = None) -> bytes:
    content = b"".join((b"WAVE", *chunks))
    return b"RIFF" + struct.pack("<I", len(content) if size is None else size) + content


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(("tag", "width"), [(PCM, 1), (PCM, 2), (PCM, 3), (PCM, 4), (FLOAT, 4), (FLOAT, 8)])
def test_every_kind_of_sample(tmp_path: Path, tag: int, width: int, extensible: bool) -> None:
    path = tmp_path / "a.wav"
    for before in ((), (chunk(b"LIST", b"odd"),), (chunk(b"fact", b"\0" * 4), chunk(b"junk", b""))):
        path.write_bytes(
            riff(*before, chunk(b"fmt ", form(tag, width, extensible=extensible)), chunk(b"data", samples(tag, width)))
        )
        read, rate = read_wav(path)
        assert (read.dtype, rate) == (np.float32, 8000)
        assert np.array_equal(read, NUMBERS.reshape(3, 2).mean(1).astype(np.float32))
    mono = riff(chunk(b"fmt ", form(tag, width, channels=1)), chunk(b"data", samples(tag, width)))
    assert np.array_equal(parse_wav(mono, "a").samples, NUMBERS.astype(np.float32))


@pytest.mark.parametrize("stated", [0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("whole", [0, 36, 0xFFFFFFFF])
@pytest.mark.parametrize("rest", [b"", b"\1"])
def test_a_stream_is_read_to_its_end(stated: int, whole: int, rest: bytes) -> None:
    content = riff(
        chunk(b"fmt ", form(PCM, 2, channels=1)), chunk(b"data", samples(PCM, 2) + rest, size=stated), size=whole
    )
    assert np.array_equal(parse_wav(content.removesuffix(b"\0"), "a").samples, NUMBERS.astype(np.float32))


def test_samples_end_where_the_header_says() -> None:
    for after in (b"", chunk(b"LIST", b"INFO"), b"rest"):
        content = riff(chunk(b"fmt ", form(PCM, 2, channels=1)), chunk(b"data", samples(PCM, 2)), after)
        assert len(parse_wav(content, "a").samples) == 6


HEAD = chunk(b"fmt ", form(PCM, 2, channels=1))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            riff(HEAD, chunk(b"data", b"\0" * 16_000, size=32_000)),
            "it is cut off, as it states 16,000 samples and holds",
        ),
        (riff(HEAD, chunk(b"data", b"")), "expected whole samples, found 0 bytes"),
        (riff(HEAD, chunk(b"data", b"", size=0), chunk(b"LIST", b"text")), "expected whole samples, found 0 bytes"),
        (riff(HEAD, chunk(b"data", b"\0\0\0")), "expected whole samples, found 3 bytes"),
        (riff(HEAD), "expected a format and samples"),
        (riff(chunk(b"data", b"\0\0")), "expected a format and samples"),
        (riff(chunk(b"fmt ", b"\1\0")), "its format is cut off"),
        (riff(*[chunk(b"junk", b"")] * 2000, HEAD, chunk(b"data", b"\0\0")), "expected a format and samples"),
        (riff(chunk(b"fmt ", form(7, 1)), chunk(b"data", b"\0\0")), "found format 7 (µ-law) of 8 bits"),
        (riff(chunk(b"fmt ", form(FLOAT, 2)), chunk(b"data", b"\0\0")), "found format 3 of 16 bits"),
        (riff(chunk(b"fmt ", form(PCM, 2, channels=0)), chunk(b"data", b"\0\0")), "0 channels"),
        (riff(chunk(b"fmt ", form(PCM, 2, rate=0)), chunk(b"data", b"\0\0")), "samples a second, found 0"),
        (riff(chunk(b"fmt ", form(PCM, 2, rate=2**31)), chunk(b"data", b"\0\0")), "samples a second, found 2,147"),
        (riff(chunk(b"fmt ", form(FLOAT, 4, channels=1)), chunk(b"data", b"\0\0\xc0\x7f")), "found NaN or infinity"),
        (b"RIFX" + riff(HEAD)[4:], "which begins with RIFF....WAVE, found b'RIFX"),
        (b"RF64" + riff(HEAD)[4:], "found b'RF64"),
        (b"ID3\4", "found b'ID3"),
        (b"", "found b''"),
    ],
)
def test_what_is_refused_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(ArtefactError) as caught:
        read_wav(path)
    assert str(caught.value).startswith(f"cannot read {path}: ")
    assert problem in str(caught.value)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"cannot read .*a\.wav: there is no such file"):
        read_wav(tmp_path / "a.wav")


@pytest.mark.parametrize(("tag", "width", "extensible"), [(PCM, 2, False), (PCM, 3, True), (FLOAT, 8, True)])
def test_a_damaged_file_is_a_sound_or_refused(tag: int, width: int, extensible: bool) -> None:
    honest = riff(chunk(b"fmt ", form(tag, width, extensible=extensible)), chunk(b"data", samples(tag, width)))
    rng, refused = random.Random(width), 0
    for _ in range(200):
        try:
            wav = parse_wav(damage(honest, rng), "a")
        except ArtefactError:
            refused += 1
        else:
            assert len(wav.samples)
            assert np.isfinite(wav.samples).all()
    assert 0 < refused < 200
