"""Items become stored spaces: streamed, whole or absent, never encoded twice, whatever stops the run."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import tracemalloc
import warnings
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from rlstitch.api.spaces.encode import encode, encode_stream
from rlstitch.cli.main import main
from rlstitch.errors import BusyError, IncompatibleError
from rlstitch.modalities.items import ItemEncoder, Items
from rlstitch.modalities.plain_encoders import PLAIN, hashed_words, mel_means, small_greys
from rlstitch.storage import load_space
from rlstitch.storage.locks import exclusive_lock
from rlstitch.storage.space_stream import SpaceStream

pytestmark = pytest.mark.usefixtures("workplace")

LINES = [f"line {row} of {row % 7} and {row % 11}" for row in range(100)]


def noted(dies_at: int = 0) -> Callable[[Sequence[str]], NDArray[np.float32]]:
    """An encoder that writes down each item as it is encoded, and kills its process in the midst of a batch."""
    batches = 0

    def encoder(texts: Sequence[str]) -> NDArray[np.float32]:
        nonlocal batches
        batches += 1
        if batches == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        with Path("encoded").open("a") as stream:
            stream.write("".join(f"{text}\n" for text in texts))
        return hashed_words(texts)

    return encoder


def in_a_process(action: Callable[[], object]) -> int:
    """Run it in a copy of this process; returns how that ended, as `subprocess` tells it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons, where there are threads
        child = os.fork()
    if not child:
        try:
            action()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture(autouse=True)
def lines(workplace: Path) -> Path:
    (workplace / "lines.txt").write_text("\n".join(LINES))
    return workplace / "lines.txt"


def command(*more: str, out: str = "space.safetensors", model: str = "hashing") -> list[str]:
    return [
        "latent", "encode", "--modality", "text", "--model", model, "--input", "lines.txt", "-o", out,
        "--device", "cpu", *more,
    ]  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be copied here")
