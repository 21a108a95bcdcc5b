"""`rlstitch watch` as a process: its page, its options, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from websockets.sync.client import connect

from rlstitch.cli.main import main
from rlstitch.errors import MissingExtraError

READY = [sys.executable, "-m", "rlstitch.cli.main", "watch"]


def test_it_serves_until_ctrl_c(stored, workplace: Path) -> None:
    stored("red")
    with subprocess.Popen(
        [*READY, "red", "--look", "green", "--greedy"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        assert process.stdout.readline() == "(Ctrl-C ends)\n"
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as response:
            assert b"<title>rlstitch watch</title>" in response.read()
        with connect(address.replace("http:", "ws:").replace("/?", "/live?")) as page:
            settings = json.loads(page.recv())
            assert (settings["look"], settings["greedy"]) == ("green", True)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=120)
    assert (process.returncode, output, errors) == (0, "", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nobody"], "unknown agent 'nobody'"),
        (["red", "--look", "gren"], "unknown look 'gren'"),
        (["red", "--port", "65536"], "port: expected 0 to 65535, found 65536"),
        (["red", "--seed", "-1"], "seed: expected 0 to"),
        (["red", "--method", "nave"], "unknown stitching method 'nave'"),
        (["red", "--encoder", "wide", "--method", "naive"], "gives latents of width 7"),
    ],
)
def test_what_cannot_be_watched_is_refused_before_the_page(stored, capsys, options: list[str], message: str) -> None:
    stored("red")
    stored("wide", encoder__latent_dim=7)
    assert main(["watch", *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_a_port_in_use_is_named(stored, capsys) -> None:
    stored("red")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["watch", "red", "--port", str(port)]) == 2
    assert f"port: {port} cannot be used: Address already in use" in capsys.readouterr().err


def test_the_extra_is_named_where_it_is_missing(stored, monkeypatch: pytest.MonkeyPatch) -> None:
    from rlstitch.api.watch.watch import watch

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtraError, match=r"rlstitch\[watch\]"):
        watch(stored("red"))
