"""Sounds are read from an archive, synthesised and turned into spectra."""

from __future__ import annotations

import io
import os
import tarfile
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.modalities.audio import FSDD_FILE, log_mel, read_fsdd, synthetic_sounds


def wav(samples: np.ndarray, *, rate: int = 8000, channels: int = 1) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.astype("<i2").tobytes())
    return stream.getvalue()


def archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        folder = tarfile.TarInfo("recordings")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def test_recordings_are_read_in_order_and_centred(tmp_path: Path) -> None:
    long, short = np.arange(10) * 1000, np.array([16384, -32768])
    files = {"recordings/3_theo_0.wav": wav(long), "recordings/0_lucas_12.wav": wav(short)}
    read = read_fsdd(archive(tmp_path / "a.tar.gz", files), samples=6)
    assert read.keys == ("0_lucas_12", "3_theo_0")
    assert (read.labels.tolist(), read.takes.tolist(), read.speakers) == ([0, 3], [12, 0], ("lucas", "theo"))
    assert read.waves[0].tolist() == [0, 0, 0.5, -1, 0, 0]
    assert np.allclose(read.waves[1] * 32768, [2000, 3000, 4000, 5000, 6000, 7000])
    assert read.subset([1]).keys == ("3_theo_0",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("recordings/x_theo_0.wav", wav(np.zeros(3)), "expected <digit>_<speaker>_<take>.wav, found 'recordings/x"),
        ("../1_theo_0.txt", b"", "found '../1_theo_0.txt'"),
        ("1_theo_0.wav", wav(np.zeros(3), rate=16000), r"at 8000 Hz, found \(1, 2, 16000\)"),
        ("1_theo_0.wav", wav(np.zeros(4), channels=2), r"found \(2, 2, 8000\)"),
        ("1_theo_0.wav", b"no sound", r"1_theo_0\.wav: expected a WAV file.*found b'no sound'"),
        ("1_theo_0.wav", b"", r"1_theo_0\.wav: expected a WAV file"),
    ],
)
def test_recordings_of_another_form_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(ArtefactError, match=message):
        read_fsdd(archive(tmp_path / "a.tar.gz", {name: content}))


def test_archives_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="no such file"):
        read_fsdd(tmp_path / "none.tar.gz")
    with pytest.raises(ArtefactError, match="expected recordings, found none"):
        read_fsdd(archive(tmp_path / "empty.tar.gz", {}))
    whole = archive(tmp_path / "a.tar.gz", {"1_theo_0.wav": wav(np.random.default_rng(0).integers(99, size=9000))})
    whole.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(ArtefactError, match=r"expected a whole (gzip|tar\.gz) file"):
        read_fsdd(whole)


@pytest.mark.skipif("RLSTITCH_DATA" not in os.environ, reason="RLSTITCH_DATA does not name the folder of real data")
def test_the_published_recordings() -> None:
    read = read_fsdd(Path(os.environ["RLSTITCH_DATA"]) / "fsdd" / FSDD_FILE)
    assert read.waves.shape == (3000, 8000)
    assert np.bincount(read.labels).tolist() == [300] * 10
    assert (len(set(read.speakers)), int((read.takes < 5).sum())) == (6, 300)


@pytest.mark.parametrize("frequency", [400.0, 1000.0, 3000.0])
def test_a_tone_lights_up_the_band_of_its_pitch(frequency: float) -> None:
    tone = np.sin(2 * np.pi * frequency * np.arange(4000) / 8000).astype(np.float32)[None]
    spectra = log_mel(np.concatenate([tone, 0.1 * tone]), bands=20)
    assert spectra.shape == (2, 20, 1 + (4000 - 256) // 160)
    # The bands stand evenly on the mel scale.
    place = np.log10(1 + frequency / 700) / np.log10(1 + 4000 / 700) * 21 - 1
    assert abs(int(spectra[0].mean(1).argmax()) - place) <= 1
    assert float(spectra[0].mean()) == pytest.approx(0, abs=1e-5)
    assert float(spectra[0].std()) == pytest.approx(1, abs=1e-4)


def test_synthetic_sounds_are_fixed_by_their_seed() -> None:
    sounds = synthetic_sounds(2, speakers=2, classes=3)
    assert (len(sounds), sounds.classes, sorted(set(sounds.speakers))) == (12, 3, ["speaker0", "speaker1"])
    assert np.bincount(sounds.labels).tolist() == [4] * 3
    assert np.array_equal(sounds.waves, synthetic_sounds(2, speakers=2, classes=3).waves)
    assert not np.allclose(sounds.waves[0], sounds.waves[6], atol=0.1), "no take is like another"


def test_sounds_that_cannot_be() -> None:
    with pytest.raises(InvalidInputError, match="must be at least 1, found 0, 3 and 6"):
        synthetic_sounds(0)
    with pytest.raises(InvalidInputError, match=r"at least 256 samples, found \(2, 100\)"):
        log_mel(np.zeros((2, 100), np.float32))
    whole = synthetic_sounds(1, speakers=1, classes=2)
    for wrong, message in (
        ({"takes": whole.takes[:1]}, "one of each an item, found .*'takes': 1"),
        ({"keys": ("k", "k")}, "keys must be 2 different ones, found 1"),
        ({"labels": whole.labels + 10}, r"lie in \[0, 2\), found 10 to 11"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            replace(whole, **wrong)
