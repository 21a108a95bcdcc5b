from __future__ import annotations

import codecs
import csv
import hashlib
import json
import math
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.storage import (
    canonical_json,
    data_roots,
    read_bytes,
    read_json,
    sha256_of,
    staged_folder,
    write_bytes,
    write_json,
    write_table,
)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow past 1 MiB: writing fails halfway, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_bytes_are_written_whole_with_usual_permissions(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.bin"
    write_bytes(path, b"one")
    write_bytes(path, b"two")
    assert read_bytes(path, max_bytes=3) == b"two"
    assert sha256_of(path) == hashlib.sha256(b"two").hexdigest()
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]
    (tmp_path / "plain").write_bytes(b"")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_write_that_fails_halfway_leaves_the_old_file_and_no_trace(tmp_path: Path, small_disk: None) -> None:
    path = tmp_path / "file.bin"
    write_bytes(path, b"old")
    with pytest.raises(ArtefactError, match=r"cannot write .*file\.bin"):
        write_bytes(path, bytes(2**21))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(InvalidInputError, match=r"runs/one: a file is in the way"):
        write_bytes(tmp_path / "runs" / "one" / "x.json", b"")
    with pytest.raises(InvalidInputError, match="it is a folder"):
        write_bytes(tmp_path, b"")


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "n" * 300])
def test_paths_that_no_system_takes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtefactError):
        write_bytes(tmp_path / name, b"")
    with pytest.raises(ArtefactError):
        read_bytes(tmp_path / name, max_bytes=10)
    with pytest.raises(ArtefactError), staged_folder(tmp_path / name):
        pass


def test_reading_what_is_no_readable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="no such file"):
        read_bytes(tmp_path / "absent", max_bytes=10)
    with pytest.raises(ArtefactError, match="not a file"):
        sha256_of(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArtefactError, match="not a file"):
        read_bytes(tmp_path / "pipe", max_bytes=10)
    (tmp_path / "big").write_bytes(bytes(11))
    with pytest.raises(ArtefactError, match="larger than 10 bytes"):
        read_bytes(tmp_path / "big", max_bytes=10)


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    value = {"text": "Größe", "list": [1, 2.5, None, True, {"deep": []}], "low": -(2**63), "high": 2**63 - 1}
    write_json(path, value, schema_version=3)
    assert read_json(path, schema_version=3) == {"schema_version": 3, **value}
    write_json(path, [np.int64(3), np.float32(0.5), np.bool_(True), np.arange(2), Path("a/b")])
    assert read_json(path) == [3, 0.5, True, [0, 1], "a/b"]


@pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": np.float64("nan")}, {1, 2}, object(), "\ud800"])
def test_what_is_no_json_is_refused_and_writes_nothing(tmp_path: Path, value: object) -> None:
    with pytest.raises(InvalidInputError, match="cannot be written as JSON"):
        write_json(tmp_path / "value.json", value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not usable JSON"),
        ("{", "not usable JSON"),
        ("[NaN]", "nan is not a finite number"),
        ("[-Infinity]", "-inf is not a finite number"),
        ("[1e999]", "inf is not a finite number"),
        ("[9223372036854775808]", "integer is too large"),
        ("9" * 5000, "not usable JSON"),
        ('{"a": 1, "a": 2}', "repeated key 'a'"),
        ("[" * 40 + "]" * 40, "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ('["\\ud800"]', "not usable JSON"),
        ('{"\\ud800": 1}', "not usable JSON"),
        ("[1] trailing", "not usable JSON"),
        ("[1]", "expected a JSON object, found list"),
        ("{}", "expected schema_version 1, found 'None'"),
        ('{"schema_version": "1"}', "expected schema_version 1, found '1'"),
        ('{"schema_version": true}', "expected schema_version 1, found 'True'"),
        ('{"schema_version": 2}', "expected schema_version 1, found '2'; was it written by another version"),
    ],
)
def test_json_that_cannot_be_trusted_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "value.json"
    path.write_text(text)
    with pytest.raises(ArtefactError, match=message) as caught:
        read_json(path, schema_version=1)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "value.json").write_bytes(b'"\xff"')
    with pytest.raises(ArtefactError, match="not usable JSON"):
        read_json(tmp_path / "value.json")


