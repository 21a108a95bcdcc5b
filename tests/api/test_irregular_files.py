"""Pipes, devices and folders in the place of files: refused at once as input, left alone as output."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rlstitch.cli.main import main
from rlstitch.latent import LatentSpace
from rlstitch.storage import save_space

SUFFIXES = ("npz", "npy", "safetensors", "zip", "txt", "txt.gz", "yaml", "pt2", "gz", "wav", "png")
READING = [
    "import it.zip --env MiniGrid-Empty-5x5-v0 --name x",
    "latent encode --modality text --model hashing --input it.txt --out new.safetensors",
    "latent encode --modality text --model hashing --input it.txt.gz --out new.safetensors",
    "latent encode --modality text --model hashing --input lines.txt --keys it.txt --out new.safetensors",
    "latent encode --modality image --model greys --input it.npy --out new.safetensors",
    "latent encode --modality image --model greys --input it.npz --out new.safetensors",
    "latent encode --modality image --model greys --input it.gz --out new.safetensors",
    "latent compare it.npz it.npz",
    "latent compare it.safetensors it.safetensors",
    "latent translate --source it.npz --target it.npz --method affine --out new.safetensors",
    "diagnose --encoder red --policy red --pairs it.npz",
    "stitch --encoder red --policy red --pairs it.npz --no-save",
    "train it.yaml",
    "sweep it.yaml",
    "show it",
    "report it",
]
WRITING = [
    "export red --format safetensors --force -o it.safetensors",
    "export red --force -o it.pt2",
    "pairs --encoder red --policy red --count 16 --force --out it.npz",
    "latent encode --modality text --model hashing --input lines.txt --force --out it.safetensors",
    "latent translate --source x.npz --target x.npz --method affine --force --out it.safetensors",
]


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    """A command that waits for a pipe is ended."""

    def waits(*_: object) -> None:
        raise TimeoutError("the command waits")

    before = signal.signal(signal.SIGALRM, waits)
    signal.alarm(100)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=["pipe", "device", "folder of pipes"])
def place(request: pytest.FixtureRequest, workplace: Path) -> Path:
    """A working folder in which each file `it.*`, and each in the folder `it`, is no file."""
    (workplace / "lines.txt").write_text("one\ntwo\nthree\n")
    save_space(LatentSpace(np.random.default_rng(0).normal(size=(8, 4))), workplace / "x.npz")
    (workplace / "it").mkdir()
    for name in [*(f"it.{suffix}" for suffix in SUFFIXES), *(f"it/{part}" for part in ("agent.json", "matrix.json"))]:
        if request.param == "device":
            (workplace / name).symlink_to("/dev/zero")
        elif request.param == "pipe" or "/" in name:
            os.mkfifo(workplace / name)
        else:
            (workplace / name).mkdir()
    return workplace


def problems(lines: list[str], capsys: pytest.CaptureFixture[str]) -> list[tuple[str, int, str]]:
    """Return the lines that do not end with status 2 and an error of one line about what is no file."""
    wrong = []
    for line in lines:
        status, errors = main(line.split()), capsys.readouterr().err
        errors = "\n".join(text for text in errors.splitlines() if "error" in text or "Traceback" in text)
        if status != 2 or errors.count("\n") or "it" not in errors:
            wrong.append((line, status, errors))
    return wrong


def test_what_is_no_file_is_refused_as_input(place: Path, stored, capsys: pytest.CaptureFixture[str]) -> None:
    stored("red")
    assert problems(READING, capsys) == []
    assert not list(place.glob("new*"))


def test_what_is_no_file_is_never_replaced(place: Path, stored, capsys: pytest.CaptureFixture[str]) -> None:
    stored("red")
    before = {path.name: stat.S_IFMT(path.lstat().st_mode) for path in place.glob("it.*")}
    assert problems(WRITING, capsys) == []
    assert {path.name: stat.S_IFMT(path.lstat().st_mode) for path in place.glob("it.*")} == before
