"""What readers see while writers replace files and folders, and what is left when writers are killed."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from kill import killed
from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.storage import folders, read_bytes, staged_folder, write_bytes
from rlstitch.storage.files import open_file, staged_file
from rlstitch.storage.folders import folder_exists, opened_together
from rlstitch.storage.staging import recover

FILES = ("a", "b")


@pytest.fixture(params=["one call", "two renames"])
def exchange(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How folders are exchanged: as here, or as where the system cannot do it by one call."""
    if request.param == "two renames":
        monkeypatch.setattr(folders, "_renameat2", lambda: None)
    elif folders._renameat2() is None:
        pytest.skip("the system has no renameat2")
    return str(request.param)


def write(folder: Path, content: str) -> None:
    with staged_folder(folder, force=True) as stage:
        for name in FILES:
            write_bytes(stage / name, content.encode())


def read(folder: Path) -> str:
    """Return the content that all files of the folder have."""
    with opened_together(folder, FILES) as files:
        contents = {stream.read().decode() for stream in files.values()}
    (content,) = contents
    return content


def test_a_writer_killed_anywhere_leaves_the_old_folder_or_the_new_one(tmp_path: Path, exchange: str) -> None:
    target = tmp_path / "one"
    step, seen = 0, set()
    write(target, "old")
    while killed(lambda: write(target, "new"), step):
        assert folder_exists(target)
        seen.add(read(target))
        write(target, "old")
        assert [path.name for path in tmp_path.iterdir()] == ["one"]  # nothing is left of the killed one
        step += 1
    assert step > 8
    assert seen == {"old", "new"}


def test_a_first_writer_killed_anywhere_leaves_nothing_or_the_whole(tmp_path: Path) -> None:
    for step in range(100):
        target = tmp_path / str(step) / "one"
        if not killed(lambda: write(target, "new"), step):  # noqa: B023  (called at once)
            break
        if target.parent.exists():
            assert not folder_exists(target) or read(target) == "new"
            recover(target.parent)
            assert [path.name for path in target.parent.iterdir()] in ([], ["one"])
    assert step > 4


def test_a_file_whose_writer_is_killed_anywhere_is_old_or_new(tmp_path: Path) -> None:
    target, step, seen = tmp_path / "file", 0, set()
    while True:
        write_bytes(target, b"old")
        if not killed(lambda: write_bytes(target, b"new"), step):
            break
        seen.add(target.read_bytes())
        recover(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
        step += 1
    assert seen == {b"old", b"new"}


def test_a_reader_beside_two_writers_sees_the_old_or_the_new(tmp_path: Path, exchange: str) -> None:
    target = tmp_path / "one"
    write(target, "start")
    children = [child_of(lambda name=name: [write(target, f"{name}{i}") for i in range(40)]) for name in "xy"]
    running = set(children)
    while running:
        read(target)  # an error, or a mixture, fails
        for child in set(running):
            ended, status = os.waitpid(child, os.WNOHANG)
            assert status == 0, "a writer failed; its error is printed"
            running -= {ended}
    assert read(target) in ("x39", "y39")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def child_of(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def test_a_reader_of_a_folder_that_is_removed_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="no such file or folder"), opened_together(tmp_path / "none", FILES):
        pass
    write(tmp_path / "one", "x")
    (tmp_path / "one" / "b").unlink()
    with pytest.raises(ArtefactError, match=r"one/b: there is no such"), opened_together(tmp_path / "one", FILES):
        pass


def test_what_a_living_writer_fills_is_left_alone(tmp_path: Path) -> None:
    with staged_file(tmp_path / "file") as beside, staged_folder(tmp_path / "folder") as stage:
        recover(tmp_path)
        beside.write_text("file")
        (stage / "a").write_text("folder")
    assert (tmp_path / "file").read_text() == "file"
    assert (tmp_path / "folder" / "a").read_text() == "folder"


def test_other_hidden_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".tmp-notes~").write_text("mine")
    (tmp_path / ".tmp-0123456789abcdef~").symlink_to(tmp_path / ".tmp-notes~")
    recover(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.fixture(params=["folder", "pipe", "socket", "device", "link to a pipe", "link to a device"])
def irregular(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "it.csv"
    kind = request.param.removeprefix("link to a ")
    target = path.with_name("target") if kind != request.param else path
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(target)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            monkeypatch.chdir(tmp_path)  # the paths of sockets are short
            made.bind(path.name)
    else:
        target = Path("/dev/zero")
    if target != path:
        path.symlink_to(target)
    return path


def test_what_is_no_regular_file_is_neither_read_nor_replaced(irregular: Path) -> None:
    before = irregular.lstat().st_mode
    with pytest.raises(ArtefactError, match=r"cannot read .*: it is not a file but a (folder|pipe|socket|device)"):
        open_file(irregular)
    with pytest.raises(ArtefactError, match="not a file"):
        read_bytes(irregular, max_bytes=10)
    with pytest.raises(InvalidInputError, match=r"cannot write .*: it is a (folder|pipe|socket|device)"):
        write_bytes(irregular, b"")
    refused = pytest.raises(InvalidInputError, match="a file is in the way")
    if not irregular.is_dir():
        with refused, staged_folder(irregular, force=True):
            pass
    assert irregular.lstat().st_mode == before


def test_a_link_to_a_file_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    write_bytes(tmp_path / "link", b"new")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "other").read_text() == "kept"