def test_killed_runs_go_on_and_encode_nothing_twice(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(**options: int) -> object:
        monkeypatch.setitem(PLAIN, "text", ("hashing", noted(**options)))
        return encode("text", "hashing", "lines.txt", "space.safetensors", batch_size=8, device="cpu")

    encode("text", "hashing", "lines.txt", "once.safetensors", batch_size=8, device="cpu")
    for dies_at in (3, 1, 6):
        assert in_a_process(lambda dies_at=dies_at: run(dies_at=dies_at)) == -signal.SIGKILL
        assert not (workplace / "space.safetensors").exists()
    assert (workplace / "encoded").read_text().splitlines() == LINES[: 8 * (2 + 5)]
    assert in_a_process(run) == 0
    assert (workplace / "encoded").read_text().splitlines() == LINES
    assert (workplace / "space.safetensors").read_bytes() == (workplace / "once.safetensors").read_bytes()
    left = {path.name for path in workplace.iterdir() if not path.name.startswith(".")}
    assert left == {"encoded", "lines.txt", "once.safetensors", "space.safetensors"}


def test_what_is_held_does_not_grow_with_the_items(workplace: Path) -> None:
    """A hundred thousand items of 256 numbers: a hundred megabytes on the disk."""
    count, width = 100_000, 256
    keys = tuple(map(str, range(count)))

    def constant(rows: Sequence[int]) -> NDArray[np.float32]:
        return np.repeat(np.array(rows, dtype=np.float32)[:, None], width, axis=1)

    tracemalloc.start()
    try:
        items = Items(keys, "numbers", lambda start: iter(range(start, count)))
        with SpaceStream(workplace / "large.safetensors", keys, {}) as stream:
            outcome = encode_stream(items, ItemEncoder("constant", "", constant), stream, batch_size=512)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert outcome.done == count
    assert (workplace / "large.safetensors").stat().st_size > 4 * count * width
    assert held < 30e6
    some = np.memmap(workplace / "large.safetensors", dtype=np.uint8)[-4 * width :].view(np.float32)
    assert (some == count - 1).all()


def test_vectors_are_those_of_the_encoder_under_the_keys(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "keys.txt").write_text("\n".join(f"key {row}" for row in range(100)))
    assert main(command("--keys", "keys.txt")) == 0
    printed, errors = capsys.readouterr()
    assert printed.startswith("space.safetensors: 100 items by hashing in ")
    assert "100 of 100 items" in errors
    space = load_space("space.safetensors")
    assert space.name == "hashing"
    assert space.keys == tuple(f"key {row}" for row in range(100))
    assert np.array_equal(space.vectors.numpy(), hashed_words(LINES))


def test_images_and_sounds(workplace: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 9, 9), dtype=np.uint8)
    np.savez(workplace / "images.npz", images=images)
    assert encode("image", "greys", "images.npz", "i.safetensors", batch_size=3).done == 7
    expected = small_greys([np.repeat(image[..., None], 3, axis=2) for image in images])
    assert np.array_equal(load_space("i.safetensors").vectors.numpy(), expected)
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, 900).astype("<i2")
    (workplace / "sounds").mkdir()
    with wave.open(str(workplace / "sounds" / "one.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(samples.tobytes())
    assert encode("audio", "mel", "sounds", "s.safetensors").done == 1
    space = load_space("s.safetensors")
    assert space.keys == ("one.wav",)
    np.testing.assert_allclose(space.vectors, mel_means([(samples.astype(np.float32) / 2**15, 8000)]), atol=1e-6)


@pytest.fixture
def interrupting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ctrl-C in the midst of the third batch."""
    batches = 0

    def interrupted(texts: Sequence[str]) -> NDArray[np.float32]:
        nonlocal batches
        batches += 1
        if batches == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return hashed_words(texts)

    # A background job inherits that Ctrl-C is ignored; a user's terminal does not.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setitem(PLAIN, "text", ("hashing", interrupted))
            yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_cleanly_and_the_command_goes_on(
    workplace: Path, interrupting: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command()) == 130
    printed, errors = capsys.readouterr()
    assert "64 of 100 items" in printed
    assert errors.endswith("interrupted; the same command resumes\n")
    assert not (workplace / "space.safetensors").exists()
    # The rows of a batch do not depend on its size.
    assert main(command("--batch-size", "5")) == 0
    printed, errors = capsys.readouterr()
    assert "64 of them by an earlier run" in printed
    assert np.array_equal(load_space("space.safetensors").vectors.numpy(), hashed_words(LINES))


def test_an_unfinished_run_of_other_making_is_in_the_way(
    workplace: Path, interrupting: None, lines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command()) == 130
    lines.write_text("\n".join(f"other {line}" for line in LINES))
    capsys.readouterr()
    assert main(command()) == 2
    errors = capsys.readouterr().err
    assert "space.safetensors.part: was started with other items" in errors
    assert len(errors.splitlines()) == 1
    with pytest.raises(IncompatibleError, match="was started with other items"):
        encode("text", "hashing", "lines.txt", "space.safetensors", device="cpu")
    assert main(command("--force")) == 0
    assert np.array_equal(load_space("space.safetensors").vectors[50].numpy(), hashed_words([f"other {LINES[50]}"])[0])


def test_lines_that_stay_are_not_encoded_again(workplace: Path, interrupting: None, lines: Path) -> None:
    assert encode("text", "hashing", "lines.txt", "space.safetensors").done == 64
    new = ["first", *LINES[:50], "another", *LINES[51:]]
    lines.write_text("\n".join(new))
    outcome = encode("text", "hashing", "lines.txt", "space.safetensors")
    assert (outcome.done, outcome.resumed) == (101, 63)
    space = load_space("space.safetensors")
    assert space.keys == tuple(map(str, range(1, 102)))
    assert np.array_equal(space.vectors.numpy(), hashed_words(new))
    assert not list(workplace.glob("*.part"))


def images(folder: Path, count: int = 40) -> NDArray[np.uint8]:
    """Images a00.png, a01.png, ... in a folder."""
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    for row, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"a{row:02}.png")
    return pixels


IMAGES = ["latent", "encode", "--modality", "image", "--model", "greys", "--input", "photos", "--device", "cpu", "-o"]


def test_a_damaged_item_is_listed_and_the_rest_is_kept(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = images(workplace / "photos")
    whole = (workplace / "photos" / "a37.png").read_bytes()
    (workplace / "photos" / "a37.png").write_bytes(whole[:60])
    (workplace / "photos" / "b.heic").write_bytes(b"")
    assert main([*IMAGES, "s.safetensors"]) == 1
    printed = capsys.readouterr().out
    assert re.fullmatch(
        r"s\.safetensors: 39 of 40 items by greys in [\d.]+ s; 1 failed, see failed\.csv\n"
        r"not encoded, as files of another kind: b\.heic\n",
        printed,
    )
    with Path("failed.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["item"], row["space"]) == ("a37.png", "s.safetensors")
    assert row["reason"].startswith("cannot read photos/a37.png: expected an image: ")
    space = load_space("s.safetensors")
    assert "a37.png" not in space.keys
    assert np.array_equal(space.select(["a38.png"]).vectors.numpy(), small_greys(pixels[38:39]))
    # Another space of the same folder fails alike, and both are listed.
    assert main([*IMAGES, "t.safetensors"]) == 1
    assert Path("failed.csv").read_text().count("a37.png") == 2 * 2
    # What a space lacks does not keep it from being compared, item by item.
    np.savez("all.npz", images=pixels)
    Path("keys.txt").write_text("".join(f"a{row:02}.png\n" for row in range(40)))
    assert main([*IMAGES[:6], "--input", "all.npz", "--keys", "keys.txt", "-o", "all.safetensors"]) == 0
    capsys.readouterr()
    assert main(["latent", "compare", "s.safetensors", "all.safetensors"]) == 0
    assert "pairs       39" in capsys.readouterr().out
    # Once the file is replaced, the same command adds it.
    (workplace / "photos" / "a37.png").write_bytes(whole)
    assert main([*IMAGES, "s.safetensors"]) == 0
    assert "40 items by greys" in (printed := capsys.readouterr().out)
    assert "39 of them by an earlier run" in printed
    assert np.array_equal(load_space("s.safetensors").vectors.numpy(), small_greys(pixels))
    assert [row["space"] for row in json.loads(Path("failed.json").read_text())] == ["t.safetensors"]
    # Or is removed.
    (workplace / "photos" / "a37.png").unlink()
    assert main([*IMAGES, "t.safetensors"]) == 0
    assert len(load_space("t.safetensors")) == 39
    assert not list(workplace.glob("failed*")) + list(workplace.glob("*.part")) + list(workplace.glob("*.journal"))


def test_a_removed_item_leaves_what_is_encoded(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images(workplace / "photos")
    encoded: list[int] = []

    def counted(items: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        if len(encoded) == 3:
            raise KeyboardInterrupt
        encoded.append(len(items))
        return small_greys(items)

    monkeypatch.setitem(PLAIN, "image", ("greys", counted))
    assert main([*IMAGES, "s.safetensors", "--batch-size", "8"]) == 130
    (workplace / "photos" / "a03.png").unlink()
    encoded.clear()
    assert main([*IMAGES, "s.safetensors", "--batch-size", "16"]) == 0
    assert encoded == [16]
    assert "39 items by greys" in (printed := capsys.readouterr().out)
    assert "23 of them by an earlier run" in printed


def test_a_sound_that_is_too_short_is_named(workplace: Path) -> None:
    (workplace / "sounds").mkdir()
    for name, count in (("a", 900), ("b", 10), ("c", 900)):
        with wave.open(f"sounds/{name}.wav", "wb") as sound:
            sound.setparams((1, 2, 16_000, 0, "NONE", ""))
            sound.writeframes(b"\1\2" * count)
    outcome = encode("audio", "mel", "sounds", "s.safetensors")
    assert list(outcome.failed) == ["b.wav"]
    assert "at least 512 samples" in outcome.failed["b.wav"]
    assert load_space("s.safetensors").keys == ("a.wav", "c.wav")


def test_an_array_that_is_cut_off_keeps_its_beginning(workplace: Path) -> None:
    np.save("x.npy", np.random.default_rng(0).integers(0, 256, (7, 9, 9), dtype=np.uint8))
    Path("x.npy").write_bytes(Path("x.npy").read_bytes()[:-100])
    outcome = encode("image", "greys", "x.npy", "s.safetensors", batch_size=2)
    assert outcome.failed == dict.fromkeys(("5", "6"), "x.npy: ends in image 5, expected 7")
    assert len(load_space("s.safetensors")) == 5


def test_where_nothing_can_be_encoded_there_is_no_space(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "photos").mkdir()
    for name in ("a.png", "b.png"):
        (workplace / "photos" / name).write_bytes(b"no image")
    assert main([*IMAGES, "s.safetensors"]) == 2
    assert "none of 2 items can be encoded; a.png: cannot read photos/a.png" in capsys.readouterr().err
    assert not list(workplace.glob("s.safetensors*"))


def test_a_vector_that_is_not_finite_is_left_out(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([[np.nan if text == LINES[70] else 1.0] for text in texts], np.float32)

    monkeypatch.setitem(PLAIN, "text", ("hashing", odd))
    outcome = encode("text", "hashing", "lines.txt", "s.safetensors")
    assert outcome.failed == {"71": "the vector of '71' holds NaN or infinity"}
    assert outcome.done == 99


def test_a_file_that_is_there_is_replaced_by_force_alone(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "space.safetensors").write_bytes(b"older")
    assert main(command()) == 2
    assert "space.safetensors is there already; --force replaces it" in capsys.readouterr().err
    assert (workplace / "space.safetensors").read_bytes() == b"older"
    assert main(command("--force")) == 0
    assert len(load_space("space.safetensors")) == 100


def test_one_process_at_a_time(workplace: Path) -> None:
    lock = exclusive_lock(workplace / ".space.safetensors.lock", "it")
    with lock, pytest.raises(BusyError, match=r"space\.safetensors is locked by another process"):
        encode("text", "hashing", "lines.txt", "space.safetensors", device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("--modality", "txt"), "unknown modality 'txt'; did you mean text?"),
        (("--pooling", "men"), "unknown pooling 'men'; did you mean mean?"),
        (("--batch-size", "0"), "batch_size must be at least 1, found 0"),
        (("--out", "space.npz"), "space.npz: expected a name that ends in .safetensors"),
        (("--input", "nowhere.txt"), "cannot read nowhere.txt: there is no such file"),
        (("--model", "./nowhere"), "cannot read ./nowhere: there is no such folder"),
        (("--model", "greys"), "greys is for image, found modality text"),
        (("--keys", "keys.txt"), "cannot read keys.txt"),
        (("--modality", "audio", "--model", "mel"), "expected a folder of WAV files"),
        (("--modality", "image", "--model", "greys"), "expected .npy, .npz, IDX or a folder of images"),
    ],
)
def test_wrong_arguments_are_one_line(
    workplace: Path, changes: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if changes[1] == "./nowhere":
        pytest.importorskip("transformers")
    assert main(command(*changes)) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert not list(workplace.glob("*.part"))
