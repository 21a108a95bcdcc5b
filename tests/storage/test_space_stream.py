"""Spaces that are written rows by rows: equal to those written at once, and gone on with whatever a kill left."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from rlstitch.errors import ArtefactError, IncompatibleError, InvalidInputError
from rlstitch.latent import LatentSpace
from rlstitch.storage import limits, load_space, save_space
from rlstitch.storage.space_stream import SpaceStream, part_files, space_header

KEYS = tuple(f'schlüssel "{row}"' for row in range(10))
VECTORS = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
CONFIG = {"model": "one", "input": "abc"}


def opened(path: Path, **changes: str) -> SpaceStream:
    return SpaceStream(path, KEYS, {**CONFIG, **changes}, name="näme")


def begun(path: Path, rows: int = 6, block: int = 2) -> None:
    with opened(path) as stream:
        for start in range(0, rows, block):
            stream.append(VECTORS[start : start + block])


def finished(path: Path) -> bytes:
    with opened(path) as stream:
        if stream.rows < 10:
            stream.append(VECTORS[stream.rows :])
        assert stream.finish() == path
    assert sorted(path.parent.iterdir()) == [path]
    return path.read_bytes()


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    """The bytes of the same space written at once."""
    save_space(LatentSpace(torch.tensor(VECTORS), KEYS, "näme"), tmp_path / "once" / "s.safetensors")
    return (tmp_path / "once" / "s.safetensors").read_bytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "s.safetensors"


def test_the_bytes_are_those_of_a_space_saved_at_once(path: Path, whole: bytes) -> None:
    assert finished(path) == whole
    space = load_space(path)
    assert (space.keys, space.name) == (KEYS, "näme")


@pytest.mark.parametrize("rows", [0, 2, 6, 10])
def test_goes_on_where_it_was_let_go(path: Path, whole: bytes, rows: int) -> None:
    begun(path, rows)
    with opened(path) as stream:
        assert stream.rows == rows
        assert not path.exists()
    assert finished(path) == whole


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_part_that_lacks_its_end_keeps_whole_blocks(path: Path, whole: bytes, cut: int) -> None:
    begun(path)
    part, _ = part_files(path)
    part.write_bytes(part.read_bytes()[:-cut])
    with opened(path) as stream:
        assert stream.rows == 6 - 2 * -(-cut // 24)
    assert finished(path) == whole


@pytest.mark.parametrize("cut", [1, 5, 12, 40, 1000])
def test_a_journal_that_lacks_its_end_vouches_for_fewer(path: Path, whole: bytes, cut: int) -> None:
    begun(path)
    _, journal = part_files(path)
    journal.write_bytes(journal.read_bytes()[:-cut])
    with opened(path) as stream:
        assert stream.rows < 6
    assert finished(path) == whole


def test_rows_beyond_the_journal_and_damaged_rows_are_not_kept(path: Path, whole: bytes) -> None:
    begun(path)
    part, _ = part_files(path)
    with part.open("ab") as stream:
        stream.write(b"half a row")
    with opened(path) as again:
        assert again.rows == 6
    content = bytearray(part.read_bytes())
    content[-30] ^= 1  # in the second block
    part.write_bytes(content)
    with opened(path) as again:
        assert again.rows == 2
    assert finished(path) == whole


def test_a_part_without_its_journal_is_begun_anew(path: Path, whole: bytes) -> None:
    begun(path)
    part_files(path)[1].unlink()
    with opened(path) as stream:
        assert stream.rows == 0
    assert finished(path) == whole


def test_rows_are_kept_where_items_come_and_go(path: Path, tmp_path: Path) -> None:
    begun(path)  # items 0 to 5
    keys = [KEYS[3], KEYS[8], KEYS[1], KEYS[9]]
    with SpaceStream(path, keys, CONFIG, name="näme") as stream:
        assert list(stream.missing) == [1, 3]
        stream.append(VECTORS[[8]], [1])
    with SpaceStream(path, keys[:3], CONFIG, name="näme") as stream:  # and one less
        assert not stream.missing
        assert stream.finish() == path
    save_space(LatentSpace(torch.tensor(VECTORS[[3, 8, 1]]), tuple(keys[:3]), "näme"), tmp_path / "once.safetensors")
    assert path.read_bytes() == (tmp_path / "once.safetensors").read_bytes()
    assert sorted(path.parent.iterdir()) == [path]


def test_a_space_without_some_items_is_completed_later(path: Path, whole: bytes) -> None:
    others = [row for row in range(10) if row not in (2, 9)]
    with opened(path) as stream:
        stream.append(VECTORS[others], others)
        with pytest.raises(InvalidInputError, match="expected 10 rows, found 8"):
            stream.finish(without=[2])
        stream.finish(without=[2, 9])
    assert load_space(path).keys == tuple(KEYS[row] for row in others)
    assert np.array_equal(load_space(path).vectors, VECTORS[others])
    with opened(path) as stream:
        assert list(stream.missing) == [2, 9]
        stream.append(VECTORS[[2, 9]], [2, 9])
        stream.finish()
    assert path.read_bytes() == whole
    assert sorted(path.parent.iterdir()) == [path]


def test_digests_tell_which_items_are_the_same(path: Path) -> None:
    with SpaceStream(path, KEYS[:3], CONFIG, digests="abc") as stream:
        stream.append(VECTORS[:3])
    with SpaceStream(path, KEYS[:3], CONFIG, digests="axc") as stream:
        assert list(stream.missing) == [1]
        stream.append(VECTORS[[7]], [1])
        stream.finish()
    assert np.array_equal(load_space(path).vectors, VECTORS[[0, 7, 2]])


def test_a_damaged_header_of_a_part_costs_its_rows(path: Path, whole: bytes) -> None:
    for position, byte in ((0, 0xFF), (7, 0x01)):
        begun(path)
        part, _ = part_files(path)
        content = bytearray(part.read_bytes())
        content[position] ^= byte
        part.write_bytes(content)
        with opened(path) as stream:
            assert stream.rows == 0
    assert finished(path) == whole


def test_another_config_or_other_keys_are_refused(path: Path) -> None:
    begun(path)
    with pytest.raises(IncompatibleError, match=r"part: was started with model one, now it is two; remove it"):
        opened(path, model="two")
    with pytest.raises(IncompatibleError, match="part: was started with other items; remove it to start anew"):
        SpaceStream(path, [f"other {key}" for key in KEYS], CONFIG)
    for first in (b"{}\n", b'{"format": "another"}\n', b"[1]\n", b"nothing\n"):
        part_files(path)[1].write_bytes(first)
        with pytest.raises(ArtefactError, match="journal"):
            opened(path)


def test_rows_that_do_not_fit(path: Path) -> None:
    with opened(path) as stream:
        stream.append(VECTORS[:2])
        with pytest.raises(InvalidInputError, match=r"expected vectors \(m, 3\), found \(2, 2\)"):
            stream.append(VECTORS[:2, :2])
        with pytest.raises(InvalidInputError, match="10 rows, found more"):
            stream.append(VECTORS)
        with pytest.raises(InvalidInputError, match="'schlüssel \"3\"' holds NaN"):
            stream.append(np.array([[0, 0, 0], [0, np.inf, 0]], dtype=np.float32))
        with pytest.raises(InvalidInputError, match="10 rows, found 2"):
            stream.finish()
    assert not path.exists()


def test_what_no_file_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInputError, match="1,000 vectors of width 10000000"):
        space_header([str(row) for row in range(1000)], 10_000_000)
    monkeypatch.setattr(limits, "TENSOR_HEADER_BYTES", 100)
    with pytest.raises(InvalidInputError, match="keys: take"):
        space_header(KEYS, 3)


def test_a_full_disk_costs_what_did_not_fit(path: Path, whole: bytes) -> None:
    begun(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (part_files(path)[0].stat().st_size + 10, hard))
    try:
        with pytest.raises(ArtefactError, match=r"cannot write .*part"), opened(path) as stream:
            stream.append(VECTORS[6:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with opened(path) as stream:
        assert stream.rows == 6
    assert finished(path) == whole


def test_digests_that_are_exchanged_are_not_believed(path: Path, whole: bytes) -> None:
    begun(path)
    journal = part_files(path)[1]
    text = journal.read_text()
    first, second = (json.dumps(key, ensure_ascii=False) for key in KEYS[2:4])
    assert f"{first},{second}" in text
    journal.write_text(text.replace(f"{first},{second}", f"{second},{first}"))
    with opened(path) as stream:
        assert stream.rows == 2
    for line in (b'{"format":"rlstitch-space-journal-2","width":3}\n', b'{"format":"rlstitch-space-journal-2"}\n'):
        journal.write_bytes(line)
        with pytest.raises(ArtefactError, match="expected a journal"):
            opened(path)
    journal.unlink()
    assert finished(path) == whole
