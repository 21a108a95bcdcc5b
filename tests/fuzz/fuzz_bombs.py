"""Small files that hang, crash or fill the memory of a careless reader."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artefact_samples import make_agent
from fuzz_subjects import SUBJECTS, sign_agent
from sb3_samples import torch_archive, zipped

from rlstitch.agents.artefact import save_agent
from rlstitch.storage import limits

READERS = {subject.name: subject for subject in SUBJECTS}
MANY = 150_000_000
NESTED_TUPLES = b"\x80\x02)" + b"\x85" * 100_000 + b"."
DOUBLED_TUPLES = b"\x80\x02)" + b"".join(b"q%c(h%ch%ct" % (i, i, i) for i in range(200)) + b"."


@dataclass(frozen=True)
class Bomb:
    """Files for a reader, made in an empty folder."""

    name: str
    reader: str
    make: Callable[[Path], object]


def _zip(path: Path, members: dict[str, bytes]) -> None:
    zipped(path, members, zipfile.ZIP_DEFLATED)


def _many(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(limits.ZIP_DIRECTORY_BYTES // 40):  # the list takes some 50 bytes for each
            archive.writestr(str(number), b"")


def _policy(instructions: bytes) -> Callable[[Path], None]:
    """A model whose list of tensors is this pickle."""
    return lambda folder: _zip(folder / "m.zip", {"data": b"{}", "policy.pth": torch_archive(instructions)})


def _promised(count: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """A list of one tensor of a storage that is larger than what is there."""

    def whole(number: int) -> bytes:
        return b"\x8a\x08" + number.to_bytes(8, "little")

    def row(numbers: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(whole, numbers)) + b"t"

    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0" + b"0X\x03\0\0\0cpu" + whole(count) + b"tQ"
    return (
        b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(" + storage + whole(0) + row(size) + row(stride)
        + b"\x89ccollections\nOrderedDict\n)RtRs."
    )  # fmt: skip


def _promising(count: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        policy = io.BytesIO()
        with zipfile.ZipFile(policy, "w") as archive:
            archive.writestr("archive/data.pkl", _promised(count, size, stride))
            archive.writestr("archive/data/0", bytes(16))
        _zip(folder / "m.zip", {"data": b"{}", "policy.pth": policy.getvalue()})

    return make


def _npy(header: str, content: bytes = b"") -> bytes:
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n" + content


def _safetensors(path: Path, header: dict[str, Any], content: bytes = b"") -> None:
    packed = json.dumps(header).encode()
    path.write_bytes(len(packed).to_bytes(8, "little") + packed + content)


def _agent(change: Callable[[dict[str, Any]], object], kind: str = "cnn") -> Callable[[Path], None]:
    """A signed agent whose manifest was changed."""

    def make(folder: Path) -> None:
        saved = save_agent(make_agent(kind), folder / "sample")
        manifest = json.loads((saved / "agent.json").read_text())
        change(manifest)
        (saved / "agent.json").write_text(json.dumps(manifest))
        sign_agent(saved)

    return make


def _tar(folder: Path) -> None:
    with tarfile.open(folder / "recordings.tar.gz", "w:gz", compresslevel=1) as archive:
        entry = tarfile.TarInfo("recordings/1_ann_1.wav")
        entry.size = MANY
        archive.addfile(entry, _Zeros())  # type: ignore[arg-type]


class _Zeros(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        return bytes(size)


def _write(name: str, content: Callable[[], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content())


def _gzip(name: str, content: Callable[[], bytes]) -> Callable[[Path], object]:
    return _write(name, lambda: gzip.compress(content(), 1, mtime=0))


def _matrix(count: int) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        READERS["matrix"].make(folder)
        [row, *_] = json.loads((folder / "cells.json").read_text())
        rows = [{**row, "encoder": f"e{i}", "controller": f"c{i}"} for i in range(count)]
        (folder / "cells.json").write_text(json.dumps(rows))
        about = json.loads((folder / "matrix.json").read_text())
        about.pop("cells_sha256", None)
        (folder / "matrix.json").write_text(json.dumps(about))

    return make


DEEP = b"[" * 100_000
NINES = "9" * 100_000
ALIASES = b"a: &a [x, x]\n" + b"".join(b"b%d: &b%d [*a, *a]\n" % (i, i) for i in range(40))
NO_NUMBERS = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
BIG_IMAGE = {"image_shape": [4096, 4096, 4096]}
WIDE = {
    "kind": "relative",
    "anchors": 60_000,
    "base": {"kind": "cnn", "image_shape": [24, 24, 3], "latent_dim": 60_000},
}

BOMBS = [
    Bomb("nested tuples", "sb3 ppo", _policy(NESTED_TUPLES)),
    Bomb("doubled tuples", "sb3 ppo", _policy(DOUBLED_TUPLES)),
    Bomb("more numbers than there are", "sb3 ppo", _promising(10**13, (10**13,), (1,))),
    Bomb("a tensor beyond its numbers", "sb3 ppo", _promising(4, (10**9,), (1,))),
    Bomb("one number seen very often", "sb3 ppo", _promising(4, (10**9,), (0,))),
    Bomb("zip of zeros", "sb3 ppo", lambda f: _zip(f / "m.zip", {"data": b" " * MANY, "policy.pth": b""})),
    Bomb("zip of very many members", "sb3 ppo", lambda f: _many(f / "m.zip")),
    Bomb("npz of zeros", "pairs", lambda f: _zip(f / "p.npz", {n: _npy("{'descr': '<f4', 'fortran_order': False, "
         "'shape': (3750000, 10), }", bytes(MANY)) for n in ("x.npy", "y.npy")})),
    Bomb("words of zeros", "word vectors", lambda f: _zip(f / "w.npz", {"words.npy": bytes(MANY), "vectors.npy": b""})),
    Bomb("npz that promises", "space npz", lambda f: _zip(f / "s.npz", {f"{n}.npy": _npy("{'descr': '<f8', "
         "'fortran_order': False, 'shape': (10000000000000,), }") for n in ("format", "name", "keys", "vectors")})),
    Bomb("npz of wide texts", "space npz", lambda f: _zip(f / "s.npz", {f"{n}.npy": _npy("{'descr': '<U999999999', "
         "'fortran_order': False, 'shape': (9,), }") for n in ("format", "name", "keys", "vectors")})),
    Bomb("npy that promises", "images npy", _write("i.npy", lambda: _npy("{'descr': '|u1', 'fortran_order': False, "
         "'shape': (10000000000000, 9, 9), }"))),
    Bomb("npy of deep header", "images npy", _write("i.npy", lambda: _npy("{'shape': " + "(" * 9000))),
    Bomb("idx that promises", "images idx", _gzip("i.gz", lambda: b"\0\0\x08\3" + b"\xff" * 4 + b"\0\0\0\4" * 2)),
    Bomb("gz of zeros", "fashion-mnist", _gzip("train-images-idx3-ubyte.gz", lambda: bytes(MANY))),
    Bomb("gz of one line", "trec", _gzip("TREC.test.gz", lambda: bytes(MANY))),
    Bomb("gz of empty lines", "texts gz", _gzip("t.gz", lambda: b"\n" * MANY)),
    Bomb("tar of zeros", "fsdd", _tar),
    Bomb("deep JSON", "json", _write("j.json", lambda: DEEP)),
    Bomb("JSON of lists", "json", _write("j.json", lambda: b"[" + b"[]," * 5_000_000 + b"[]]")),
    Bomb("JSON of objects", "json", _write("j.json", lambda: b"[" + b'{"":0},' * 2_000_000 + b"{}]")),
    Bomb("JSON of repeated keys", "json", _write("j.json", lambda: b"{" + b",".join(
        b'"%d":0' % i for i in range(200_000)) + b',"0":1}')),
    Bomb("JSON of digits", "json", _write("j.json", lambda: NINES.encode())),
    Bomb("safetensors that promise", "tensors", lambda f: _safetensors(f / "t.safetensors", {
        "a": {"dtype": "F32", "shape": [10**13], "data_offsets": [0, 4 * 10**13]}})),
    Bomb("safetensors without width", "translation", lambda f: _safetensors(f / "t.safetensors", {
        "matrix": {"dtype": "F32", "shape": [0, 10**12], "data_offsets": [0, 0]}})),
    Bomb("very many tensors", "tensors", lambda f: _safetensors(f / "t.safetensors", dict.fromkeys(
        map(str, range(limits.TENSORS + 1)), NO_NUMBERS))),
    Bomb("metadata of lists", "tensors", lambda f: _safetensors(f / "t.safetensors", {
        "__metadata__": {"rlstitch": "[" + "[]," * 3_000_000 + "[]]"}})),
    Bomb("unknown keys", "agents listed", _agent(lambda m: m.update({f"key{i}": i for i in range(60_000)}))),
    Bomb("unknown keys of an encoder", "agents listed", _agent(lambda m: m["encoder"].update(
        {f"key{i}": i for i in range(60_000)}))),
    Bomb("large images", "agents listed", _agent(lambda m: m["encoder"].update(BIG_IMAGE))),
    Bomb("wide layers", "agents listed", _agent(lambda m: m["controller"].update(hidden=[9000, 9000]))),
    Bomb("wide encoder", "agents listed", _agent(lambda m: m.update(encoder=WIDE), "relative")),
    Bomb("digits as text", "agents listed", _agent(lambda m: m["encoder"]["translation"].update(
        width_in="90000", width_out="90000"), "translated")),
    Bomb("no width in", "agents listed", _agent(lambda m: m["encoder"]["translation"].update(
        width_in=0, width_out=10**9), "translated")),
    Bomb("extractor", "agents listed", _agent(lambda m: m.update(encoder={
        "kind": "extractor", "name": "none", "latent_dim": 64, **BIG_IMAGE}))),
    Bomb("aliases", "config", _write("c.yaml", lambda: ALIASES)),
    Bomb("deep YAML", "config", _write("c.yaml", lambda: b"a: " + b"[" * 20_000)),
    Bomb("deep YAML blocks", "config", _write("c.yaml", lambda: b"".join(b" " * i + b"a:\n" for i in range(1200)))),
    Bomb("YAML of hexadecimal digits", "config", _write("c.yaml", lambda: b"seed: 0x" + b"f" * 900_000)),
    Bomb("YAML of unknown keys", "config", _write("c.yaml", lambda: b"".join(
        b"key%d: 1\n" % i for i in range(limits.CONFIG_NODES // 2 - 1)))),
    Bomb("matrix of very many agents", "matrix", _matrix(5_000)),
]  # fmt: skip