def test_a_byte_order_mark_is_read_and_utf_16_is_named(tmp_path: Path) -> None:
    (tmp_path / "value.json").write_bytes(codecs.BOM_UTF8 + b"[1]")
    assert read_json(tmp_path / "value.json") == [1]
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        (tmp_path / "value.json").write_text("[1]", encoding=encoding)
        with pytest.raises(ArtefactError, match=r"value\.json: not usable JSON: expected UTF-8, found UTF-16"):
            read_json(tmp_path / "value.json")


def test_canonical_json_is_the_same_for_equal_values() -> None:
    assert canonical_json({"b": [1, 2.0], "a": "ü"}) == '{"a":"ü","b":[1,2.0]}'.encode()
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})


def test_a_table_is_written_as_csv_and_json(tmp_path: Path) -> None:
    rows = [
        {"seed": np.int64(1), "return": 0.5, "note": 'a "quoted", one'},
        {"seed": 2, "return": math.nan, "interval": (0.1, math.inf), "extra": np.float64("inf")},
    ]
    csv_path, json_path = write_table(rows, tmp_path / "table.v1")
    assert (csv_path.name, json_path.name) == ("table.v1.csv", "table.v1.json")
    assert json.loads(json_path.read_text()) == [
        {"seed": 1, "return": 0.5, "note": 'a "quoted", one'},
        {"seed": 2, "return": None, "interval": [0.1, None], "extra": None},
    ]
    with csv_path.open(newline="") as stream:
        table = list(csv.reader(stream))
    assert table == [
        ["seed", "return", "note", "interval", "extra"],
        ["1", "0.5", 'a "quoted", one', "", ""],
        ["2", "", "", "[0.1,null]", ""],
    ]


def test_an_empty_table_is_two_files_too(tmp_path: Path) -> None:
    csv_path, json_path = write_table([], tmp_path / "none")
    assert json.loads(json_path.read_text()) == []
    assert csv_path.read_text().strip() == ""


def test_a_staged_folder_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "folder"
    with staged_folder(target) as stage:
        (stage / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    assert [p.name for p in target.parent.iterdir()] == ["folder"]
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(target.parent.stat().st_mode)


def test_an_error_in_a_staged_folder_leaves_no_trace(tmp_path: Path) -> None:
    def fail(force: bool) -> None:
        with staged_folder(tmp_path / "one", force=force) as stage:
            (stage / "a").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail(force=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        fail(force=True)
    assert [p.name for p in tmp_path.iterdir()] == ["one"]
    assert (tmp_path / "one" / "a").read_text() == "old"


def test_force_replaces_the_whole_folder_and_nothing_else_does(tmp_path: Path) -> None:
    target = tmp_path / "one"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(InvalidInputError, match="is there already"), staged_folder(target):
        pass
    refused = pytest.raises(InvalidInputError, match="holds other files and no marker")
    with refused, staged_folder(target, force=True, marker="marker"):
        pass
    with staged_folder(target, force=True, marker="old") as stage:
        (stage / "new").write_text("new")
        assert (target / "old").read_text() == "old"
    assert [p.name for p in target.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["one"]


def test_a_folder_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "one"

    def race() -> None:
        with staged_folder(target) as stage:
            (stage / "mine").write_text("")
            target.mkdir()
            (target / "theirs").write_text("")

    with pytest.raises(InvalidInputError, match="is there already"):
        race()
    assert [p.name for p in target.iterdir()] == ["theirs"]
    assert [p.name for p in tmp_path.iterdir()] == ["one"]


def test_staging_over_or_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidInputError, match="file is in the way"), staged_folder(path, force=True):
            pass


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with staged_folder(tmp_path / "link", force=True) as stage:
        (stage / "a").write_text("1")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a").read_text() == "1"


@pytest.mark.parametrize("installed", [True, False])
def test_data_is_looked_for_here_then_in_the_package(tmp_path: Path, installed: bool) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    package = home / ("site-packages" if installed else "src") / "rlstitch"
    shipped = package / "_data" / "agents" if installed else home / "agents"
    for folder in (here, package, shipped, home / "configs"):
        folder.mkdir(parents=True, exist_ok=True)
    (home / "pyproject.toml").write_text("")
    assert data_roots("agents", working_folder=here, package=package) == [shipped]
    (here / "agents").mkdir()
    assert data_roots("agents", working_folder=here, package=package) == [here / "agents", shipped]
    # In the clone itself both places are one.
    assert data_roots("agents", working_folder=shipped.parent, package=package) == [shipped]


def test_the_real_package_is_found() -> None:
    assert all(root.is_dir() for root in [*data_roots("agents"), *data_roots("configs")])
